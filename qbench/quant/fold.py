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


def fold_affine(model: Any) -> int:
    """Fold, in place, what multiplies a Conv's channels by stored numbers or adds some; return how many were.

    A learned scale and shift behind a convolution are floats: its result would be rounded before them, and
    the channels, or the whole tensor, that they were about to bring into range lose their bits. Left alone is
    what is not one number a channel, and a convolution whose weight or result others take too.
    """
    folded = 0
    while _fold_one(model):
        folded += 1
    return folded


def _fold_one(model: Any) -> bool:
    graph = OnnxGraph(model)
    uses = [name for node in graph.nodes for name in node.input]
    uses += [output.name for output in model.graph.output]
    for node in model.graph.node:
        if node.op_type not in ("Mul", "Add") or len(node.input) != 2:
            continue
        for place in (0, 1):
            conv, name = graph.maker.get(node.input[place]), node.input[1 - place]
            if conv is None or conv.op_type != "Conv" or name not in graph.stored:
                continue
            parts = [part for part in conv.input[1:] if part]
            own = all(part in graph.stored and uses.count(part) == 1 for part in parts)
            numbers = _a_channel(graph, conv, name) if own and uses.count(conv.output[0]) == 1 else None
            if numbers is not None:
                _into(model, graph, conv, node, numbers)
                return True
    return False


def _a_channel(graph: OnnxGraph, conv: Any, name: str) -> np.ndarray | None:
    """Return the stored numbers as (channels out,), if they are one for all or one a channel."""
    import numpy as np
    from onnx import numpy_helper

    array, weight = numpy_helper.to_array(graph.stored[name]), graph.stored[conv.input[1]]
    channels, rank = weight.dims[0], len(weight.dims)
    shape = (1,) * (rank - array.ndim) + array.shape
    if array.size == 1 and array.ndim <= rank:
        return np.broadcast_to(array.reshape(-1).astype("f8"), (channels,))
    if shape == (1, channels, *(1,) * (rank - 2)):
        return array.reshape(-1).astype("f8")
    return None


def _into(model: Any, graph: OnnxGraph, conv: Any, node: Any, numbers: np.ndarray) -> None:
    from onnx import numpy_helper

    def array(name: str) -> np.ndarray:
        return numpy_helper.to_array(graph.stored[name])

    weight = array(conv.input[1])
    bias: Any = array(conv.input[2]).astype("f8") if len(conv.input) > 2 and conv.input[2] else 0.0 * numbers
    taken = [*conv.input[1:], *node.input]
    if node.op_type == "Mul":
        weight, bias = (
            weight * numbers.reshape(-1, *[1] * (weight.ndim - 1)).astype(weight.dtype),
            bias * numbers,
        )
    else:
        bias = bias + numbers
    names = [f"{node.output[0]}_folded_weight", f"{node.output[0]}_folded_bias"]
    for name, folded in zip(names, (weight, bias), strict=True):
        model.graph.initializer.append(numpy_helper.from_array(folded.astype(weight.dtype), name))
    del conv.input[1:]
    conv.input.extend(names)
    conv.output[0] = node.output[0]
    model.graph.node.remove(node)
    used = {name for other in OnnxGraph(model).nodes for name in other.input}
    for tensor in [t for t in model.graph.initializer if t.name in taken and t.name not in used]:
        model.graph.initializer.remove(tensor)
