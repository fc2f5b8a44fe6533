"""One technique beside another of the same place: simulated and deployed, with data and without."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

from qbench.cases import SEED, Case
from qbench.records import Skipped
from qbench.report.compare import answers
from qbench.report.derive import own_figures
from qbench.report.figures import Absent, Value
from qbench.report.join import Joined, join
from qbench.report.tables import Column, Entry, Notes, Table, shown, titled
from qbench.store import Run

HEADS = (
    "technique", "held against", "engine", "model", "accuracy", "the other's", "difference", "flips",
    "quantized in", "memory for it", "lines",
)  # fmt: skip
COSTS = ("quantize_time", "prepare_memory")


def beside_table(run: Run) -> Table:
    """Return every technique that the suite holds against another, compared example by example.

    Scenarios share a score, and stand in one row.
    """
    entries = join(run)
    by_place = {(_place(entry.case), entry.case.technique): entry for entry in entries if entry.case}
    notes = Notes()
    rows: dict[Hashable, tuple[Entry, ...]] = {}
    for entry in entries:
        case = entry.case
        if case is None or not case.against or _skipped(entry):
            continue
        place = _place(case)
        other = by_place.get((place, case.against)) or by_place.get((place, case.against.partition(SEED)[0]))
        rows.setdefault((place, case.technique), _row(case, entry, other, notes))
    columns = tuple(Column(head, right=head in HEADS[4:10]) for head in HEADS)
    title = titled("One technique beside another", run.session.profile)
    return Table(
        title, columns, tuple(rows.values()), tuple(notes.texts), "the suite holds none against another"
    )


def _row(case: Case, entry: Joined, other: Joined | None, notes: Notes) -> tuple[Entry, ...]:
    own = _accuracy(entry)
    absent: Value = Absent("the technique that it is held against was not planned here")
    second, difference, flips = absent, absent, absent
    if other is not None:
        told, _ = answers(entry, other, case.against)
        second, difference, flips = _accuracy(other), told["accuracy_difference"], told["flips"]
        if isinstance(difference, Absent) and not isinstance(told["agreement"], Absent):
            difference = told["agreement"]
    lines: Sequence[int] = [line.number for line in (entry.score, other.score if other else None) if line]
    return (
        Entry(case.technique),
        Entry(case.against.partition(SEED)[0]),
        Entry(case.deployment.backend),
        Entry(str(case.deployment.artifact.model)),
        *(shown(value, notes) for value in (own, second, difference, flips)),
        *(_cost(name, entry, other, notes) for name in COSTS),
        Entry("", lines=tuple(lines)),
    )


def _cost(name: str, entry: Joined, other: Joined | None, notes: Notes) -> Entry:
    """Return what it cost to make the file, the other's below."""
    mine = shown(own_figures(entry)[name], notes)
    theirs = own_figures(other)[name] if other else Absent("")
    return mine if isinstance(theirs, Absent) else replace(mine, sub=f"the other: {theirs}")


def _accuracy(entry: Joined) -> Value:
    return own_figures(entry)["accuracy"]


def _skipped(entry: Joined) -> bool:
    return entry.plan is not None and isinstance(entry.plan.record.outcome, Skipped)


def _place(case: Case) -> Hashable:
    """Return what two techniques share where they may be compared: all but the file and the scenario."""
    place = case.deployment
    engine = (place.backend, place.environment, place.threads, place.streams, place.isa)
    return place.artifact.model, engine, place.device, place.hardware, place.reached, case.evaluation
