"""The matrix as a narrow terminal can hold it: what was measured, one line of figures a cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from qbench.report.cell import Cell, told_here
from qbench.report.figures import FIGURES, Absent, Figure
from qbench.report.outputs import OF_OUTPUTS
from qbench.report.tables import (
    Column,
    Entry,
    Notes,
    Table,
    Tone,
    accuracy_tone,
    quality_tone,
    shown,
    size_tone,
    speed_tone,
    titled,
)
from qbench.store import Run

SHOWN = ("accuracy", "accuracy_difference", "file_size", "speedup", "latency")
AGAINST_FLOAT = ("accuracy_difference", "speedup", *OF_OUTPUTS)
WITH_SPREAD = ("speedup",)  # the page has the spread of the others


def brief_table(cells: Sequence[Cell], *, stacked: bool = False) -> Table:
    """Return the measured, collapsed and failed cells of one place; skipped ones are counted below.

    `stacked` puts the engine below the technique, where a column of its own would have no room.
    """
    notes = Notes()
    told = [cell for cell in cells if cell.status != "skipped"]
    names = [told_here(name, told) for name in SHOWN]
    own = (Column("technique"),) if stacked else (Column("technique"), Column("engine"))
    columns = (*own, *(Column(FIGURES[name].head, True) for name in names))
    rows = tuple(
        (
            Entry(cell.technique, sub=cell.engine if stacked else "", cell=cell.number),
            *(() if stacked else (Entry(cell.engine),)),
            *(_entry(cell, name, notes) for name in names),
        )
        for cell in told
    )
    title = titled(cells[0].place, cells[0].profile) if cells else "no cell"
    return Table(title, columns, rows, tuple(notes.texts), "nothing was measured here")


def energy_words(run: Run, cells: Sequence[Cell]) -> list[str]:
    """Return a line a cell whose energy was measured, and one a reason for those that have none."""
    asked = {record.step.subject for record in run.records if record.step.kind == "energy"}
    lines: list[str] = []
    without: dict[str, int] = {}
    for cell in cells:
        gross, net = cell.figures["energy"], cell.figures["energy_net"]
        if cell.case not in asked:
            continue
        if isinstance(gross, Absent):
            without[gross.reason] = without.get(gross.reason, 0) + 1
            continue
        above = f"{net} of it above idle" if isinstance(net, Figure) else f"no net figure: {net.reason}"
        lines.append(f"energy of {cell.name}: {gross} an example; {above}")
    return lines + [f"no energy for {n} cell{'s' * (n != 1)}: {reason}" for reason, n in without.items()]


def _entry(cell: Cell, name: str, notes: Notes) -> Entry:
    if cell.role == "fp32" and name in AGAINST_FLOAT and cell.status == "measured":
        return Entry("baseline")
    tones: dict[str, Tone] = {
        "accuracy_difference": accuracy_tone(cell),
        "file_size": size_tone(cell),
        "speedup": speed_tone(cell),
    }
    if name in OF_OUTPUTS:
        tones[name] = quality_tone(cell, name)
    cautions = _cautions(cell) if name == "speedup" else []
    cautions += [f"a call is {cell.filled}"] if cell.filled and name in ("latency", "throughput") else []
    mean, share = cell.figures["latency_mean"], cell.figures["escalated"]
    if name == "latency" and isinstance(mean, Figure):  # of two networks: the median is that of one of them
        tail = cell.figures["latency_p99"]
        told = f"the mean: its second network answers {share} of the examples"
        if isinstance(tail, Figure):
            told += f"; one call in a hundred takes {tail} or more"
        return replace(shown(mean, notes, more=[told]), sub="")
    entry = shown(cell.figures[name], notes, tones.get(name, "neutral"), cautions)
    return entry if name in WITH_SPREAD else replace(entry, sub="")


def _cautions(cell: Cell) -> list[str]:
    """Return what a reader of a speed-up must know, short."""
    over = cell.figures["speedup_over_float"]
    slower = isinstance(over, Figure) and over.high is not None and over.high < 1
    found = [f"slower than the best float here, {cell.best_float}"] if slower else []
    return [*found, f"unstable: {cell.unstable.partition(': ')[0]}"] if cell.unstable else found
