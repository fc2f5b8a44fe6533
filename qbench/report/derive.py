"""Lines to figures: what one cell measured of itself. Every branch ends in a Figure or in an Absent."""

from __future__ import annotations

from qbench.cases import Float
from qbench.records import Measured
from qbench.report.figures import Absent, Figure, Value, figure, typical_latency
from qbench.report.join import ONE_NETWORK, Joined, Line, sought, why_missing
from qbench.report.outputs import OF_OUTPUTS, output_figures
from qbench.report.speed import cost_figures, not_timed, speed_figures
from qbench.report.upkeep import estimated, upkeep
from qbench.stats import Interval, mean_interval, median, share_interval
from qbench.units import Unit

# metric, unit, step that reports it: one number each, shown as it stands
PLAIN: tuple[tuple[str, Unit, str], ...] = (
    ("sqnr", "dB", "score"),
    ("reference_error", "1", "score"),
    ("simulated_error", "1", "score"),
    ("native_difference", "1", "score"),
    ("low_bit_kernels", "1", "score"),
    ("other_kernels", "1", "score"),
    ("file_size", "B", "prepare"),
    ("compressed_size", "B", "prepare"),
    ("prepare_time", "s", "prepare"),
    ("quantize_time", "s", "prepare"),
    ("prepare_memory", "B", "prepare"),
    ("load_time", "s", "deploy"),
    ("first_inference", "s", "deploy"),
    ("peak_memory", "B", "deploy"),
    ("preprocess_time", "s", "deploy"),
    ("postprocess_time", "s", "deploy"),
    ("load_memory", "B", "deploy"),
    ("device_memory", "B", "deploy"),
    ("engine_memory", "B", "deploy"),
)
COUNTED = frozenset({"file_size", "compressed_size", "low_bit_kernels", "other_kernels"})
NOTHING_QUANTIZED = "this is fp32 itself, in which nothing is quantized"
NOT_OF_FP32 = frozenset({"sqnr", "low_bit_kernels", "other_kernels", "quantize_time"})
OVER_ALL_EXAMPLES = frozenset({"sqnr", "reference_error", "simulated_error", "native_difference"})
FP32_OUTPUTS = "this is fp32 itself, with whose outputs the others are compared"
NATIVE = "this ran on the device itself: nothing is emulated that could be compared with it"
SILENT = {  # why a step that was measured says nothing of these
    "simulated_error": "no simulated form of the same numbers was compared with it",
    "escalated": ONE_NETWORK,
    "native_agreement": NATIVE,
    "native_difference": NATIVE,
}


def own_figures(entry: Joined) -> dict[str, Value]:
    """Return the figures of a cell that need no other cell."""
    figures: dict[str, Value] = {"accuracy": _bits(entry, "correct"), "kl_divergence": _divergence(entry)}
    for metric, unit, step in PLAIN:
        figures[metric] = _plain(entry, metric, unit, step)
    figures |= output_figures(entry) or _without_outputs(entry)
    figures["covered_ratio"] = _share(entry, "covered_weights", "covered_float", "ratio")
    figures["coverage"] = _share(entry, "covered_float", "model_float", "share")
    figures["coverage_macs"] = _share(entry, "covered_macs", "model_macs", "share")
    figures["escalated"] = _bits(entry, "escalated")
    figures["native_agreement"] = _bits(entry, "native_agreement")
    figures |= speed_figures(entry)
    figures["outside_share"] = _outside(figures)
    costs = cost_figures(entry)
    costs["energy_estimate"] = estimated(entry, figures)
    return figures | costs | upkeep(entry, costs["energy"])


def _without_outputs(entry: Joined) -> dict[str, Value]:
    """Return why there are no figures of outputs, except those that older records have of the first one."""
    scored = entry.score is not None and isinstance(entry.score.record.outcome, Measured)
    absent = Absent("its outputs were not compared with fp32's" if scored else why_missing(entry))
    if scored and entry.case is not None and entry.case.role == "fp32":
        absent = Absent(FP32_OUTPUTS)
    return dict.fromkeys((name for name in OF_OUTPUTS if name not in ("sqnr", "kl_divergence")), absent)


def _line(entry: Joined, step: str) -> Line | None:
    return {"prepare": entry.prepare, "score": entry.score, "deploy": entry.deploy}[step]


def _plain(entry: Joined, metric: str, unit: Unit, step: str) -> Value:
    line = _line(entry, step)
    if line is not None and metric in NOT_OF_FP32 and entry.case is not None and entry.case.role == "fp32":
        return Absent(NOTHING_QUANTIZED)
    found = sought(line, metric, why_missing(entry), SILENT.get(metric, ""))
    if isinstance(found, Absent):
        if step == "deploy" and line is None:  # a simulated cell's score says why it was never deployed
            return Absent(not_timed(entry, metric))
        return found
    measurement, number = found
    samples = measurement.samples
    value = median(samples)
    if metric in COUNTED:
        return Figure(value, unit, len(samples), "count", (number,))
    if len(samples) == 1:
        if metric in OVER_ALL_EXAMPLES:
            return Figure(value, unit, 1, "figure of all examples", (number,), "whole")
        return Figure(value, unit, 1, "measurement", (number,), "single")
    between = Interval(min(samples), max(samples), "range", len(samples))
    return figure(value, unit, len(samples), "measurements", (number,), between)


def _bits(entry: Joined, metric: str) -> Value:
    """Return the share of examples whose bit is set."""
    found = sought(entry.score, metric, why_missing(entry), SILENT.get(metric, ""))
    if isinstance(found, Absent):
        return found
    measurement, number = found
    n, hits = len(measurement.samples), int(sum(measurement.samples))
    return figure(hits / n, "share", n, "examples", (number,), share_interval(hits, n))


def _divergence(entry: Joined) -> Value:
    if entry.case is not None and entry.case.role == "fp32" and entry.score is not None:
        return Absent("this is fp32 itself, from which the divergence is measured")
    found = sought(entry.score, "kl_divergence", why_missing(entry))
    if isinstance(found, Absent):
        return found
    measurement, number = found
    mean, interval = mean_interval(measurement.samples)
    return figure(mean, "nat", len(measurement.samples), "examples", (number,), interval)


def _share(entry: Joined, over: str, under: str, unit: Unit) -> Value:
    missing = why_missing(entry)
    if entry.prepare is not None and entry.case is not None and entry.case.role == "fp32":
        return Absent(NOTHING_QUANTIZED)
    top, bottom = sought(entry.prepare, over, missing), sought(entry.prepare, under, missing)
    if isinstance(top, Absent) or isinstance(bottom, Absent):
        if isinstance(entry.artifact.state, Float) and entry.prepare is not None and not entry.failures():
            return Absent("a float file: no weight is quantized")
        return top if isinstance(top, Absent) else bottom if isinstance(bottom, Absent) else Absent(missing)
    whole = median(bottom[0].samples)
    if whole <= 0:
        return Absent("no weight is covered, so there is nothing to compare")
    return Figure(median(top[0].samples) / whole, unit, 1, "file", (top[1],))


def _outside(figures: dict[str, Value]) -> Value:
    """Return the share of a whole request that is spent before and after the network: no bits shorten it."""
    before, after = figures["preprocess_time"], figures["postprocess_time"]
    call = typical_latency(figures)
    for value in (call, before, after):
        if isinstance(value, Absent):
            return value
    assert isinstance(before, Figure)
    assert isinstance(after, Figure)
    assert isinstance(call, Figure)
    around = before.value + after.value
    share, lines = around / (around + call.value), call.lines + before.lines
    return Figure(share, "share", call.n, call.of, lines, "whole")
