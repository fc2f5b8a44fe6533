"""Folding BatchNormalization into the convolution before it: what a float engine does by itself.

A quantizer that meets the pair unfolded gives the convolution's output a scale of its own, and the channels
that BatchNormalization was about to enlarge are then rounded away (R. Krishnamoorthi, arXiv:1806.08342,
section 3.2.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qbench.quant.qdq_graph import OnnxGraph

if TYPE_CHECKING:
    import numpy as np

EPSILON = 1e-5  # where the node does not say: the ONNX specification's default


def fold_batch_norm(model: Any) -> int:
    """Fold, in place, every BatchNormalization that is the only user of a Conv; return how many were.

    Left alone are those in training mode, those whose numbers or whose convolution's weight are computed or
    used elsewhere too, and those after anything else.
    """
    folded = 0
    for norm in [node for node in model.graph.node if node.op_type == "BatchNormalization"]:
        graph = OnnxGraph(model)
        uses = [name for node in graph.nodes for name in node.input]
        uses += [output.name for output in model.graph.output]
        conv = graph.maker.get(norm.input[0])
        if conv is None or conv.op_type != "Conv" or not _alone(norm, conv, graph, uses):
            continue
        _fold(model, norm, conv, graph)
        folded += 1
    return folded


def _alone(norm: Any, conv: Any, graph: OnnxGraph, uses: list[str]) -> bool:
    training = any(attribute.name == "training_mode" and attribute.i for attribute in norm.attribute)
    held = {tensor.name for tensor in graph.stored.values()}
    known = held.issuperset([*norm.input[1:5], *conv.input[1:]])
    weights = [name for name in conv.input[1:] if name]
    return not training and known and all(uses.count(name) == 1 for name in [norm.input[0], *weights])


def _fold(model: Any, norm: Any, conv: Any, graph: OnnxGraph) -> None:
    from onnx import numpy_helper

    def array(name: str) -> np.ndarray:
        return numpy_helper.to_array(graph.stored[name])

    scale, shift, mean, variance = (array(name).astype("f8") for name in norm.input[1:5])
    epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), EPSILON)
    factor = scale / (variance + epsilon) ** 0.5  # (channels out,)
    weight = array(conv.input[1])
    bias = array(conv.input[2]) if len(conv.input) > 2 and conv.input[2] else 0.0
    bias = (bias - mean) * factor + shift
    shape = (-1, *[1] * (weight.ndim - 1))
    names = [f"{norm.output[0]}_folded_weight", f"{norm.output[0]}_folded_bias"]
    for name, folded in zip(names, (weight * factor.reshape(shape), bias), strict=True):
        model.graph.initializer.append(numpy_helper.from_array(folded.astype(weight.dtype), name))
    dropped = set(conv.input[1:])
    del conv.input[1:]
    conv.input.extend(names)
    conv.output[0] = norm.output[0]
    model.graph.node.remove(norm)
    dropped.update(norm.input[1:5])
    used = {name for node in model.graph.node for name in node.input}
    for tensor in [t for t in model.graph.initializer if t.name in dropped - used]:
        model.graph.initializer.remove(tensor)
