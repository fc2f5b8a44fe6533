"""What was not measured, with every reason: skipped, failed, withheld, and hardware that is not here."""

from __future__ import annotations

from collections.abc import Sequence

from qbench.reasons import reason_of
from qbench.report.cell import Cell
from qbench.report.figures import FIGURES, Absent, Figure
from qbench.report.join import failed_elsewhere, hardware_elsewhere
from qbench.report.tables import Column, Entry, Table, titled
from qbench.store import Run


def outside_tables(run: Run, cells: Sequence[Cell]) -> list[Table]:
    """Return the tables of what was not measured; that of the hardware only where a plan spoke of any."""
    elsewhere = hardware_table(run)
    tables = [skipped_table(cells), failed_table(cells), elsewhere_table(run), withheld_table(cells)]
    return [*tables, elsewhere] if elsewhere.rows else tables


def skipped_table(cells: Sequence[Cell]) -> Table:
    """Return the cells that cannot run here, and why."""
    return _reasons("Skipped: known before the run not to be able to run here", "skipped", cells)


def failed_table(cells: Sequence[Cell]) -> Table:
    """Return the cells that broke, at which stage and with what words; collapsed ones stand here as well."""
    return _reasons("Failed or collapsed", "failed collapsed", cells)


def _reasons(title: str, statuses: str, cells: Sequence[Cell]) -> Table:
    rows = tuple(
        (
            Entry(cell.name, cell=cell.number),
            Entry(cell.place),
            Entry(reason.stage),
            Entry(reason.text),
            Entry("", lines=(reason.line,)),
        )
        for cell in cells
        if cell.status in statuses.split()
        for reason in cell.reasons
    )
    heads = ("cell", "where", "stage", "reason", "lines")
    profile = cells[0].profile if cells else "no"
    return Table(titled(title, profile), tuple(Column(head) for head in heads), rows, empty="no cell")


def withheld_table(cells: Sequence[Cell]) -> Table:
    """Return the figures that would mislead or cannot be measured, each reason once with its cells."""
    found: dict[tuple[str, str], dict[str, list[int]]] = {}
    for cell in cells:
        for item, line in cell.withheld:
            found.setdefault((item.metric, item.reason), {}).setdefault(cell.name, []).append(line)
        for name in ("latency_p90", "latency_p99"):
            value, latency = cell.figures[name], cell.figures["latency"]
            if isinstance(value, Absent) and isinstance(latency, Figure):
                found.setdefault((FIGURES[name].head, value.reason), {}).setdefault(cell.name, []).extend(
                    latency.lines
                )
    rows = tuple(
        (
            Entry(metric.replace("_", " ")),
            Entry(reason),
            Entry(", ".join(names)),
            Entry("", lines=tuple(dict.fromkeys(line for lines in names.values() for line in lines))),
        )
        for (metric, reason), names in found.items()
    )
    columns = (Column("figure"), Column("reason"), Column("cells"), Column("lines"))
    profile = cells[0].profile if cells else "no"
    return Table(titled("Withheld", profile), columns, rows, empty="no figure")


def elsewhere_table(run: Run) -> Table:
    """Return the failed steps that belong to no one cell."""
    rows = tuple(
        (Entry(name), Entry(failed.stage), Entry(reason_of(failed.error)), Entry("", lines=(line.number,)))
        for name, line, failed in failed_elsewhere(run)
    )
    heads = ("step", "stage", "reason", "lines")
    title = titled("Failed, and of no one cell", run.session.profile)
    return Table(title, tuple(Column(head) for head in heads), rows, empty="no step")


def hardware_table(run: Run) -> Table:
    """Return the hardware profiles that are not here, and why."""
    rows = tuple(
        (Entry(found.name), Entry(found.title), Entry(reason), Entry("", lines=(line,)))
        for found, reason, line in hardware_elsewhere(run)
    )
    columns = tuple(Column(head) for head in ("profile", "what it is", "why it is not here", "lines"))
    title = titled("Hardware that is not here", run.session.profile)
    return Table(title, columns, rows, empty="every profile that was asked for is here")
