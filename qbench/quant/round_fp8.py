"""Activations rounded to an 8-bit float inside an ONNX graph, with one scale a tensor."""

from __future__ import annotations

from typing import Any

from qbench.quant.float_grids import LARGEST, scale_of

OPSET, IR = 19, 9  # the first that have the types


def round_inputs(model: Any, nodes: list[Any], largest: dict[str, float], form: str) -> None:
    """Round the named activations where these nodes take them, in place; other users get them as they are.

    x / scale is clipped to the format's largest number, cast to it and back, and scaled again. The clip is
    part of the graph because engines differ on what a Cast makes of numbers beyond (openvino: NaN).

    The network must be in operator set OPSET at least.
    """
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    kind = {"e4m3": TensorProto.FLOAT8E4M3FN, "e5m2": TensorProto.FLOAT8E5M2}[form]
    limits = [f"{form}_low", f"{form}_high"]
    for name, limit in zip(limits, (-LARGEST[form], LARGEST[form]), strict=True):
        model.graph.initializer.append(numpy_helper.from_array(np.array(limit, "f4"), name))
    first: dict[str, Any] = {}
    for node in nodes:
        for position, name in enumerate(node.input):
            if name in largest:
                first.setdefault(name, node)
                node.input[position] = f"{name}_in_{form}"
    made: dict[str, list[Any]] = {}
    for name, user in first.items():
        scale = f"{name}_{form}_scale"
        stored = numpy_helper.from_array(scale_of(np.array(largest[name]), form), scale)
        model.graph.initializer.append(stored)
        steps = [f"{name}_in_{form}{part}" for part in ("_scaled", "_inside", "_code", "_back", "")]
        made[user.output[0]] = [
            *made.get(user.output[0], ()),
            helper.make_node("Div", [name, scale], steps[:1]),
            helper.make_node("Clip", [steps[0], *limits], steps[1:2]),
            helper.make_node("Cast", steps[1:2], steps[2:3], to=kind),
            helper.make_node("Cast", steps[2:3], steps[3:4], to=TensorProto.FLOAT),
            helper.make_node("Mul", [steps[3], scale], steps[4:]),
        ]
    order = [part for node in model.graph.node for part in (*made.get(node.output[0], ()), node)]
    copied = [type(node).FromString(node.SerializeToString()) for node in order]
    model.ir_version = max(model.ir_version, IR)
    del model.graph.node[:]
    model.graph.node.extend(copied)
