"""Why a technique's cell must not be shipped: one kind, which decides, and the words with its figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qbench.report.cell import Cell, pace_of
from qbench.report.figures import Absent, Figure, Value
from qbench.report.roofline import bound_by

Why = Literal["unavailable", "wrong", "untimed", "slower", "unjudged", "unstable", "unproven"]
BARS = (("speedup", "fp32 on the same engine"), ("speedup_over_float", "the best float cell"))
JUDGE = (
    "say how an output is read with --output-kind NAME=KIND, or measure it in a suite whose task has labels"
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a cell is not shipped.

    `unavailable`: skipped or failed. `wrong`: its answers are known to be, or saw other examples. `slower`:
    surely, in all that was measured. `unproven`: maybe faster, and that is all.
    """

    why: Why
    text: str


def refusal_of(cell: Cell) -> Refusal | None:
    """Return why this technique's cell must not be shipped, or None where nothing speaks against it.

    The rules: measured; not collapsed; its answers judged, and not known to fall by more than the limit;
    surely faster than fp32 on the same engine and than the best float cell of any engine; and stable between
    rounds, or faster in the worst of them by more than the rounds differ. Of several reasons the surest is
    told: what is slower in every round is slower, however much its rounds differ; that nobody can judge the
    answers is told where nothing else speaks against the cell.
    """
    if cell.status != "measured":
        why: Why = "wrong" if cell.status == "collapsed" else "unavailable"
        return Refusal(why, f"{cell.status}: {cell.reasons[0].text}")
    if cell.judgement.outcome in ("fail", "incomparable"):
        return Refusal("wrong", cell.judgement.text)
    if pace_of(cell) is None:
        value = cell.figures["speedup"]
        return Refusal("untimed", f"not timed: {value.reason if isinstance(value, Absent) else value}")
    return _slower(cell) or _unstable(cell) or _unproven(cell) or _unjudged(cell)


def _slower(cell: Cell) -> Refusal | None:
    for name, against in BARS:
        value = cell.figures[name]
        if isinstance(value, Figure) and value.high is not None and value.high < 1:
            told = f"slower than {against}: {value} its speed ({value.between})"
            return Refusal("slower", _held_back(cell, told))
    return None


def _unstable(cell: Cell) -> Refusal | None:
    if cell.unstable is None or wins_its_worst_round(cell):
        return None
    words = f"{cell.unstable}; its worst round does not beat float by more than that"
    return Refusal("unstable", words)


def _unproven(cell: Cell) -> Refusal | None:
    for name, against in BARS:
        told = _not_faster(cell.figures[name], against)
        if told:
            return Refusal("unproven", _held_back(cell, told))
    return None


def _unjudged(cell: Cell) -> Refusal | None:
    if cell.judgement.outcome != "unjudged":
        return None
    return Refusal("unjudged", f"its answers were not judged: {cell.judgement.text}; {JUDGE}")


def _not_faster(value: Value, against: str) -> str | None:
    if isinstance(value, Absent):
        return f"no speed against {against}: {value.reason}"
    if value.low is None:
        return f"not proven faster than {against}: {value}, and one round has no spread"
    if value.low > 1:
        return None
    surely = "not faster" if value.value <= 1 else "not surely faster"
    return f"{surely} than {against}: {value} its speed ({value.between})"


def _held_back(cell: Cell, told: str) -> str:
    held = bound_by(cell.figures)  # why fewer bits gained nothing, where the device was probed
    return f"{told}; {held}" if held else told


def wins_its_worst_round(cell: Cell) -> bool:
    """Tell whether even the worst round beats float by more than the rounds differ among themselves.

    An unstable ratio says that the size of a gain is not known. Its sign still is, where no round comes near
    the other side.
    """
    spread, over = cell.figures["ratio_spread"], cell.figures["speedup_over_float"]
    lows = [found.ratio for found in cell.rounds if found.ratio is not None]
    if isinstance(spread, Absent) or not lows:
        return False
    if isinstance(over, Figure) and over.low is not None:  # absent for the best float itself
        lows.append(over.low)
    return min(lows) > 1 + spread.value


def bar_of(cell: Cell) -> Figure | None:
    """Return the speed over the float that is hardest to beat; None where neither bar was measured."""
    found = [value for name, _ in BARS if isinstance(value := cell.figures[name], Figure)]
    return min(found, key=lambda value: value.value, default=None)
