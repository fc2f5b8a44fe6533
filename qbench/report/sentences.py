"""What a recommendation says of the cell that it ships: what is lost, how sure it is, when it has paid."""

from __future__ import annotations

from collections.abc import Sequence

from qbench.report.cell import Cell
from qbench.report.figures import SPREAD_WORDS, Absent, Figure, Value
from qbench.report.outputs import OF_OUTPUTS
from qbench.report.refusal import Refusal, bar_of
from qbench.report.thorough import profile_words


def size(ship: Cell) -> str:
    """Return how much smaller the file is; nothing where it is none."""
    size = ship.figures["size_ratio"]
    if isinstance(size, Absent) or size.value >= 1:
        return ""  # a larger file is a loss, and stands there
    return f"; the file is {size} of fp32's"


def loss(ship: Cell) -> str:
    """Return what is lost against fp32 on the same engine, all of it."""
    losses = []
    difference, flips = ship.figures["accuracy_difference"], ship.figures["flips"]
    agreement = ship.figures["agreement"]
    if isinstance(difference, Figure):
        words = "accuracy" if difference.value < 0 else "no loss measured:"
        losses.append(f"{words} {difference} ({difference.between}), {flips} of the answers flipped")
    elif ship.judgement.rests_on:
        losses.append(ship.judgement.rests_on)
    elif isinstance(agreement, Figure):  # of a record from before outputs were judged
        losses.append(f"same first answer as fp32 on {agreement} of the examples ({agreement.between})")
    else:
        losses.append(_without_answers(ship))
    losses += [found.text for found in ship.verdicts if found.kind in ("saturates", "caution")]
    losses += _tail(ship)
    for name, what in (("size_ratio", "file"), ("memory_ratio", "peak memory")):
        ratio = ship.figures[name]
        if isinstance(ratio, Figure) and ratio.value > 1:
            losses.append(f"{what} {ratio} of fp32's")
    return "; ".join(losses)


def _without_answers(ship: Cell) -> str:
    """Say what is known of a loss where no answer can be counted: the signal, or nothing and why."""
    noise = ship.figures["sqnr"]
    if isinstance(noise, Figure):
        return f"outputs {noise} above their difference to float's (SQNR)"
    return f"accuracy loss unknown: {ship.judgement.text}"


def _tail(ship: Cell) -> list[str]:
    """Return what the slowest calls take, where a second network answers some inputs: no mean shows them."""
    own = ship.figures["latency_p99"]
    if isinstance(ship.figures["latency_mean"], Absent) or isinstance(own, Absent):
        return []
    base = ship.baseline.figures["latency_p99"] if ship.baseline else None
    beside = f", where fp32's take {base}" if isinstance(base, Figure) else ""
    return [f"its slowest calls, one in a hundred, take {own} or more{beside}"]


def sure(ship: Cell, candidates: int) -> str:
    """Return how well the gain is known; `candidates` are those that it was chosen among."""
    words = [profile_words(ship.profile, len(ship.rounds))]
    if ship.role != "fp32":
        words.append("not proven: " * (ship.judgement.outcome == "unjudged") + _judged(ship))
    words += [v.text for v in ship.verdicts if v.kind == "not_steady"]
    if ship.unstable:
        words.append(_shaky(ship))
    split = ship.case.evaluation.split if ship.case else "test"
    if candidates > 1 and split == "test" and ship.role == "technique":
        words.append(f"best of {candidates} on the test examples, so slightly optimistic")
    return "How sure: " + "; ".join(words)


def _judged(ship: Cell) -> str:
    """Return the judgement, without the figure that stands under what is lost."""
    beside = ship.judgement.rests_on and not isinstance(ship.figures["accuracy_difference"], Figure)
    return ship.judgement.short if beside else ship.judgement.text


def _shaky(ship: Cell) -> str:
    """Say what an unstable time leaves open: of fp32 its own latency, of any other the size of the gain."""
    if ship.role == "fp32":
        return f"its latency is not known well: {ship.unstable}"
    return f"faster in every round, by how much is not known well: {ship.unstable}"


def lost_of_none(group: Sequence[Cell]) -> str:
    """Say where the losses of files stand of which none is shipped."""
    told = ("accuracy_difference", *OF_OUTPUTS)
    some = any(
        isinstance(cell.figures[name], Figure) for cell in group if cell.role == "technique" for name in told
    )
    return "What each one loses stands in the matrix" if some else "Accuracy loss unknown: none was scored"


def why_float(refused: Sequence[tuple[Cell, Refusal]]) -> str:
    """Return why no quantized file ships, from those that were asked for, the surest reason first."""
    if not refused:
        return "nothing quantized was tried"
    ran = [(cell, refusal) for cell, refusal in refused if refusal.why != "unavailable"]
    if not ran:
        return "no quantized file could be made and run"
    if all(refusal.why == "untimed" for _, refusal in ran):
        return "no quantized file was timed"
    parts = [_slower(ran), _lossy(ran), _unproven(ran)]
    return "; ".join(part for part in parts if part)


def _of(ran: Sequence[tuple[Cell, Refusal]], *why: str) -> list[Cell]:
    return [cell for cell, refusal in ran if refusal.why in why]


def _slower(ran: Sequence[tuple[Cell, Refusal]]) -> str:
    cells = _of(ran, "slower")
    if not cells:
        return ""
    best = max(cells, key=_over_float)
    bar = bar_of(best)
    speed = f"{bar} the speed of float ({bar.between})" if bar else "it has no common round with float"
    if len(cells) == 1:
        return f"{best.name} is slower, {speed}"
    every = "every quantized file" if len(cells) == len(ran) else f"{len(cells)} quantized files"
    return f"{every} {'is' if len(cells) == len(ran) else 'are'} slower, the nearest is {best.name}, {speed}"


def _lossy(ran: Sequence[tuple[Cell, Refusal]]) -> str:
    cells = _of(ran, "wrong")
    if not cells:
        return ""
    if len(cells) == 1:
        return f"{cells[0].name} does not keep float's answers"
    every = "no quantized file keeps" if len(cells) == len(ran) else f"{len(cells)} do not keep"
    return f"{every} float's answers"


def _unproven(ran: Sequence[tuple[Cell, Refusal]]) -> str:
    cells = _of(ran, "unproven", "unstable")
    if not cells:
        return ""
    best = max(cells, key=_over_float)
    bar = bar_of(best)
    speed = f": {bar} the speed of float ({bar.between})" if bar else ""
    if len(cells) == 1:
        return f"{best.name} is not proven faster{speed}"
    some = "no quantized file is" if len(cells) == len(ran) else f"{len(cells)} are not"
    return f"{some} proven faster, the nearest is {best.name}{speed}"


def _over_float(cell: Cell) -> float:
    bar = bar_of(cell)
    return bar.value if bar else 0.0


def break_even(ship: Cell) -> str:
    """Return after how many examples quantizing has paid for itself, or why nobody knows."""
    value = ship.figures["break_even"]
    if isinstance(value, Absent):
        return f"Break-even unknown: {value.reason}"
    return f"Break-even after {value} examples ({value.between})"


def between(value: Value) -> str:
    """Return an interval with what it is and rests on, or why there is none."""
    if isinstance(value, Absent):
        return value.reason
    if value.low is None:
        return value.between
    return f"{value.between}, {SPREAD_WORDS[value.interval]} of {value.n} {value.of}"
