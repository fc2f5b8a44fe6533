"""A run's lines, gathered by what they are about: one `Joined` per cell, before anything is computed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from qbench.cases import Anchor, ArtifactSpec, Case, DataSpec, Hardware
from qbench.reasons import reason_of
from qbench.records import Failed, Measured, Measurement, Record, Skipped, find
from qbench.report.figures import Absent
from qbench.stats import median
from qbench.store import Run

ONE_NETWORK = "one network answers every input"
NEVER = "the run ended before this was measured"


@dataclass(frozen=True, slots=True)
class Line:
    """A record and where it stands in the results file."""

    record: Record
    number: int


@dataclass(frozen=True, slots=True)
class Joined:
    """Every line about one cell. `case` is None where the file was never made and nothing more is known."""

    artifact: ArtifactSpec
    case: Case | None
    plan: Line | None = None
    prepare: Line | None = None
    score: Line | None = None
    deploy: Line | None = None
    count: Line | None = None
    times: dict[int, Line] = field(default_factory=dict)
    energies: dict[int, Line] = field(default_factory=dict)  # by window
    data: tuple[Line, ...] = ()  # of the evaluation and the calibration examples

    def lines(self) -> Iterator[Line]:
        """Yield all lines in the order of the work."""
        own = (self.prepare, self.score, self.deploy, self.count)
        yield from (line for line in (self.plan, *self.data, *own) if line)
        yield from (self.times[k] for k in sorted(self.times))
        yield from (self.energies[k] for k in sorted(self.energies))

    def failures(self) -> list[tuple[Line, Failed]]:
        """Return the steps that broke, first one first."""
        lines = (line for line in self.lines() if line.record.step.kind != "energy")  # costs energy alone
        outcomes = ((line, line.record.outcome) for line in lines)
        return [(line, outcome) for line, outcome in outcomes if isinstance(outcome, Failed)]

    @property
    def timed(self) -> Literal["latency", "throughput"]:
        """Return the metric that tells this cell's speed in its scenario."""
        saturated = self.case is not None and self.case.scenario.name == "saturated"
        return "throughput" if saturated else "latency"

    @property
    def mixed(self) -> bool:
        """Tell whether what a call takes depends on its input, because a second network answers some.

        Its calls take one of two times, and the median is that of one of them: it is judged by means.
        """
        second = self.score is not None and find(self.score.record.outcome, "escalated") is not None
        return second and self.timed == "latency"

    def typical(self, samples: tuple[float, ...]) -> float:
        """Return what one round's samples come to."""
        return sum(samples) / len(samples) if self.mixed else median(samples)

    def speed(self) -> dict[int, tuple[Measurement, int]]:
        """Return by round the samples of `timed`, of the rounds that ended, each with its line."""
        found = {}
        for k, line in sorted(self.times.items()):
            if isinstance(line.record.outcome, Measured):
                measurement = find(line.record.outcome, self.timed)
                if measurement is not None and measurement.samples:
                    found[k] = (measurement, line.number)
        return found


def join(run: Run) -> list[Joined]:
    """Return one entry per case in the order of its first line, then the files that failed without a case."""
    lines = [Line(record, number) for record, number in run.latest().values()]
    by_kind: dict[str, dict[object, Line]] = {}
    turns: dict[str, dict[Case, dict[int, Line]]] = {"time": {}, "energy": {}}
    cases: dict[Case, None] = {}
    for line in lines:
        step, subject = line.record.step, line.record.step.subject
        if isinstance(subject, Case):
            cases[subject] = None
        if step.kind in turns and isinstance(subject, Case):
            turns[step.kind].setdefault(subject, {})[step.round] = line
        elif step.kind == "score" and isinstance(subject, Case):
            by_kind.setdefault(step.kind, {})[subject.scored] = line
        else:
            by_kind.setdefault(step.kind, {})[subject] = line

    def about(kind: str, subject: object) -> Line | None:
        return by_kind.get(kind, {}).get(subject)

    joined = []
    for case in cases:
        artifact, scored = case.deployment.artifact, case.scored
        plan = about("plan", case)
        if plan is not None and isinstance(plan.record.outcome, Skipped):
            # another engine's file is not this cell's
            joined.append(Joined(artifact=artifact, case=case, plan=plan))
            continue
        data = (about("data", case.evaluation), about("data", artifact.calibration))
        joined.append(
            Joined(
                artifact=artifact,
                case=case,
                plan=plan,
                prepare=about("prepare", artifact),
                score=about("score", scored),
                deploy=about("deploy", case),
                count=about("count", case),
                times=turns["time"].get(case, {}),
                energies=turns["energy"].get(case, {}),
                data=tuple(line for line in data if line),
            )
        )
    known = {entry.artifact for entry in joined}
    for spec, line in by_kind.get("prepare", {}).items():
        failed = isinstance(line.record.outcome, Failed)
        if failed and isinstance(spec, ArtifactSpec) and spec not in known:
            joined.append(Joined(artifact=spec, case=None, prepare=line))
    return joined


def failed_elsewhere(run: Run) -> list[tuple[str, Line, Failed]]:
    """Return the failed steps that belong to no one cell: data that could not be made, a broken anchor."""
    found = []
    for record, number in run.latest().values():
        subject = record.step.subject
        if isinstance(record.outcome, Failed) and isinstance(subject, DataSpec | Anchor):
            name = f"{subject.task} {subject.split}" if isinstance(subject, DataSpec) else subject.kernel
            found.append((f"{record.step.kind}: {name}", Line(record, number), record.outcome))
    return found


def hardware_elsewhere(run: Run) -> list[tuple[Hardware, str, int]]:
    """Return the hardware profiles that are not here: each with its reason and its line."""
    found = []
    for record, number in run.latest().values():
        subject = record.step.subject
        if isinstance(subject, Hardware) and isinstance(record.outcome, Skipped):
            found.append((subject, record.outcome.reason, number))
    return found


def why_missing(entry: Joined) -> str:
    """Return why steps of this cell have no line: skipped, broken before, or the run ended."""
    if entry.plan is not None and isinstance(entry.plan.record.outcome, Skipped):
        return f"skipped: {entry.plan.record.outcome.reason}"
    for _, failed in entry.failures():
        return f"failed at {failed.stage}: {reason_of(failed.error)}"
    return NEVER


def sought(
    line: Line | None, metric: str, missing: str, silent: str = ""
) -> tuple[Measurement, int] | Absent:
    """Return a metric's measurement and its line, or the reason: withheld, skipped, failed, `missing`.

    `silent` is the reason where the step was measured and says nothing of this metric.
    """
    if line is None:
        return Absent(missing)
    outcome = line.record.outcome
    measurement = find(outcome, metric)
    if measurement is not None and measurement.samples:
        return measurement, line.number
    if isinstance(outcome, Skipped):
        return Absent(f"skipped: {outcome.reason}")
    if isinstance(outcome, Failed):
        return Absent(f"failed at {outcome.stage}: {reason_of(outcome.error)}")
    reason = withheld(line, metric)
    return Absent(reason or silent or f"the {line.record.step.kind} step did not report it")


def withheld(line: Line | None, metric: str) -> str | None:
    """Return why this step withheld the metric, or None where it did not."""
    if line is None or not isinstance(line.record.outcome, Measured):
        return None
    return next((w.reason for w in line.record.outcome.withheld if w.metric == metric), None)


def evidence(line: Line | None, what: str) -> str | None:
    """Return what the step found under this name, or None."""
    if line is None or not isinstance(line.record.outcome, Measured):
        return None
    return next((e.found for e in line.record.outcome.evidence if e.what == what), None)
