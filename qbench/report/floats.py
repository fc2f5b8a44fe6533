"""Which float file to keep where no quantized one ships: never the slower one."""

from __future__ import annotations

from collections.abc import Sequence

from qbench.report.cell import Cell, pace_of
from qbench.report.refusal import wins_its_worst_round


def best_float(group: Sequence[Cell]) -> Cell | None:
    """Return the fastest float file that answers right; None where none was timed.

    fp32 on whatever engine is right by definition, so the smaller median wins, and an unstable time makes the
    choice less sure without making another one better. A shorter float (role `float`) may lose accuracy: it
    must be steady, or faster in its worst round by more than its rounds differ, or in every round.
    """
    right = [cell for cell in group if _answers_right(cell) and pace_of(cell) is not None]
    fit = [cell for cell in right if cell.role == "fp32" or _surely_faster(cell, right)]
    return min(fit, key=pace, default=None)


def pace(cell: Cell) -> float:
    """Return what ranks timed cells, the least first.

    Raises:
        ValueError: the cell was not timed.
    """
    found = pace_of(cell)
    if found is None:
        raise ValueError(f"{cell.name} was not timed, so it cannot be ranked")
    return found


def faster_in_every_round(one: Cell, other: Cell) -> bool:
    """Tell whether one cell was the faster in every round that both were part of, of which there is one."""
    mine = {found.number: found for found in one.rounds}
    theirs = {found.number: found for found in other.rounds}
    common = mine.keys() & theirs.keys()
    sign = -1.0 if any(found.unit == "1/s" for found in one.rounds) else 1.0
    return bool(common) and all(sign * mine[k].middle < sign * theirs[k].middle for k in common)


def _answers_right(cell: Cell) -> bool:
    known = ("fp32", "float")
    judged = cell.judgement.outcome in ("pass", "inconclusive")
    return cell.role in known and cell.status == "measured" and judged


def _surely_faster(cell: Cell, right: Sequence[Cell]) -> bool:
    if not cell.unstable or wins_its_worst_round(cell):
        return True
    return all(faster_in_every_round(cell, other) for other in right if other is not cell)
