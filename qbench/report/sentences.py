"""What a recommendation says of the cell that it ships: what is lost, how sure it is, when it has paid."""

from __future__ import annotations

from qbench.report.cell import Cell
from qbench.report.figures import SPREAD_WORDS, Absent, Figure, Value
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
        words = "accuracy" if difference.value < 0 else "no accuracy seen,"
        losses.append(f"{words} {difference} ({difference.between}), {flips} of the answers flipped")
    elif isinstance(agreement, Figure):
        same = f"same answer as fp32 on {agreement} ({agreement.between})"
        losses.append(f"accuracy unknown, no labels; {same}")
    else:
        losses.append("accuracy unknown, because nothing here can judge the answers")
    losses += [found.text for found in ship.verdicts if found.kind in ("saturates", "caution")]
    losses += _tail(ship)
    for name, what in (("size_ratio", "file"), ("memory_ratio", "peak memory")):
        ratio = ship.figures[name]
        if isinstance(ratio, Figure) and ratio.value > 1:
            losses.append(f"{what} {ratio} of fp32's")
    return "; ".join(losses)


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
        words.append("not proven: " * (ship.judgement.outcome == "unjudged") + ship.judgement.text)
    words += [v.text for v in ship.verdicts if v.kind == "not_steady"]
    if ship.unstable:
        words.append(f"faster in every round, by how much is not known well: {ship.unstable}")
    split = ship.case.evaluation.split if ship.case else "test"
    if candidates > 1 and split == "test" and ship.role == "technique":
        words.append(f"chosen among {candidates} techniques on the test examples, which flatters it")
    return "How sure: " + "; ".join(words)


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
