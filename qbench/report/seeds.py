"""How much accuracy depends on which examples calibrated: the seeds of one technique, side by side."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from qbench.cases import SEED
from qbench.report.cell import Cell
from qbench.report.figures import Absent, Figure, Value, figure
from qbench.report.join import Joined, evidence, sought, why_missing
from qbench.report.tables import Column, Entry, Table, titled
from qbench.stats import Interval, median

NO_CASE = "the file was never made"
UNCALIBRATED = "nothing here is calibrated, so no draw of examples matters"
ONE_SEED = "one calibration seed only: standard and rigorous runs score further ones"


def over_seeds(entries: Sequence[Joined]) -> list[Value]:
    """Return for every entry the median and range of accuracy over its technique's calibration seeds.

    Only scores on the same examples count together; a seed that failed is left out, and n says how many
    there are.
    """
    scored: dict[Hashable, dict[str, tuple[float, int]]] = {}  # a seed stands once, however many batches
    for entry in entries:
        found = sought(entry.score, "correct", "")
        if entry.case is not None and not isinstance(found, Absent):
            samples, line = found[0].samples, found[1]
            scored.setdefault(_family(entry), {})[entry.case.technique] = (sum(samples) / len(samples), line)
    return [_figure(entry, scored.get(_family(entry), {})) for entry in entries]


def _figure(entry: Joined, seeds: dict[str, tuple[float, int]]) -> Value:
    if entry.case is None:
        return Absent(NO_CASE)
    if entry.artifact.calibration is None:
        return Absent(UNCALIBRATED)
    if entry.case.technique not in seeds:
        found = sought(entry.score, "correct", why_missing(entry))
        return found if isinstance(found, Absent) else Absent(why_missing(entry))
    if len(seeds) < 2:
        return Absent(ONE_SEED)
    values, lines = [value for value, _ in seeds.values()], tuple(line for _, line in seeds.values())
    between = Interval(min(values), max(values), "range", len(values))
    return figure(median(values), "share", len(values), "calibration seeds", lines, between)


def _family(entry: Joined) -> Hashable:
    """Return what all seeds of one technique share: everything but the file and the scenario."""
    case = entry.case
    if case is None:
        return id(entry)
    place, data_id = case.deployment, evidence(entry.score, "data id")
    engine = (place.backend, place.environment, place.threads, place.isa, place.options)
    here = (*engine, place.device, place.hardware, place.reached)
    return entry.artifact.model, case.technique.partition(SEED)[0], case.role, here, case.evaluation, data_id


def seeds_table(cells: Sequence[Cell]) -> Table:
    """Return each technique that was calibrated more than once: accuracy over its seeds."""
    rows = []
    told: set[Hashable] = set()
    for cell in cells:
        value = cell.figures["accuracy_over_seeds"]
        if not isinstance(value, Figure) or cell.seed_of or cell.group is None:
            continue
        once = (cell.name, cell.model, cell.group.site, value.lines)
        if once not in told:  # batches share a score
            told.add(once)
            own = cell.figures["accuracy"]
            rows.append(
                (
                    Entry(cell.technique, cell=cell.number),
                    Entry(cell.engine),
                    Entry(f"{cell.model} on {cell.group.site}"),
                    Entry(str(own)),
                    Entry(str(value), sub=value.between, figure=value),
                    Entry(f"{value.n} seeds"),
                    Entry("", lines=value.lines),
                )
            )
    heads = ("technique", "engine", "where", "first seed", "median and range", "n", "lines")
    columns = tuple(Column(head, right=head in heads[3:5]) for head in heads)
    profile = cells[0].profile if cells else "no"
    empty = "no technique was calibrated with more than one seed"
    return Table(titled("Accuracy over calibration seeds", profile), columns, tuple(rows), empty=empty)
