"""Where is the loss? Layer by layer: how noisy it got, and what comes back when it alone stays in float."""

from __future__ import annotations

from qbench.cases import Explained
from qbench.records import Failed, Measured, find
from qbench.report.figures import Figure
from qbench.report.join import Line, evidence, first_line
from qbench.report.tables import Column, Entry, Table
from qbench.store import Run
from qbench.units import text

SHOWN = 12  # layers: the rest stands in the results file
HEADS = ("layer", "place", "signal to noise", "answers recovered", "lines")


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
    columns = tuple(Column(head, right=head in HEADS[1:4]) for head in HEADS)
    if isinstance(outcome, Failed):
        return Table(title, columns, (), empty=f"it could not be told: {first_line(outcome.error)}")
    names = (evidence(line, "layers") or "").splitlines()
    snr, recovered = find(outcome, "layer_snr"), find(outcome, "layer_recovered")
    if not isinstance(outcome, Measured) or snr is None or recovered is None:
        return Table(title, columns, (), empty="nothing was measured")
    count = len(names)
    found = sorted(
        zip(recovered.samples, snr.samples, names, range(1, count + 1), strict=True),
        key=lambda layer: (-layer[0], layer[1]),
    )
    rows = tuple(
        (
            Entry(name),
            Entry(f"{place} of {count}"),
            Entry(text(noise, "dB"), figure=Figure(noise, "dB", 1, "layer", (line.number,), "single")),
            Entry(
                text(won, "points"),
                "neutral",
                figure=Figure(won, "points", 1, "layer", (line.number,), "single"),
            ),
            Entry("", lines=(line.number,)),
        )
        for won, noise, name, place in found[:SHOWN]
    )
    left = f"; {count - SHOWN} further layers are in the results file" if count > SHOWN else ""
    note = (
        "Answers recovered: the share of selection examples that again get the float network's first answer "
        f"when this layer alone stays in float{left}."
    )
    return Table(title, columns, rows, (note,))
