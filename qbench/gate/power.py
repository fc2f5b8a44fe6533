"""What the detector finds and what it cries wolf over, on real sessions, beside the rule that most gates use.

A session is a night: all its comparisons are one family. Sessions, and never rounds, are what is counted:
the cells of one share their machine's mood.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

from qbench.gate.detect import LIMIT, judge, slow_down
from qbench.gate.noise import floor_of
from qbench.gate.trials import Trial
from qbench.stats import median, share_bounds

MEAN_LIMIT = 1.05  # the rule beside it: the mean of all calls is worse than five per cent


@dataclass(frozen=True, slots=True)
class Found:
    """How often one slow-down was found; 0 is none, and what was found then are false alarms."""

    suite: str
    slowed: float
    measured: float  # the median of what the copies were found to be slower by, as a ratio
    sessions: int
    trials: int  # cells of all sessions
    detected: int  # trials that the detector fails
    unclear: int  # trials that it calls inconclusive, and so never passes
    by_mean: int  # trials that the rule of the mean fails
    nights: int  # sessions with at least one failure
    nights_by_mean: int

    @property
    def bounds(self) -> tuple[float, float]:
        """Return the exact 95 % bounds of the share that the detector fails."""
        return self._bounds(self.nights, self.detected)

    @property
    def bounds_by_mean(self) -> tuple[float, float]:
        """Return those of the rule of the mean."""
        return self._bounds(self.nights_by_mean, self.by_mean)

    def _bounds(self, nights: int, trials: int) -> tuple[float, float]:
        """Bound false alarms by nights; power by trials, with no more of them than there were sessions."""
        hits = nights if not self.slowed else self.sessions * trials // self.trials
        return share_bounds(hits, self.sessions)


def power(trials: Sequence[Trial]) -> tuple[Found, ...]:
    """Judge every session as a night, once for each slow-down that was put in, and once for none.

    The floor of a session is that of the others: what is judged has no say in it.
    """
    kinds = dict.fromkeys((trial.suite, trial.slowed) for trial in trials)
    return tuple(
        _found([t for t in trials if (t.suite, t.slowed) == kind], _floors(trials)) for kind in sorted(kinds)
    )


def floor_without(trials: Sequence[Trial], session: str) -> float:
    """Return the floor that the A/A pairs of all other sessions give; 1 where they are too few."""
    pairs = (trial for trial in trials if not trial.slowed and trial.session != session)
    others = [log(slow_down(trial.compared())) for trial in pairs]
    return floor_of(others) or 1.0


def _floors(trials: Sequence[Trial]) -> dict[str, float]:
    """Return every session's floor, from the others that were measured beside the same."""
    suites = {trial.session: trial.suite for trial in trials}
    return {
        session: floor_without([t for t in trials if t.suite == suite], session)
        for session, suite in suites.items()
    }


def _found(trials: Sequence[Trial], floors: dict[str, float]) -> Found:
    nights: dict[str, list[Trial]] = {}
    for trial in trials:
        nights.setdefault(trial.session, []).append(trial)
    results = {
        session: [found.result for found in judge([t.compared(floors[session]) for t in night], limit=LIMIT)]
        for session, night in nights.items()
    }
    every = [result for night in results.values() for result in night]
    by_mean = {
        session: [trial.mean_slow_down > MEAN_LIMIT for trial in night] for session, night in nights.items()
    }
    return Found(
        trials[0].suite,
        trials[0].slowed,
        median([slow_down(trial.compared()) for trial in trials]),
        len(nights),
        len(trials),
        every.count("fail"),
        every.count("inconclusive") + every.count("not_run"),
        sum(map(sum, by_mean.values())),
        sum("fail" in night for night in results.values()),
        sum(map(any, by_mean.values())),
    )
