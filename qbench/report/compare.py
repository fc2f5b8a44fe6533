"""One cell against another: its fp32 on the same engine, and the best float cell of any engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from qbench.metrics import ACCURACY_LIMIT
from qbench.quality.judge import SEVERITY, Judgement, judge
from qbench.records import Measured, Measurement
from qbench.report.figures import Absent, Figure, Spread, Value, figure
from qbench.report.join import Joined, evidence, sought, why_missing
from qbench.report.outputs import output_figures, outputs_of
from qbench.report.ratio import against_fp32, break_even
from qbench.stats import Interval, Paired, Ratios, agreement, paired, share_interval, verdict
from qbench.units import text

LIMIT = ACCURACY_LIMIT
UNJUDGED = Judgement("unjudged", "nothing tells how its answers differ from fp32")
COMPARED = (
    "accuracy_difference",
    "detectable",
    "p_value",
    "flips",
    "agreement",
    "size_ratio",
    "memory_ratio",
    "instructions_ratio",
    "speedup",
    "ratio_spread",
    "break_even",
)


def without_baseline(reason: str) -> dict[str, Value]:
    """Return every compared figure as absent for this reason."""
    return dict.fromkeys(COMPARED, Absent(reason))


def compared_figures(
    entry: Joined, own: Mapping[str, Value], base: Joined, base_own: Mapping[str, Value]
) -> tuple[dict[str, Value], Judgement, Ratios | None]:
    """Return the figures against fp32 on the same engine, the judgement on accuracy, every round's ratio."""
    figures = dict(own_ratio("size_ratio", "file_size", own, base_own))
    figures |= own_ratio("memory_ratio", "peak_memory", own, base_own)
    told, judgement = answers(entry, base)
    figures |= told
    figures |= own_ratio("instructions_ratio", "instructions", own, base_own)
    speed, ratios = against_fp32(entry, base)
    figures |= speed
    figures["break_even"] = break_even(entry, own, figures["speedup"])
    return figures, judgement, ratios


def own_ratio(name: str, of: str, own: Mapping[str, Value], base: Mapping[str, Value]) -> dict[str, Value]:
    """Return one figure over the same figure of a baseline."""
    top, bottom = own[of], base[of]
    if isinstance(top, Absent):
        return {name: top}
    if isinstance(bottom, Absent):
        return {name: Absent(f"the baseline has none: {bottom.reason}")}
    kind: Spread = "exact" if top.interval == bottom.interval == "exact" else "single"
    n = min(top.n, bottom.n)
    return {name: Figure(top.value / bottom.value, "ratio", n, top.of, top.lines + bottom.lines, kind)}


def _same_data(entry: Joined, base: Joined) -> str | None:
    """Return why two scores must not be compared, or None where both saw the same examples."""
    own, other = evidence(entry.score, "data id"), evidence(base.score, "data id")
    if own is None or other is None:
        return "no data id was recorded, so the examples may differ"
    if own != other:
        return f"scored on other examples than its baseline: data id {own} against {other}"
    return None


def _scored(entry: Joined) -> bool:
    return entry.score is not None and isinstance(entry.score.record.outcome, Measured)


def answers(entry: Joined, base: Joined, what: str = "fp32") -> tuple[dict[str, Value], Judgement]:
    """Return how the answers of two cells differ, example by example; `what` names the second one."""
    absent = Absent(why_missing(entry))
    figures: dict[str, Value] = dict.fromkeys(
        ("accuracy_difference", "detectable", "p_value", "flips", "agreement"), absent
    )
    if not (_scored(entry) and _scored(base)):
        reason = f"{what} has no score: {why_missing(base)}" if _scored(entry) else why_missing(entry)
        return dict.fromkeys(figures, Absent(reason)), Judgement("incomparable", reason)
    unlike = _same_data(entry, base)
    if unlike:
        return dict.fromkeys(figures, Absent(unlike)), Judgement("incomparable", unlike)
    beside_float = what == "fp32" and outputs_of(entry)
    judgement = judge(outputs_of(entry)) if beside_float else UNJUDGED
    same = _both(entry, base, "prediction", what)
    if isinstance(same, Absent):
        figures["agreement"] = same
    else:
        (first, own_line), (second, base_line) = same
        n = len(first.samples)
        share = agreement(first.samples, second.samples)
        interval = share_interval(round(share * n), n)
        figures["agreement"] = figure(share, "share", n, "examples", (base_line, own_line), interval)
        if not beside_float:  # a record of an older format, or two techniques beside each other
            judgement = _judged_without_labels(share, interval, second.samples)
    if beside_float and not isinstance(told := output_figures(entry)["agreement"], Absent):
        figures["agreement"] = told
    pair = _both(entry, base, "correct", what)
    if isinstance(pair, Absent):
        for name in ("accuracy_difference", "detectable", "p_value", "flips"):
            figures[name] = pair
        return figures, judgement
    (first, own_line), (second, base_line) = pair
    test = paired(second.samples, first.samples)
    figures |= _paired_figures(test, (base_line, own_line))
    return figures, _with_other_outputs(_judged(test), entry if beside_float else None)


def _with_other_outputs(by_label: Judgement, entry: Joined | None) -> Judgement:
    """Return the worse of the judgement by labels, which tell of the first output, and that of the others."""
    outputs = outputs_of(entry) if entry else ()
    others = judge([one for one in outputs if one.output != outputs[0].output])
    return max(by_label, others, key=lambda found: SEVERITY[found.outcome])


def _both(
    entry: Joined, base: Joined, metric: str, what: str
) -> tuple[tuple[Measurement, int], tuple[Measurement, int]] | Absent:
    first, second = sought(entry.score, metric, ""), sought(base.score, metric, "")
    if isinstance(first, Absent):
        return first
    if isinstance(second, Absent):
        return Absent(f"{what} has none: {second.reason}")
    if len(first[0].samples) != len(second[0].samples):
        return Absent(
            f"{len(first[0].samples)} examples cannot be paired with {what}'s {len(second[0].samples)}"
        )
    return first, second


def _paired_figures(test: Paired, lines: tuple[int, int]) -> dict[str, Value]:
    flips = share_interval(test.worse + test.better, test.n)
    return {
        "accuracy_difference": figure(test.difference, "points", test.n, "pairs", lines, test.interval),
        "detectable": Figure(test.detectable, "width", test.n, "pairs", lines, "whole"),
        "p_value": Figure(test.p_value, "1", test.n, "pairs", lines, "whole"),
        "flips": figure(test.flips, "share", test.n, "pairs", lines, flips),
    }


def _judged(test: Paired) -> Judgement:
    outcome = verdict(test.interval, LIMIT)
    words = {
        "pass": "accuracy holds: a loss beyond {limit} is ruled out",
        "fail": "accuracy falls by more than the limit of {limit}",
        "inconclusive": "not proven that accuracy holds within {limit}: "
        "{n:,} examples can detect {detectable}",
    }
    found = words[outcome].format(
        limit=text(LIMIT, "points"), n=test.n, detectable=text(test.detectable, "width")
    )
    return Judgement(outcome, found)


def _judged_without_labels(share: float, interval: Interval, reference: tuple[float, ...]) -> Judgement:
    """Judge by agreement: accuracy cannot fall by more than the share of answers that changed.

    So agreement can prove that accuracy holds, and never that it falls, except by the rule for a collapse
    with fp32's answers as the labels (methodology, "Collapse").
    """
    limit = text(LIMIT, "points")
    most = Counter(reference).most_common(1)[0][1] / len(reference)
    if most < 1 and (share - most) / (1 - most) < 0.5:
        return Judgement("fail", f"it gives fp32's answer only on {text(share, 'share')} of the examples")
    if interval.low >= 1 + LIMIT:
        few = f"no labels, but so few answers changed that a loss beyond {limit} is ruled out"
        return Judgement("pass", few)
    lost = text(1 - interval.low, "share")
    many = f"not proven that accuracy holds: no labels, and up to {lost} of answers changed"
    return Judgement("inconclusive", many)
