"""How far a cell is from what its device can do, and what holds it back: products, bytes, or neither.

Source:
    Williams, Waterman and Patterson 2009, "Roofline", CACM 52(4): time is at least the larger of work over
    peak rate and bytes over bandwidth. What is left of a call is overhead: dispatch, copies in and out,
    layers without products, threads that wait for each other.
"""

from __future__ import annotations

from collections.abc import Mapping

from qbench.cases import Case
from qbench.records import find
from qbench.report.figures import Absent, Figure, Value
from qbench.report.join import Joined
from qbench.report.limits import Limits, format_of
from qbench.report.ratio import seconds_per_example

NOT_PROBED = "this host's limits were not measured: run `qbench probe`"
FLOAT_BYTES = 4
NAMES = ("compute_time", "transfer_time", "overhead_time", "roofline")


def roofline(entry: Joined, own: Mapping[str, Value], limits: Limits | None) -> dict[str, Value]:
    """Return the least times of products and of bytes, what is left, and the share of the attainable."""
    spent = seconds_per_example(entry, own)
    if isinstance(spent, Absent):
        return dict.fromkeys(NAMES, spent)
    if isinstance(own["escalated"], Figure):
        return dict.fromkeys(NAMES, Absent("not every example needs the file's second network"))
    case = entry.case
    if limits is None or case is None:
        return dict.fromkeys(NAMES, Absent(NOT_PROBED))
    if case.deployment.isa:
        return dict.fromkeys(NAMES, Absent("what the capped instructions can sustain was not probed"))
    compute = _compute_s(entry, case, limits)
    transfer = _transfer_s(entry, case, limits)
    absent = next((value for value in (compute, transfer) if isinstance(value, Absent)), None)
    if absent is not None or isinstance(compute, Absent) or isinstance(transfer, Absent):
        return dict.fromkeys(NAMES, absent or Absent(NOT_PROBED))
    speed = own[entry.timed]
    assert isinstance(speed, Figure)  # else there were no seconds an example
    least = max(compute, transfer)

    def told(value: float, unit: str) -> Figure:
        return Figure(value, unit, speed.n, speed.of, speed.lines, "whole")  # type: ignore[arg-type]

    return {
        "compute_time": told(compute, "s"),
        "transfer_time": told(transfer, "s"),
        "overhead_time": told(max(0.0, spent - least), "s"),
        "roofline": told(least / spent, "share"),
    }


def bound_by(figures: Mapping[str, Value]) -> str:
    """Say in one sentence what holds the cell back; empty where that is not known."""
    compute, transfer, overhead, share = (figures[name] for name in NAMES)
    if any(isinstance(value, Absent) for value in (compute, transfer, overhead, share)):
        return ""
    assert isinstance(compute, Figure)
    assert isinstance(transfer, Figure)
    assert isinstance(overhead, Figure)
    held, what = max((compute.value, "products"), (transfer.value, "bytes moved"))
    if overhead.value > held:
        return (
            f"bound by overhead: {overhead} of an example is neither products ({compute}) nor bytes moved "
            f"({transfer}); fewer bits shorten those two only, a larger batch shortens the rest"
        )
    least = max(compute, transfer, key=lambda figure: figure.value)
    return f"bound by {what}: they take at least {least} of an example ({share} of what is attainable)"


def _compute_s(entry: Joined, case: Case, limits: Limits) -> float | Absent:
    """Return the seconds that an example's products take at the sustained rates, covered ones at theirs."""
    prepared = entry.prepare.record.outcome if entry.prepare else None
    macs = find(prepared, "model_macs") if prepared else None
    covered = find(prepared, "covered_macs") if prepared else None
    if macs is None:
        return Absent("the network's work could not be counted")
    placed = case.deployment
    narrow = format_of(placed.artifact.state)
    parts = [(narrow, covered.samples[0] if covered and narrow != "fp32" else 0.0)]
    parts.append(("fp32", macs.samples[0] - parts[0][1]))
    total = 0.0
    for number_format, work in parts:
        if work <= 0:
            continue
        peak = limits.of(placed.backend, placed.hardware, placed.threads, number_format)
        if peak is None:
            where = f"{placed.backend} with {placed.threads} threads"
            return Absent(f"`qbench probe` measured no {number_format} of {where} here")
        total += work / peak.macs_per_s
    return total


def _transfer_s(entry: Joined, case: Case, limits: Limits) -> float | Absent:
    """Return the seconds in which an example's bytes are copied: weights once a batch, activations once."""
    if limits.copy_bytes_per_s is None:
        return Absent("`qbench probe` measured no copying here")
    prepared = entry.prepare.record.outcome if entry.prepare else None
    wanted = ("moved_activations", "covered_weights", "covered_float", "model_float")
    counts = [find(prepared, name) if prepared else None for name in wanted]
    if any(count is None for count in counts):
        return Absent("the bytes that the network moves could not be counted")
    moved, covered, covered_float, model_float = (count.samples[0] for count in counts if count)
    state = case.deployment.artifact.state
    bits = {"fp32": 32, "bf16": 16, "fp16": 16}.get(format_of(state), 8)
    weights = covered + model_float - covered_float
    share = covered_float / model_float if model_float else 0.0  # of the activations, as of the weights
    width = share * bits / 8 + (1 - share) * FLOAT_BYTES
    return (weights / case.scenario.batch + moved * width) / limits.copy_bytes_per_s
