"""What was measured of a cell's outputs beside float's, as figures: of each metric the worst output's."""

from __future__ import annotations

from collections.abc import Sequence

from qbench.quality.judge import deciding, summary, unit_of, worst
from qbench.records import Measured, Measurement, OutputQuality
from qbench.report.figures import FIGURES, Absent, Figure, Value, figure
from qbench.report.join import Joined

# the figure that shows a metric by which an output is judged
FIGURE_OF = {
    "same_first": "agreement",
    "same_positions": "agreement",
    "same_labels": "agreement",
    "same_text": "exact_text",
    "map_overlap": "overlap",
    "confident_overlap": "overlap",
    "cosine": "cosine",
    "range_error": "range_error",
    "comparable": "comparable",
    "sqnr": "sqnr",
}
WORST = "worst_output"
OF_OUTPUTS = tuple(dict.fromkeys((WORST, *FIGURE_OF.values(), "sqnr_worst_channel", "kl_divergence")))
ONE_KIND = "no output of this network is judged by it"


def outputs_of(entry: Joined) -> tuple[OutputQuality, ...]:
    """Return what a cell's score says of its outputs; nothing where it has no score, or an older one."""
    outcome = entry.score.record.outcome if entry.score else None
    return outcome.outputs if isinstance(outcome, Measured) else ()


def output_figures(entry: Joined) -> dict[str, Value]:
    """Return the figures of the outputs by name: of each metric the output that meets float's least."""
    outputs = outputs_of(entry)
    if not outputs or entry.score is None:
        return {}
    line = entry.score.number
    found: dict[str, Value] = dict.fromkeys(OF_OUTPUTS, Absent(ONE_KIND))
    for name in dict.fromkeys(FIGURE_OF.values()):
        least = worst([one for one in outputs if FIGURE_OF.get(one.decides) == name])
        if least is not None:
            found[name] = figure_of(deciding(least), line)
    least = worst(outputs)
    found[WORST] = figure_of(deciding(least), line) if least else Absent(_mute(outputs))
    for name in ("sqnr", "sqnr_worst_channel", "cosine", "kl_divergence"):
        if isinstance(found[name], Absent):
            found[name] = _of_any(outputs, name, line)
    return found


def figure_of(measurement: Measurement, line: int) -> Figure:
    """Return the mean of a measurement's samples with its interval; `line` is where they stand."""
    value, interval = summary(measurement)
    n, unit = len(measurement.samples), unit_of(measurement.metric)
    if interval is None:
        return Figure(value, unit, 1, "figure of all examples", (line,), "whole")
    return figure(value, unit, n, "examples", (line,), interval)


def _of_any(outputs: Sequence[OutputQuality], name: str, line: int) -> Value:
    """Return the least good measurement of this name, of outputs that are judged by another one."""
    sign = -1 if FIGURES[name].better == "lower" else 1
    found = [m for one in outputs for m in one.measurements if m.metric == name]
    if found:
        return figure_of(min(found, key=lambda m: sign * summary(m)[0]), line)
    return Absent(
        next((w.reason for one in outputs for w in one.withheld if w.metric == name), _mute(outputs))
    )


def _mute(outputs: Sequence[OutputQuality]) -> str:
    reasons = dict.fromkeys(w.reason for one in outputs if not one.decides for w in one.withheld)
    return "; ".join(reasons) or ONE_KIND
