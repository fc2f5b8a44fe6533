"""What the report shows: a figure with its interval, count and lines, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from qbench.metrics import CATALOGUE
from qbench.stats import Interval, IntervalKind
from qbench.units import Unit, span, text

Spread = IntervalKind | Literal["exact", "single", "whole"]

SPREAD_WORDS: dict[str, str] = {
    "range": "smallest to largest",
    "median95": "95 % order-statistic interval of the median",
    "paired95": "95 % interval, paired",
    "wilson95": "95 % interval (Wilson)",
    "normal95": "95 % interval (normal)",
    "exact": "counted, so without an interval",
    "whole": "computed from all of them, without an interval",
    "single": "one measurement, so without an interval",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One number in SI units with everything that a reader may ask of it."""

    value: float
    unit: Unit
    n: int
    of: str  # what n counts: rounds, calls, examples, one file
    lines: tuple[int, ...]  # of the results file: where the samples stand
    interval: Spread = "exact"
    low: float | None = None  # None exactly where `interval` says that there is none
    high: float | None = None

    def __str__(self) -> str:
        """Write the value with its unit."""
        return text(self.value, self.unit)

    @property
    def between(self) -> str:
        """Write the two ends, or the words for having none."""
        if self.low is None or self.high is None:
            return SPREAD_WORDS[self.interval]
        return span(self.low, self.high, self.unit)


@dataclass(frozen=True, slots=True)
class Absent:
    """There is no such number here, for this reason."""

    reason: str


Value = Figure | Absent


def figure(
    value: float, unit: Unit, n: int, of: str, lines: tuple[int, ...], interval: Interval | None
) -> Figure:
    """Return a figure with this interval; None says that one measurement has none."""
    if interval is None:
        return Figure(value, unit, n, of, lines, "single")
    return Figure(value, unit, n, of, lines, interval.kind, interval.low, interval.high)


def typical_latency(figures: Mapping[str, Value]) -> Value:
    """Return what one call takes: the median, or the mean where calls depend on their inputs."""
    mean = figures["latency_mean"]
    return mean if isinstance(mean, Figure) else figures["latency"]


@dataclass(frozen=True, slots=True)
class Shown:
    """A row of the catalogue of figures; what the figure rests on is in metrics.CATALOGUE."""

    name: str
    head: str
    better: Literal["lower", "higher", "neither"]
    means: str


def _metric(name: str, head: str) -> Shown:
    return Shown(name, head, CATALOGUE[name].better, CATALOGUE[name].means)


FIGURES: dict[str, Shown] = {
    shown.name: shown
    for shown in (
        Shown("accuracy", "accuracy", "higher", "Share of examples whose first answer was right."),
        Shown(
            "accuracy_over_seeds",
            "over seeds",
            "higher",
            "Accuracy with other draws of calibration examples: the median of the seeds, and the range.",
        ),
        Shown(
            "accuracy_difference",
            "difference",
            "higher",
            "Accuracy minus that of fp32 on the same engine, the same examples paired one by one.",
        ),
        Shown(
            "detectable",
            "detectable",
            "lower",
            "The smallest true difference of accuracy that this many examples would find 4 times in 5. "
            "A difference below it says little.",
        ),
        Shown("p_value", "McNemar p", "neither", "Exact McNemar test of no difference in accuracy."),
        Shown("flips", "flips", "lower", "Share of examples that went from right to wrong or back."),
        Shown(
            "worst_output",
            "worst output",
            "neither",
            "Of the output that meets fp32's least: the figure by which it is judged, and the whole with it.",
        ),
        Shown(
            "agreement",
            "agreement",
            "higher",
            "Share of examples (or of their positions) with the same first answer or label as fp32.",
        ),
        Shown("exact_text", "exact text", "higher", CATALOGUE["same_text"].means),
        Shown(
            "overlap",
            "overlap",
            "higher",
            "Intersection over union of what fp32 marks, or is confident of, and what this one is.",
        ),
        _metric("cosine", "cosine"),
        _metric("range_error", "error / range"),
        Shown("comparable", "comparable", "higher", CATALOGUE["comparable"].means),
        _metric("escalated", "share escalated"),
        Shown("kl_divergence", "KL", "lower", CATALOGUE["kl_divergence"].means + " The mean is shown."),
        _metric("sqnr", "SQNR"),
        Shown(
            "sqnr_worst_channel",
            "worst channel",
            "higher",
            "Signal to quantization noise of the channel of any output in which the least of it is left.",
        ),
        _metric("reference_error", "reference error"),
        _metric("simulated_error", "simulated error"),
        Shown(
            "native_agreement",
            "as native",
            "higher",
            "Share of examples with the first answer that this file gives on the processor of the host.",
        ),
        _metric("native_difference", "native difference"),
        _metric("file_size", "size"),
        Shown("size_ratio", "size / fp32", "lower", "File size over that of fp32 on the same engine."),
        Shown(
            "size_over_float",
            "size / smallest float",
            "lower",
            "File size over that of the smallest float cell of any engine.",
        ),
        _metric("compressed_size", "compressed"),
        Shown(
            "covered_ratio",
            "covered weights",
            "lower",
            "Bytes of the weights that the technique covers, over what they took in 32-bit float.",
        ),
        Shown(
            "coverage",
            "coverage",
            "higher",
            "Share of the network's weights, in bytes of 32-bit float, that the technique covers.",
        ),
        Shown(
            "coverage_macs",
            "coverage of work",
            "higher",
            "Share of one inference's multiply-accumulates that run over covered weights.",
        ),
        _metric("low_bit_kernels", "low-bit kernels"),
        _metric("other_kernels", "float kernels"),
        Shown(
            "latency",
            "latency",
            "lower",
            CATALOGUE["latency"].means + " Median of the rounds' medians; the range is theirs.",
        ),
        Shown(
            "latency_mean",
            "latency mean",
            "lower",
            "Where a second network answers some inputs: median of the rounds' means. Speed-ups rest on it.",
        ),
        Shown("latency_p90", "latency p90", "lower", "90 % of calls took no longer."),
        Shown("latency_p99", "latency p99", "lower", "99 % of calls took no longer."),
        Shown(
            "latency_variation",
            "variation",
            "lower",
            "Coefficient of variation of all calls: standard deviation over mean.",
        ),
        Shown(
            "throughput",
            "throughput",
            "higher",
            CATALOGUE["throughput"].means + " Median of the rounds' medians; the range is theirs.",
        ),
        Shown(
            "speedup",
            "speed-up",
            "higher",
            "Latency of fp32 on the same engine over this cell's, inside each round; the median over rounds. "
            "Where the streams are saturated, this cell's throughput over that of fp32.",
        ),
        Shown(
            "speedup_over_float",
            "over best float",
            "higher",
            "The same against the fastest float cell of any engine, inside their common rounds.",
        ),
        Shown(
            "build_spread",
            "build spread",
            "lower",
            "Slowest to fastest of the builds of one compiled file, over their median: a compiler's draw.",
        ),
        Shown(
            "capped_speed",
            "over uncapped",
            "higher",
            "Latency of the same file with all vector instructions over this cell's, inside common rounds.",
        ),
        Shown(
            "ratio_spread",
            "ratio spread",
            "lower",
            "Standard deviation over mean of the rounds' speed-ups: how steady the comparison was.",
        ),
        *(_metric(name, name.replace("_", " ")) for name in CATALOGUE if name.startswith("instructions")),
        Shown(
            "instructions_ratio",
            "instr. / fp32",
            "lower",
            "Instructions of one call over those of fp32 on the same engine: a cost and no time.",
        ),
        Shown(
            "roofline",
            "of attainable",
            "higher",
            "The least time that one example's products or bytes take at this device's sustained rates "
            "(`qbench probe`), over the time that it took.",
        ),
        Shown(
            "compute_time",
            "products",
            "lower",
            "One example's products at the rate that this engine sustains.",
        ),
        Shown("transfer_time", "bytes moved", "lower", "One example's weights and activations, copied once."),
        Shown(
            "overhead_time",
            "overhead",
            "lower",
            "What is left of an example's time: calls, copies in and out, layers without products, waiting.",
        ),
        _metric("load_time", "load"),
        _metric("first_inference", "first call"),
        _metric("peak_memory", "peak memory"),
        Shown("memory_ratio", "memory / fp32", "lower", "Peak memory over that of fp32 on the same engine."),
        _metric("preprocess_time", "before the network"),
        _metric("postprocess_time", "after the network"),
        Shown(
            "outside_share",
            "outside the network",
            "lower",
            "Share of a whole request that is spent on raw bytes and answers: no technique shortens it.",
        ),
        _metric("load_memory", "load memory"),
        _metric("device_memory", "device memory"),
        _metric("engine_memory", "engine memory"),
        _metric("prepare_time", "prepare time"),
        _metric("quantize_time", "quantize time"),
        _metric("prepare_memory", "prepare memory"),
        Shown(
            "break_even",
            "break-even",
            "lower",
            "Examples to answer until the time saved has paid for the time to quantize; where that "
            "was not taken apart, for the time to prepare the file.",
        ),
        _metric("energy", "energy"),
        _metric("energy_net", "energy, net"),
        Shown(
            "energy_estimate",
            "energy, estimated",
            "neither",
            "No measurement: the hardware profile's power figure times the time of an example. It is latency "
            "in joules; nothing is compared by it.",
        ),
        _metric("power", "power"),
        _metric("idle_power", "idle power"),
        Shown(
            "cost_per_million",
            "cost / million",
            "lower",
            "Electricity for a million examples, of metered energy, at 0.1271 USD/kWh (U.S. Energy "
            "Information Administration, average retail price, April 2024).",
        ),
        Shown(
            "carbon_per_million",
            "CO2e / million",
            "lower",
            "Grams of CO2 equivalent for a million examples, of metered energy, at 436 g/kWh (world average "
            "of 2022; Ember, Global Electricity Review 2023).",
        ),
        Shown(
            "examples_per_charge",
            "examples / charge",
            "higher",
            "Examples that one battery charge answers, of metered energy, where the profile names a battery.",
        ),
    )
}
