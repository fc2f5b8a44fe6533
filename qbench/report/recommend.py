"""What to ship: one recommendation per model and device, in words, with why the others were not chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from qbench.report.cell import Cell, Group, pace_of
from qbench.report.figures import Absent, Figure, Value
from qbench.report.roofline import bound_by
from qbench.report.sentences import between, break_even, loss, size, sure
from qbench.report.thorough import profile_words

EMULATED_ONLY = "Emulated: accuracy and instructions only"
BARS = (("speedup", "fp32 on the same engine"), ("speedup_over_float", "the best float cell"))


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The verdict on one model on one device."""

    group: Group
    kind: Literal["technique", "float", "nothing", "emulated"]
    ship: Cell | None
    headline: str
    gains: str
    loses: str
    sure: str
    break_even: str
    rejected: tuple[tuple[Cell, str], ...]  # every other cell that was a candidate, and why not
    here: bool = True  # False: every cell was skipped, so there is nothing to advise

    @property
    def place(self) -> str:
        """The words for where this holds."""
        return str(self.group)

    @property
    def sentence(self) -> str:
        """All of it in one breath, for the terminal."""
        return f"{self.place}: {self.headline}. {self.gains}. {self.loses}. {self.sure}. {self.break_even}."


def recommend(cells: Sequence[Cell]) -> tuple[Recommendation, ...]:
    """Return a recommendation per group of cells that compete, in the order of the run."""
    groups: dict[Group, list[Cell]] = {}
    for cell in cells:
        if cell.group is not None and cell.variant_of is None:
            groups.setdefault(cell.group, []).append(cell)
    return tuple(
        _emulated(place, group) if place.emulated else _of_group(place, group)
        for place, group in groups.items()
    )


def absent_place(cells: Sequence[Cell]) -> bool:
    """Tell whether nothing could run there: every cell was skipped."""
    return all(cell.status == "skipped" for cell in cells)


def why_not(cell: Cell) -> str | None:
    """Return why a technique's cell must not be shipped, or None where nothing speaks against it.

    The rules: measured; not collapsed; accuracy not known to fall by more than the limit; surely faster
    than fp32 on the same engine and than the best float cell of any engine; and stable between rounds, or
    faster in the worst of them by more than the rounds differ.
    """
    if cell.status != "measured":
        return f"{cell.status}: {cell.reasons[0].text}"
    if cell.judgement.outcome in ("fail", "incomparable"):
        return cell.judgement.text
    if cell.unstable and not _wins_its_worst_round(cell):
        return f"{cell.unstable}; its worst round does not beat float by more than that"
    for name, against in BARS:
        slow = _not_faster(cell.figures[name], against)
        if slow:
            held = bound_by(cell.figures)  # why fewer bits gained nothing, where the device was probed
            return f"{slow}; {held}" if held else slow
    return None


def _wins_its_worst_round(cell: Cell) -> bool:
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


def _not_faster(value: Value, against: str) -> str | None:
    if isinstance(value, Absent):
        return f"no speed against {against}: {value.reason}"
    if value.value <= 1:
        return f"not faster than {against}: {value} ({value.between})"
    if value.low is None:
        return f"not proven faster than {against}: one round has no spread"
    if value.low <= 1:
        return f"not surely faster than {against}: {value} ({value.between})"
    return None


def _emulated(place: Group, group: list[Cell]) -> Recommendation:
    """An emulator has no speed, so nothing is shipped: what its answers and instructions say is told."""
    fit = [
        (value.value, cell.number, cell)
        for cell in group
        if cell.role == "technique"
        and cell.status == "measured"
        and cell.judgement.outcome not in ("fail", "incomparable")
        and isinstance(value := cell.figures["instructions_ratio"], Figure)
    ]
    least = min(fit)[2] if fit else None
    absent = absent_place(group)
    gains = "No technique had its instructions counted with its accuracy held"
    gains = _nothing(group) if absent else gains
    loses = "Nothing is known of what is lost"
    if least is not None:
        instructions = least.figures["instructions_ratio"]
        gains = f"Fewest instructions: {least.name}, {instructions} those of fp32 on the same engine"
        loses = "It loses: " + loss(least)
    return Recommendation(
        group=place,
        kind="emulated",
        ship=None,
        headline=EMULATED_ONLY,
        gains=gains,
        loses=loses,
        sure="Instructions are a cost and no time: measure on the device before shipping",
        break_even="No break-even: nothing was timed",
        rejected=(),
        here=not absent,
    )


def _of_group(place: Group, group: list[Cell]) -> Recommendation:
    judged = [(cell, why_not(cell)) for cell in group if cell.role == "technique"]
    fit = [cell for cell, reason in judged if reason is None]
    if fit:
        ship = min(fit, key=_pace)
        slower = [(cell, f"slower than {ship.name}") for cell in fit if cell is not ship]
        refused = [(cell, reason) for cell, reason in judged if reason is not None]
        return _technique(place, ship, tuple(slower + refused), _rivals(judged))
    rejected = tuple((cell, reason) for cell, reason in judged if reason is not None)
    floats = [cell for cell in group if cell.role != "technique" and _float_can_ship(cell)]
    if floats:
        return _float(place, min(floats, key=_pace), rejected)
    return Recommendation(
        group=place,
        kind="nothing",
        ship=None,
        headline="Nothing can be recommended",
        gains=_nothing(group),
        loses=_lost_of_none(group),
        sure=profile_words(group[0].profile, len(group[0].rounds)),
        break_even="No break-even",
        rejected=rejected,
        here=not absent_place(group),
    )


def _nothing(group: list[Cell]) -> str:
    """Say why nothing was measured: the one reason, where all cells were skipped for the same one."""
    reasons = {cell.reasons[0].text for cell in group if cell.status == "skipped"}
    if len(reasons) == 1 and all(cell.status == "skipped" for cell in group):
        return f"Every cell was skipped: {reasons.pop()}"
    techniques = [cell for cell in group if cell.role == "technique" and cell.status == "measured"]
    if techniques and all(pace_of(cell) is None for cell in techniques):
        return "No technique was timed here: each was scored only, or its speed is withheld"
    timed = [cell for cell in group if cell.status == "measured" and pace_of(cell) is not None]
    if timed and all(cell.unstable for cell in timed):
        return "Every cell that was timed here is unstable: measure again on a quieter machine"
    if timed:
        return "No cell that was timed here is known to answer right and to be steady"
    return "Nothing here was both scored and timed"


def _lost_of_none(group: list[Cell]) -> str:
    scored = any(
        cell.role == "technique" and isinstance(cell.figures["accuracy_difference"], Figure) for cell in group
    )
    return "What each one loses stands in the matrix" if scored else "Nothing is known of what is lost"


def _why_float(others: list[Cell]) -> str:
    """Return why no quantized file ships, from those that were asked for."""
    if not others:
        return "nothing quantized was tried"
    if all(cell.status in ("skipped", "failed") for cell in others):
        return "no quantized file could be made and run"
    if all(pace_of(cell) is None for cell in others):
        return "no quantized file was timed"
    return "no quantized file is proven faster with its accuracy held"


def _rivals(judged: Sequence[tuple[Cell, object]]) -> int:
    return sum(1 for cell, _ in judged if cell.status == "measured")


def _float_can_ship(cell: Cell) -> bool:
    right = cell.status == "measured" and cell.judgement.outcome not in ("fail", "incomparable")
    steady = not cell.unstable or _wins_its_worst_round(cell)
    return right and steady and pace_of(cell) is not None


def _pace(cell: Cell) -> float:
    pace = pace_of(cell)
    if pace is None:
        raise ValueError(f"{cell.name} was not timed, so it cannot be ranked")
    return pace


def _technique(
    place: Group, ship: Cell, rejected: tuple[tuple[Cell, str], ...], candidates: int
) -> Recommendation:
    speed, over = ship.figures["speedup"], ship.figures["speedup_over_float"]
    gains = f"Gains: {speed} the speed of fp32 on the same engine ({between(speed)})"
    if ship.baseline is None or ship.best_float != ship.baseline.name:
        gains += f" and {over} that of the best float, {ship.best_float} ({between(over)})"
    return Recommendation(
        group=place,
        kind="technique",
        ship=ship,
        headline=f"Ship {ship.name}",
        gains=gains + size(ship),
        loses="Loses: " + loss(ship),
        sure=sure(ship, candidates),
        break_even=break_even(ship),
        rejected=rejected,
    )


def _float(place: Group, ship: Cell, rejected: tuple[tuple[Cell, str], ...]) -> Recommendation:
    own = ship.figures["speedup"]
    if isinstance(own, Figure):
        word = "Gains" if own.value > 1 else "Gains no speed"
        gains = f"{word}: {own} the speed of fp32 on the same engine ({between(own)})" + size(ship)
        loses = "Loses: " + loss(ship)
    else:
        gains, loses = "Gains: nothing over fp32, which it is", "Loses: nothing"
    why = _why_float([cell for cell, _ in rejected])
    return Recommendation(
        group=place,
        kind="float",
        ship=ship,
        headline=f"Ship float: {ship.name}, because {why}",
        gains=gains,
        loses=loses,
        sure=sure(ship, _rivals(rejected)),
        break_even="No break-even: float is the start",
        rejected=rejected,
    )
