"""What an A/A run holds: pairs of one file and its copy, measured in the same rounds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from qbench.cases import AGAIN, Case, Deployment, Scenario
from qbench.gate.detect import Comparison
from qbench.records import Record, find
from qbench.stats import median, percentile_floor
from qbench.store import Run

TENTH = 0.1
SINGLE_FIGURES = ("load_time", "first_inference", "peak_memory")  # one a cell and session


Kind = Literal["tenth", "middle"]


@dataclass(frozen=True, slots=True)
class Rounds:
    """What the windows of one file took: one figure of each kind a round, in seconds."""

    tenth: tuple[float, ...]  # percentile
    middle: tuple[float, ...]
    mean: tuple[float, ...]
    samples: tuple[int, ...]  # in each window: calls, or groups of very short ones

    @classmethod
    def of(cls, windows: Sequence[Sequence[float]]) -> Rounds:
        """Return the figures of these windows, each the seconds of its calls."""
        return cls(
            tuple(float(np.quantile(window, TENTH)) for window in windows),
            tuple(map(median, windows)),
            tuple(float(np.mean(window)) for window in windows),
            tuple(map(len, windows)),
        )

    @property
    def mean_of_all(self) -> float:
        """Return the mean over all samples of all rounds."""
        return float(np.average(self.mean, weights=self.samples))


@dataclass(frozen=True, slots=True)
class Trial:
    """A copy beside its original, in the rounds that both have."""

    session: str
    suite: str  # the name of its run: `aa`, or what it was measured beside
    profile: str
    cell: str
    metric: str  # latency; or throughput, of which the samples are the seconds that one example took
    slowed: float  # what was put in: 0 is an A/A pair
    reference: Rounds
    candidate: Rounds

    @property
    def figure(self) -> Kind:
        """Return what a gate looks at: the tenth percentile, or the median where calls are too few for that.

        A busy neighbour lengthens calls and shortens none: the tenth percentile of single-threaded windows
        spreads by 1.7 % beside one, and the median by 9.8 % (docs/methodology.md). Chosen once for all
        windows of both sides: the slower has fewer calls, and a percentile over a median is no ratio.
        """
        fewest = min(*self.reference.samples, *self.candidate.samples)
        return "tenth" if fewest >= percentile_floor(TENTH) else "middle"

    def compared(self, floor: float = 1.0, kind: Kind | None = None) -> Comparison:
        """Return the pair as the detector takes it: one figure a round."""
        before, now = (getattr(side, kind or self.figure) for side in (self.reference, self.candidate))
        return Comparison(self.cell, before, now, floor)

    @property
    def mean_slow_down(self) -> float:
        """Return the ratio of the two means over all calls of all rounds: what most nightly gates look at."""
        return self.candidate.mean_of_all / self.reference.mean_of_all


def trials_of(runs: Iterable[Run]) -> tuple[Trial, ...]:
    """Return every pair of an original and a copy, in the order of the sessions."""
    return tuple(trial for run in runs for trial in _trials(run))


def _trials(run: Run) -> Iterator[Trial]:
    windows: dict[Case, dict[int, tuple[float, ...]]] = {}
    for record, _ in run.latest().values():
        subject = record.step.subject
        if record.step.kind == "time" and isinstance(subject, Case) and (taken := _seconds(record)):
            windows.setdefault(subject, {})[record.step.round] = taken
    originals = {_place(case): case for case in windows if case.role == "fp32"}
    for case, rounds in windows.items():
        there = windows.get(originals.get(_place(case), case), {})
        common = sorted(rounds.keys() & there.keys())
        if there is not rounds and common:
            yield Trial(
                run.session.id,
                run.session.suite,
                run.session.profile,
                _named(case),
                "throughput" if case.scenario.name == "saturated" else "latency",
                case.scenario.slowed,
                Rounds.of([there[k] for k in common]),
                Rounds.of([rounds[k] for k in common]),
            )


def _seconds(record: Record) -> tuple[float, ...]:
    """Return what every call, or every example of a saturated window, took; nothing where it was withheld."""
    for metric in ("latency", "throughput"):
        if found := find(record.outcome, metric):
            return found.samples if metric == "latency" else tuple(1 / rate for rate in found.samples)
    return ()


def single_figures(runs: Iterable[Run]) -> dict[str, list[float]]:
    """Return, by metric, the log ratios copy over original of what is measured once a session and cell."""
    found: dict[str, list[float]] = {name: [] for name in SINGLE_FIGURES}
    for run in runs:
        deployed = {
            record.step.subject: record
            for record, _ in run.latest().values()
            if record.step.kind == "deploy" and isinstance(record.step.subject, Case)
        }
        originals = {_place(case): record for case, record in deployed.items() if case.role == "fp32"}
        for case, record in deployed.items():
            original = originals.get(_place(case))
            if case.technique != AGAIN or original is None:
                continue
            for name in SINGLE_FIGURES:
                one, other = _figure(original, name), _figure(record, name)
                if one and other:
                    found[name].append(float(np.log(other / one)))
    return found


def _figure(record: Record, metric: str) -> float | None:
    measurement = find(record.outcome, metric)
    return measurement.samples[0] if measurement and measurement.samples else None


def _place(case: Case) -> tuple[Deployment, Scenario]:
    """Return what an original and its copies share."""
    return case.deployment, replace(case.scenario, slowed=0.0)


def _named(case: Case) -> str:
    placed = case.deployment
    return f"{placed.artifact.model.name} on {placed.backend}, batch {case.scenario.batch}"
