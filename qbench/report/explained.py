"""Where is the loss? Layer by layer: how noisy it got, and what is right with it alone in float."""

from __future__ import annotations

from dataclasses import dataclass

from qbench.cases import Explained
from qbench.reasons import reason_of
from qbench.records import Failed, Measured, find
from qbench.report.figures import Figure, figure
from qbench.report.join import Line, evidence
from qbench.report.tables import Column, Entry, Table
from qbench.stats import Paired, paired
from qbench.store import Run
from qbench.units import text

SHOWN = 12  # layers: the rest stands in the results file
RECOVERED = {"labels": "accuracy recovered, net", "float": "agreement with float recovered, net"}
RIGHT = {
    "labels": "their label",
    "float": "the float network's first answer: a change of what float gets wrong counts as a loss",
}
OLDER = "an earlier qbench recorded it without the answers of single examples: run it with --explain again"


@dataclass(frozen=True, slots=True)
class _Layer:
    name: str
    place: int  # in the network, from 1
    snr_db: float
    change: Paired  # from the quantized network to the same with this layer in float


def explained_tables(run: Run) -> list[Table]:
    """Return a table for every network that was explained, the layers that cost most first."""
    lines = [Line(record, number) for record, number in run.latest().values()]
    return [_table(line) for line in lines if isinstance(line.record.step.subject, Explained)]


def _table(line: Line) -> Table:
    subject, outcome = line.record.step.subject, line.record.outcome
    assert isinstance(subject, Explained)
    title = f"Where the loss of {subject.technique} on {subject.artifact.model} comes from"
    if len(subject.artifact.chain) > 1:  # pruned before, say: what that lost is no rounding
        title += ", beside the network that its last step was given"
    judge = evidence(line, "judged by") or "float"
    heads = ("layer", "place", "signal to noise", RECOVERED[judge], "won", "lost", "lines")
    columns = tuple(Column(head, head not in ("layer", "lines"), head == "lines") for head in heads)
    if isinstance(outcome, Failed):
        return Table(title, columns, (), empty=f"it could not be told: {reason_of(outcome.error)}")
    layers = _layers(line)
    if not layers:
        return Table(title, columns, (), empty=OLDER)
    layers.sort(key=lambda layer: (-layer.change.difference, layer.snr_db))
    rows = tuple(_row(layer, len(layers), line.number) for layer in layers[:SHOWN])
    return Table(title, columns, rows, (_whole(line, judge), *_notes(judge, layers)))


def _whole(line: Line, judge: str) -> str:
    """Return how much there is to explain: what the quantized network gets right of these examples."""
    whole = find(line.record.outcome, "selection_correct")
    assert whole is not None  # there are layers
    right, n = int(sum(whole.samples)), len(whole.samples)
    words = {"labels": "is right on", "float": "answers as float does on"}[judge]
    told = f"Quantized whole, the network {words} {right:,} of {n:,} selection examples"
    return told + ("; there is no loss here to explain." if right == n else ".")


def _layers(line: Line) -> list[_Layer]:
    """Return what was found, in the order of the network; nothing where no answers were kept."""
    outcome = line.record.outcome
    snr, whole, parts = (find(outcome, name) for name in ("layer_snr", "selection_correct", "layer_correct"))
    if not isinstance(outcome, Measured) or snr is None or whole is None or parts is None:
        return []
    names, n = (evidence(line, "layers") or "").splitlines(), len(whole.samples)
    return [
        _Layer(name, at + 1, noise, paired(whole.samples, parts.samples[at * n : (at + 1) * n]))
        for at, (name, noise) in enumerate(zip(names, snr.samples, strict=True))
    ]


def _row(layer: _Layer, count: int, number: int) -> tuple[Entry, ...]:
    change, lines = layer.change, (number,)
    net = figure(change.difference, "points", change.n, "selection examples", lines, change.interval)
    counted = [
        Figure(flips, "1", change.n, "selection examples", lines) for flips in (change.better, change.worse)
    ]
    return (
        Entry(layer.name),
        Entry(f"{layer.place} of {count}"),
        Entry(text(layer.snr_db, "dB"), figure=Figure(layer.snr_db, "dB", 1, "layer", lines, "single")),
        Entry(str(net), sub=net.between, figure=net),
        *(Entry(str(flips), figure=flips) for flips in counted),
        Entry("", lines=lines),
    )


def _notes(judge: str, layers: list[_Layer]) -> tuple[str, ...]:
    left = len(layers) - SHOWN
    found = (
        f"Recovered, net: of {layers[0].change.n:,} selection examples those won (wrong before, right now) "
        "minus those lost (right before, wrong now) when this layer alone is put back to float in the "
        f"finished network. Right is {RIGHT[judge]}. Below it stands the paired 95 % interval: where it "
        "holds 0, nothing is proven of the layer.",
        "The intervals are each of one layer: of many layers, the largest figure is partly luck.",
    )
    return (*found, f"{left} further layers are in the results file.") if left > 0 else found
