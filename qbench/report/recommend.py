"""What to ship: one recommendation per model and device, in words, with why the others were not chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from qbench.quality.judge import SEVERITY
from qbench.report.cell import Cell, Group, pace_of
from qbench.report.figures import Figure
from qbench.report.floats import best_float, pace
from qbench.report.refusal import JUDGE, refusal_of
from qbench.report.sentences import between, break_even, loss, lost_of_none, size, sure, why_float
from qbench.report.thorough import profile_words

ALIKE = 0.03  # of the fastest: so little is no reason to ship answers that are less sure
EMULATED_ONLY = "Emulated: accuracy and instructions only"


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
    because: str = ""  # why no quantized file ships, where float does

    @property
    def place(self) -> str:
        """The words for where this holds."""
        return str(self.group)

    @property
    def sentence(self) -> str:
        """All of it in one breath, for the terminal."""
        return f"{self.place}: {self.verdict}. {self.gains}. {self.loses}. {self.sure}. {self.break_even}."

    @property
    def verdict(self) -> str:
        """The headline with its reason."""
        return f"{self.headline}, because {self.because}" if self.because else self.headline


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


def _emulated(place: Group, group: list[Cell]) -> Recommendation:
    """An emulator has no speed, so nothing is shipped: what its answers and instructions say is told."""
    fit = [
        (value.value, cell.number, cell)
        for cell in group
        if cell.role == "technique"
        and cell.status == "measured"
        and cell.judgement.outcome in ("pass", "inconclusive")
        and isinstance(value := cell.figures["instructions_ratio"], Figure)
    ]
    least = min(fit)[2] if fit else None
    absent = absent_place(group)
    gains = "No technique had its instructions counted with its accuracy held"
    gains = _nothing(group) if absent else gains
    loses = lost_of_none(group)
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
        sure="Instruction counts are not latency: measure on the device before shipping",
        break_even="No break-even: nothing was timed",
        rejected=(),
        here=not absent,
    )


def _of_group(place: Group, group: list[Cell]) -> Recommendation:
    judged = [(cell, refusal_of(cell)) for cell in group if cell.role == "technique"]
    fit = [cell for cell, refusal in judged if refusal is None]
    refused = [(cell, refusal) for cell, refusal in judged if refusal is not None]
    rejected = tuple((cell, refusal.text) for cell, refusal in refused)
    tried = sum(1 for cell, _ in judged if cell.status == "measured")
    if fit:
        fastest = min(pace(cell) for cell in fit)
        alike = [cell for cell in fit if pace(cell) - fastest <= ALIKE * abs(fastest)]
        ship = min(alike, key=lambda cell: (SEVERITY[cell.judgement.outcome], pace(cell)))
        slower = tuple((cell, _beaten(cell, ship)) for cell in fit if cell is not ship)
        return _technique(place, ship, slower + rejected, tried)
    unjudged = [cell for cell, refusal in refused if refusal.why == "unjudged"]
    if unjudged:
        return _nobody_can_judge(place, group, min(unjudged, key=pace), rejected)
    kept = best_float(group)
    if kept is not None:
        return _float(place, kept, rejected, why_float(refused), tried)
    return _no_answer(place, group, rejected)


def _beaten(cell: Cell, ship: Cell) -> str:
    """Return why a file that could be shipped is not: another one is faster, or as fast and surer."""
    if pace(cell) < pace(ship):
        return f"as fast as {ship.name}, and {cell.judgement.text}"
    return f"slower than {ship.name}"


def _no_answer(place: Group, group: list[Cell], rejected: tuple[tuple[Cell, str], ...]) -> Recommendation:
    return Recommendation(
        group=place,
        kind="nothing",
        ship=None,
        headline="Nothing can be recommended",
        gains=_nothing(group),
        loses=lost_of_none(group),
        sure=profile_words(group[0].profile, len(group[0].rounds)),
        break_even="No break-even",
        rejected=rejected,
        here=not absent_place(group),
    )


def _nobody_can_judge(
    place: Group, group: list[Cell], fastest: Cell, rejected: tuple[tuple[Cell, str], ...]
) -> Recommendation:
    """Nothing is shipped whose answers nobody has judged, however fast it is."""
    speed = fastest.figures["speedup"]
    return Recommendation(
        group=place,
        kind="nothing",
        ship=None,
        headline=f"Nothing can be recommended: nothing here can judge the answers of {fastest.name}",
        gains=f"It has {speed} the speed of fp32 on the same engine ({between(speed)}){size(fastest)}",
        loses=f"Accuracy loss unknown: {fastest.judgement.text}. To have it judged, {JUDGE}",
        sure=profile_words(group[0].profile, len(fastest.rounds)),
        break_even="No break-even: nothing is shipped",
        rejected=rejected,
    )


def _nothing(group: list[Cell]) -> str:
    """Say why nothing was measured: the one reason, where all cells were skipped for the same one."""
    reasons = {cell.reasons[0].text for cell in group if cell.status == "skipped"}
    if len(reasons) == 1 and all(cell.status == "skipped" for cell in group):
        return f"Every cell was skipped: {reasons.pop()}"
    timed = [cell for cell in group if cell.status == "measured" and pace_of(cell) is not None]
    if timed and all(cell.unstable for cell in timed):
        return "Every cell that was timed here is unstable: measure again on a quieter machine"
    if timed:
        return "No cell that was timed here is known to answer right and to be steady"
    broken = [cell for cell in group if cell.role == "fp32" and cell.status in ("failed", "collapsed")]
    if broken:
        return f"The float network itself does not run: {broken[0].name} {broken[0].status}: " + (
            broken[0].reasons[0].text
        )
    return "Nothing here was both scored and timed"


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


def _float(
    place: Group, ship: Cell, rejected: tuple[tuple[Cell, str], ...], why: str, candidates: int
) -> Recommendation:
    own = ship.figures["speedup"]
    if isinstance(own, Figure):
        word = "Gains" if own.value > 1 else "Gains no speed"
        gains = f"{word}: {own} the speed of fp32 on the same engine ({between(own)})" + size(ship)
        loses = "Loses: " + loss(ship)
    else:
        gains, loses = "Gains: nothing over fp32, which it is", "Loses: nothing"
    return Recommendation(
        group=place,
        kind="float",
        ship=ship,
        headline=f"Ship float: {ship.name}",
        gains=gains,
        loses=loses,
        sure=sure(ship, candidates),
        break_even="No break-even: float is the start",
        rejected=rejected,
        because=why,
    )
