"""Scales of activations that were learned, put into a QDQ model: none wider than what a Clip let through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qbench.quant.affine import activation_scale
from qbench.quant.observers import Histogram
from qbench.quant.qdq_model import QdqModel, float_name
from qbench.quant.recipe import WIDE, Scales


def rescale(model: QdqModel, scales: Scales, limits: Mapping[str, float]) -> None:
    """Give activations the scales that were learned, never wider than their limit, by float tensor."""
    for activation in model.activations:
        name = float_name(activation.tensor)
        scale = scales.activations.get(name)
        if scale is not None:
            zero = int(activation.zero_point.reshape(-1)[0])
            model.set_activation(activation, min(scale, limits.get(name, scale)), zero)


def widest(
    nodes: Mapping[str, Any], seen: Mapping[str, Histogram], model: QdqModel, narrow: Mapping[str, int]
) -> dict[str, float]:
    """Return the widest scale of every activation that takes the place of a Clip, by its float tensor.

    onnxruntime's quantizer leaves a Clip (Relu6) out where the codes end as it did: wider steps would let
    through what it cut off. A Relu that it leaves out ends at code 0, whatever the step. What has its scale
    in common with such an activation has its limit too.

    Args:
        nodes: of the float network, by name.
        seen: what its activations were, by tensor.
        model: the same network in integers.
        narrow: activations of fewer bits than the file's, by tensor of the model.
    """
    left = {node.name for node in model.model.graph.node}
    gone = {node.output[0] for node in nodes.values() if node.op_type == "Clip" and node.name not in left}
    limits: dict[str, float] = {}
    for activation in model.activations:
        name, scale = float_name(activation.tensor), activation.node.input[1]
        if name in gone:
            own, _ = activation_scale(seen[name].low, seen[name].high, narrow.get(activation.tensor, WIDE))
            limits[scale] = min(own, limits.get(scale, own))
    named = {float_name(a.tensor): a.node.input[1] for a in model.activations}
    return {name: limits[scale] for name, scale in named.items() if scale in limits}
