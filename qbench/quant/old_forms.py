"""Old forms of operators that onnx's version converter carries over as if they meant the same (onnx 1.23.2).

Hardmax below 13 flattens its input to a matrix, as Softmax does, for which there is an adapter. Resize of 10,
and Upsample before it, take `index / scale` for a place, and the next lower one for the nearest; from 11 on
both are attributes, whose defaults say something else. Each was held to onnxruntime's answers for the old
form (tests/quant/test_opset.py).
"""

from __future__ import annotations

from typing import Any

from qbench.errors import DoesNotFit
from qbench.quant.graphs import graphs_in

FLATTENS_BELOW = 13
PLACES_FROM = 11
SHRINKS_FROM = 10  # Upsample, before it, never does
HARDMAX_AXIS = 1  # where the node does not say: the specification's default below 13


def before_raising(model: Any, before: int, goal: int) -> Any:
    """Return the network with its flattening Hardmax written out; itself, where there is none."""
    import onnx

    old = before < FLATTENS_BELOW <= goal
    if not old or not any(n.op_type == "Hardmax" for g in graphs_in(model.graph) for n in g.node):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for graph in graphs_in(copy.graph):
        nodes = [part for node in graph.node for part in _flattened(node)]
        del graph.node[:]
        graph.node.extend(nodes)
    return copy


def _flattened(node: Any) -> list[Any]:
    from onnx import helper

    if node.op_type != "Hardmax":
        return [node]
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), HARDMAX_AXIS)
    shape, rows, best = (f"{node.output[0]}/{part}" for part in ("shape", "rows", "best"))
    return [
        helper.make_node("Shape", [node.input[0]], [shape]),
        helper.make_node("Flatten", [node.input[0]], [rows], axis=axis),
        helper.make_node("Hardmax", [rows], [best], node.name, axis=1),
        helper.make_node("Reshape", [best, shape], [node.output[0]]),
    ]


def after_raising(model: Any, before: int, goal: int) -> None:
    """Say, in place, what a Resize from before 11 means by a place and by the nearest.

    Raises:
        DoesNotFit: it may make something smaller by taking the nearest, for which there is no newer word.
    """
    from onnx import helper, numpy_helper

    if not before < PLACES_FROM <= goal:
        return
    for graph in graphs_in(model.graph):
        stored = {tensor.name: tensor for tensor in graph.initializer}
        made = {name: node for node in graph.node for name in node.output}
        for node in [node for node in graph.node if node.op_type == "Resize"]:
            mode = next((a.s.decode() for a in node.attribute if a.name == "mode"), "nearest")
            scales = _known(node.input[2], stored, made, numpy_helper) if len(node.input) > 2 else None
            shrinks = before >= SHRINKS_FROM and (scales is None or (scales < 1).any())
            if mode == "nearest" and shrinks:
                raise DoesNotFit(
                    f"Resize at node {node.name or node.output[0]!r} takes the nearest value, and may make "
                    "something smaller: newer operators have no word for how it did",
                    fix="export it again with a newer opset_version",
                )
            for name in ("coordinate_transformation_mode", "nearest_mode"):
                for attribute in [a for a in node.attribute if a.name == name]:
                    node.attribute.remove(attribute)
            node.attribute.append(helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
            if mode == "nearest":
                node.attribute.append(helper.make_attribute("nearest_mode", "floor"))


def _known(name: str, stored: dict[str, Any], made: dict[str, Any], numpy_helper: Any) -> Any:
    """Return a stored array, or that of a Constant node; None where it is computed."""
    if name in stored:
        return numpy_helper.to_array(stored[name])
    import numpy as np

    node = made.get(name)
    if node is None or node.op_type != "Constant":
        return None
    value = next((a for a in node.attribute if a.name in ("value", "value_floats")), None)
    if value is None:
        return None
    return numpy_helper.to_array(value.t) if value.name == "value" else np.array(value.floats)
