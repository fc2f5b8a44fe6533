"""What a cell's own steps say of its speed and its cost: latency, throughput, instructions, energy."""

from __future__ import annotations

from qbench.cases import FakeQuant
from qbench.metrics import CATALOGUE
from qbench.records import Measurement
from qbench.report.figures import Absent, Figure, Value, figure
from qbench.report.join import NEVER, ONE_NETWORK, Joined, sought, why_missing, withheld
from qbench.stats import Interval, TooFew, coefficient_of_variation, interval_of, median, percentile
from qbench.units import Unit

LATENCIES = ("latency", "latency_mean", "latency_p90", "latency_p99", "latency_variation")
INSTRUCTIONS = tuple(name for name in CATALOGUE if name.partition("_")[0] == "instructions")
SATURATED = "saturated: its throughput is measured, not the wait of one call"
SINGLE = "not measured in this scenario (calls per second computed from latency would be no throughput)"
NOT_COUNTED = "instructions are counted on emulated devices only"
LEAST_WINDOWS = 5  # of energy (methodology, "Energy")
Rounds = dict[int, tuple[Measurement, int]]


def not_timed(entry: Joined, metric: str = "latency") -> str:
    """Return why no round of this cell has the metric."""
    for line in (*entry.times.values(), entry.score):
        reason = withheld(line, metric)
        if reason:
            return reason
    reason = withheld(entry.score, "latency")  # a cell that is not timed at all says so there
    if reason:
        return reason
    found = why_missing(entry)
    if found != NEVER or entry.case is None:
        return found
    if entry.case.deployment.reached == "emulated":
        return "emulated: the time that an emulator takes says nothing of the device"
    if isinstance(entry.artifact.state, FakeQuant):
        return "simulated: its arithmetic runs in float, so this would be the speed of float kernels"
    return "only scored, not timed" if entry.case.scenario.name == "scored" else found


def speed_figures(entry: Joined) -> dict[str, Value]:
    """Return latency with its tail, and throughput: what the scenario measures of them."""
    rounds = entry.speed()
    if not rounds:
        absent: dict[str, Value] = dict.fromkeys(LATENCIES, Absent(not_timed(entry)))
        return absent | {"throughput": Absent(not_timed(entry, "throughput"))}
    lines = tuple(number for _, number in rounds.values())
    pooled = [sample for measurement, _ in rounds.values() for sample in measurement.samples]
    middles = [median(measurement.samples) for measurement, _ in rounds.values()]
    between = Interval(min(middles), max(middles), "range", len(rounds)) if len(rounds) > 1 else None
    # the median of the rounds' medians: pooled, a fast round would count more for having more samples
    if entry.timed == "throughput":
        typical = figure(median(middles), "1/s", len(pooled), "slices", lines, between)
        waits: dict[str, Value] = dict.fromkeys(LATENCIES, Absent(_told(entry, "latency") or SATURATED))
        return waits | {"throughput": typical}
    grouped = max(measurement.group for measurement, _ in rounds.values())
    calls = "samples" if grouped > 1 else "calls"
    figures: dict[str, Value] = {"throughput": Absent(_told(entry, "throughput") or SINGLE)}
    figures["latency"] = figure(median(middles), "s", len(pooled), calls, lines, between)
    figures["latency_mean"] = _mean(entry, rounds, calls) if entry.mixed else Absent(ONE_NETWORK)
    for name, p in (("latency_p90", 0.9), ("latency_p99", 0.99)):
        if grouped > 1:
            hidden = f"calls were timed in groups of {grouped}, which hides single slow ones"
            figures[name] = Absent(hidden)
        else:
            figures[name] = _percentile(rounds, pooled, p)
    varied: Value = Absent("one call has no variation")
    if len(pooled) > 1:
        varied = Figure(coefficient_of_variation(pooled), "share", len(pooled), calls, lines, "whole")
    return figures | {"latency_variation": varied}


def _mean(entry: Joined, rounds: Rounds, calls: str) -> Value:
    """Return the median of the rounds' means; each round is whole laps of the same examples."""
    means = [entry.typical(measurement.samples) for measurement, _ in rounds.values()]
    n = sum(len(measurement.samples) for measurement, _ in rounds.values())
    between = Interval(min(means), max(means), "range", len(means)) if len(means) > 1 else None
    lines = tuple(number for _, number in rounds.values())
    return figure(median(means), "s", n, calls, lines, between)


def _told(entry: Joined, metric: str) -> str | None:
    return next((reason for line in entry.times.values() if (reason := withheld(line, metric))), None)


def _percentile(rounds: Rounds, pooled: list[float], p: float) -> Value:
    lines = tuple(number for _, number in rounds.values())
    found = percentile(pooled, p)
    if isinstance(found, TooFew):
        return Absent(found.reason)
    ends = [percentile(measurement.samples, p) for measurement, _ in rounds.values()]
    fit = [end for end in ends if not isinstance(end, TooFew)]
    if not len(fit) == len(rounds) > 1:  # a range that leaves rounds out would look too sure
        return Figure(found, "s", len(pooled), "calls", lines, "whole")
    between = Interval(min(fit), max(fit), "range", len(fit))
    return figure(found, "s", len(pooled), "calls", lines, between)


def cost_figures(entry: Joined) -> dict[str, Value]:
    """Return energy, and the instructions of each kind that the catalogue knows."""
    counted: dict[str, Value] = {name: _instructions(entry, name) for name in INSTRUCTIONS}
    metered: tuple[tuple[str, Unit], ...] = (
        ("energy", "J"),
        ("energy_net", "J"),
        ("power", "W"),
        ("idle_power", "W"),
    )
    return counted | {name: _energy(entry, name, unit) for name, unit in metered}


def _instructions(entry: Joined, metric: str) -> Value:
    emulated = entry.case is not None and entry.case.deployment.reached == "emulated"
    missing = why_missing(entry)
    if missing == NEVER and not emulated:
        missing = NOT_COUNTED
    elif entry.count is None:
        missing = withheld(entry.score, metric) or withheld(entry.score, "instructions") or missing
    found = sought(entry.count, metric, missing, "no instruction of this kind was told apart")
    if isinstance(found, Absent):
        return found
    samples, line = found[0].samples, found[1]
    low, high, n = min(samples), max(samples), len(samples)
    if low == high:
        return Figure(low, "1", n, "count" if n == 1 else "counts", (line,))
    return figure(median(samples), "1", n, "counts", (line,), Interval(low, high, "range", n))


def _energy(entry: Joined, metric: str, unit: Unit) -> Value:
    """Return the median of the windows; older runs told energy beside the latency.

    Fewer than five windows are no figure: those that a fault or a noisy idle spared were not chosen fairly.
    """
    samples: list[float] = []
    lines: list[int] = []
    for line in (*entry.energies.values(), *entry.times.values()):
        found = sought(line, metric, "")
        if not isinstance(found, Absent):
            samples.append(sum(found[0].samples) / len(found[0].samples))  # idle: before and after
            lines.append(found[1])
    if len(samples) < LEAST_WINDOWS and entry.energies:
        reason = _why_no_energy(entry, metric)
        if samples:
            given = f"{len(samples)} of {len(entry.energies)} windows gave it"
            reason = f"{given}, and {LEAST_WINDOWS} are asked for: {reason}"
        return Absent(reason)
    if not samples:
        return Absent(not_timed(entry, "energy"))
    return figure(median(samples), unit, len(samples), "windows", tuple(lines), interval_of(samples))


def _why_no_energy(entry: Joined, metric: str) -> str:
    """Return why windows lack this figure: their own reason, or the one for which they have no joules."""
    lines = list(entry.energies.values())
    own = (withheld(line, name) for name in (metric, "energy") for line in lines)
    failed = (found.reason for line in lines if isinstance(found := sought(line, metric, ""), Absent))
    return next((said for said in (*own, *failed) if said), "go on with --resume")
