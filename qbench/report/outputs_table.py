"""Every output of a cell beside float's: what it is read as, what it is judged by, what was measured."""

from __future__ import annotations

from collections.abc import Sequence

from qbench.quality.judge import deciding, judge_one, single, summary, unit_of
from qbench.records import OutputQuality
from qbench.report.figures import FIGURES
from qbench.report.outputs import FIGURE_OF, figure_of
from qbench.report.tables import DASH, Column, Entry, Table
from qbench.units import Unit, text

EACH = ("sqnr", "sqnr_worst_channel", "cosine", "dead_channels")  # of every output, whatever it is
MORE = (
    "kl_divergence", "confidence_moved", "confident_kept", "text_similarity", "same_nearest", "range_error",
)  # fmt: skip


def outputs_table(outputs: Sequence[OutputQuality]) -> Table:
    """Return every output and part with what it is read as, what it is judged by, and what was measured."""
    heads = ("output", "read as", "judged by", "SQNR", "worst channel", "cosine", "dead channels", "further")
    columns = tuple(Column(head, right=head in heads[3:7]) for head in heads)
    rows = tuple(
        (
            Entry(one.output, sub=one.part),
            Entry(one.output_kind, sub="" if one.recognised else "as you said"),
            _judged(one),
            *(_entry(one, name) for name in EACH),
            Entry("; ".join(_further(one)) or DASH),
        )
        for one in outputs
    )
    return Table("Every output beside float's", columns, rows, empty="no output was compared with float's")


def _judged(output: OutputQuality) -> Entry:
    if not output.decides:
        why = next((w.reason for w in output.withheld), "nothing can judge it")
        return Entry(DASH, "absent", sub=why)
    value, interval = summary(deciding(output))
    tone = {"pass": "good", "fail": "bad"}.get(judge_one(output).outcome, "neutral")
    what = FIGURES[FIGURE_OF[output.decides]].head
    between = "" if interval is None else f" ({figure_of(deciding(output), 0).between})"
    sub = f"{judge_one(output).outcome}{between}"
    return Entry(f"{what} {text(value, unit_of(output.decides))}", tone, sub)  # type: ignore[arg-type]


def _entry(output: OutputQuality, name: str) -> Entry:
    value = single(output, name)
    if value is None:
        reason = next((w.reason for w in output.withheld if w.metric == name), "not measured")
        return Entry(DASH, "absent", sub=reason)
    return Entry(text(value, _unit(name)))


def _further(output: OutputQuality) -> list[str]:
    names = (name for name in MORE if name != output.decides)
    found = ((name, single(output, name)) for name in names)
    return [
        f"{name.replace('_', ' ')} {text(value, _unit(name))}" for name, value in found if value is not None
    ]


def _unit(name: str) -> Unit:
    shares = ("dead_channels", "confident_kept", "text_similarity", "same_nearest")
    return "share" if name in shares else unit_of(name)
