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
    profile: str
    rounds: int
    slowed: float
    measured: float  # the median of what the copies were found to be slower by, as a ratio
    sessions: int
    trials: int  # cells of all sessions
    detected: int  # trials that the detector fails
    unclear: int  # trials that it calls inconclusive, and so never passes
    not_run: int  # trials of too few rounds: the test could not have failed them
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

    Sessions are of a kind where they were measured beside the same, by the same profile, in as many rounds.
    The floor of a session is that of the others of its kind: what is judged has no say in it.
    """
    rounds: dict[str, int] = {}
    for trial in trials:
        rounds[trial.session] = max(rounds.get(trial.session, 0), len(trial.reference.samples))
    kinds: dict[tuple[str, str, int], list[Trial]] = {}
    for trial in trials:
        kinds.setdefault((trial.suite, trial.profile, rounds[trial.session]), []).append(trial)
    return tuple(
        _found(of_kind, slowed, kind)
        for kind, of_kind in sorted(kinds.items())
        for slowed in sorted({trial.slowed for trial in of_kind})
    )


def floor_without(trials: Sequence[Trial], session: str, metric: str) -> float:
    """Return the floor that the A/A pairs of all other sessions give; 1 where they are too few."""
    pairs = (t for t in trials if not t.slowed and t.session != session and t.metric == metric)
    others = [log(slow_down(trial.compared())) for trial in pairs]
    return floor_of(others) or 1.0


def _found(of_kind: Sequence[Trial], slowed: float, kind: tuple[str, str, int]) -> Found:
    nights: dict[str, list[Trial]] = {}
    for trial in of_kind:
        if trial.slowed == slowed:
            nights.setdefault(trial.session, []).append(trial)
    judged = [
        judge([t.compared(floor_without(of_kind, session, t.metric)) for t in night], limit=LIMIT)
        for session, night in nights.items()
    ]
    every = [found.result for night in judged for found in night]
    by_mean = [[trial.mean_slow_down > MEAN_LIMIT for trial in night] for night in nights.values()]
    return Found(
        *kind,
        slowed,
        median([slow_down(trial.compared()) for night in nights.values() for trial in night]),
        len(nights),
        len(every),
        every.count("fail"),
        every.count("inconclusive"),
        every.count("not_run"),
        sum(map(sum, by_mean)),
        sum(any(found.result == "fail" for found in night) for night in judged),
        sum(map(any, by_mean)),
    )
