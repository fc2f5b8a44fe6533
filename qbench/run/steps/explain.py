"""Where is the loss? Each layer's noise, and what comes back when it alone stays in float."""

from __future__ import annotations

from dataclasses import replace

from qbench.cases import ArtifactSpec, Explained
from qbench.formats import cache
from qbench.formats.artifact import load
from qbench.records import Evidence, Measured, Measurement
from qbench.run.choose import strategy_of
from qbench.run.protocol import StepRequest, Trace
from qbench.run.steps.given import given


def explain(request: StepRequest, trace: Trace) -> Measured:
    """Ask the chain's last technique, on the file that it was applied to.

    Raises:
        DoesNotFit: whatever the technique says of the network.
    """
    subject = request.step.subject
    assert isinstance(subject, Explained)
    trace.stage = "explain"
    way = subject.artifact.way
    last = max(place for place, hop in enumerate(way) if hop.kind == "technique")
    before = load(cache.folder_of(ArtifactSpec(subject.artifact.model, way[:last])))
    hop = replace(way[last], selection=subject.selection)
    data = given(hop, before, dict(request.data_ids))
    found = strategy_of(hop.use).explain(before, data)
    chosen = data.selection.data_id if data.selection else ""
    names = "\n".join(loss.layer.name for loss in found)
    return Measured(
        (
            Measurement("layer_snr", tuple(loss.snr_db for loss in found)),
            Measurement("layer_recovered", tuple(loss.recovered for loss in found)),
        ),
        evidence=(
            Evidence("layers", names),
            Evidence("data id", chosen),
        ),
    )
