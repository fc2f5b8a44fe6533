"""Speed against another cell: inside common rounds, across engines, and when it has paid for itself."""

from __future__ import annotations

from collections.abc import Mapping

from qbench.report.figures import Absent, Figure, Value, figure, typical_latency
from qbench.report.join import Joined
from qbench.report.speed import Rounds, not_timed
from qbench.stats import Ratios, ratio_by_round, ratio_of_groups


def against_fp32(entry: Joined, base: Joined) -> tuple[dict[str, Value], Ratios | None]:
    """Return the speed-up over fp32 on the same engine with its spread, and every round's ratio."""
    own, other = entry.speed(), base.speed()
    reason = ""
    if not own or not other:
        reason = not_timed(entry, entry.timed)
        reason = reason if not own else f"fp32 was not timed: {not_timed(base, base.timed)}"
    elif not own.keys() & other.keys():
        reason = "no round in which fp32 was timed as well"
    if reason:
        return {"speedup": Absent(reason), "ratio_spread": Absent(reason)}, None
    ratios = _by_round(entry, other, own)
    lines = tuple(n for k, _ in ratios.by_round for n in (other[k][1], own[k][1]))
    rounds = len(ratios.by_round)
    spread: Value = Absent("one round has no spread")
    if ratios.spread is not None:
        spread = Figure(ratios.spread, "share", rounds, "rounds", lines, "whole")
    speedup = figure(ratios.median, "ratio", rounds, "rounds", lines, ratios.interval)
    return {"speedup": speedup, "ratio_spread": spread}, ratios


def over_float(entry: Joined, best: Joined) -> Value:
    """Return the speed-up over the best float cell, inside the rounds that both were part of.

    All engines of a model on a device take turns in the same rounds, so two engines are paired like two
    techniques; cells without a common round are compared unpaired.
    """
    own, other = entry.speed(), best.speed()
    if not own or not other:
        best_untimed = f"the best float cell was not timed: {not_timed(best, best.timed)}"
        return Absent(best_untimed if own else not_timed(entry, entry.timed))
    lines = tuple(n for _, n in (*other.values(), *own.values()))
    if own.keys() & other.keys():
        ratios = _by_round(entry, other, own)
        return figure(ratios.median, "ratio", len(ratios.by_round), "rounds", lines, ratios.interval)
    slow, fast = _turned(entry, other, own)
    value, interval = ratio_of_groups(slow, fast)
    return figure(value, "ratio", min(len(own), len(other)), "rounds", lines, interval)


def _by_round(entry: Joined, base: Rounds, own: Rounds) -> Ratios:
    return ratio_by_round(*_turned(entry, base, own))


def _turned(
    entry: Joined, base: Rounds, own: Rounds
) -> tuple[dict[int, tuple[float, ...]], dict[int, tuple[float, ...]]]:
    """Return over and under: the baseline's latency over the cell's, but the cell's throughput over its."""
    over, under = (own, base) if entry.timed == "throughput" else (base, own)
    return _samples(entry, over), _samples(entry, under)


def _samples(entry: Joined, rounds: Rounds) -> dict[int, tuple[float, ...]]:
    """Return a round's samples, of which the median will be taken; or the mean alone, for both sides."""
    if entry.mixed:
        return {k: (entry.typical(measurement.samples),) for k, (measurement, _) in rounds.items()}
    return {k: measurement.samples for k, (measurement, _) in rounds.items()}


def seconds_per_example(entry: Joined, own: Mapping[str, Value]) -> float | Absent:
    """Return how long the machine is busy with one example, by what the scenario measured."""
    value = own["throughput"] if entry.timed == "throughput" else typical_latency(own)
    if isinstance(value, Absent):
        return value
    if entry.timed == "throughput":
        return 1 / value.value
    return value.value / (entry.case.scenario.batch if entry.case else 1)


def break_even(entry: Joined, own: Mapping[str, Value], speedup: Value) -> Value:
    """Return examples until the cost is saved; an example saves its time * (speed-up - 1)."""
    cost, each = own["quantize_time"], seconds_per_example(entry, own)
    if isinstance(cost, Absent):
        cost = own["prepare_time"]
    if isinstance(cost, Absent):
        return cost
    if isinstance(each, Absent):
        return each
    if isinstance(speedup, Absent):
        return speedup
    if speedup.value <= 1:
        return Absent("never: it is not faster than fp32")
    if speedup.low is None or speedup.high is None:
        return Absent("one round cannot tell whether it is faster")
    if speedup.low <= 1:
        return Absent("it may not be faster at all, so it may never pay back")
    paid, busy = cost.value, each

    def examples(gain: float) -> float:
        return paid / (busy * (gain - 1))

    return Figure(
        examples(speedup.value),
        "1",
        speedup.n,
        "rounds",
        cost.lines + speedup.lines,
        speedup.interval,
        examples(speedup.high),
        examples(speedup.low),
    )
