"""Where is the loss? Each layer's noise, and what is right again when it alone is back in float."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qbench.cases import ArtifactSpec, Explained
from qbench.formats import cache
from qbench.formats.artifact import load
from qbench.records import Evidence, Measured, Measurement
from qbench.run.choose import strategy_of
from qbench.run.protocol import StepRequest, Trace
from qbench.run.steps.given import given


def explain(request: StepRequest, trace: Trace) -> Measured:
    """Ask the chain's last technique, on the file that it was applied to.

    Returns:
        Which examples the quantized network gets right, and which with each layer in float: the layers one
        behind the other, each as many examples.

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
    names = "\n".join(loss.layer.name for loss in found.layers)
    return Measured(
        (
            Measurement("layer_snr", tuple(loss.snr_db for loss in found.layers)),
            Measurement("selection_correct", _bits(found.right)),
            Measurement("layer_correct", tuple(bit for loss in found.layers for bit in _bits(loss.right))),
        ),
        evidence=(
            Evidence("layers", names),
            Evidence("judged by", found.judge),
            Evidence("data id", chosen),
        ),
    )


def _bits(right: np.ndarray) -> tuple[int, ...]:
    return tuple(right.astype(int).tolist())
