"""A QDQ model with its integers simulated in float: the same rounding, and no integer kernel anywhere.

QuantizeLinear becomes a division, a rounding to even, an addition and a clip; DequantizeLinear a subtraction
and a product; stored codes are restored. What is left holds neither operator, so no engine can fuse it into
an integer kernel. Narrower codes than the file's types can say are a tighter clip.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from qbench.quant.qdq_graph import OnnxGraph, copied, outer
from qbench.quant.qdq_model import default_type, restored

ROUNDS = ("QuantizeLinear", "DequantizeLinear")
NARROW = {"INT4": (-8, 7), "UINT4": (0, 15)}


def float_form(model: Any, bits: Mapping[str, int] | None = None) -> Any:
    """Return a copy of a QDQ model in which nothing but float is computed; outputs differ by float rounding.

    `bits` narrows the unsigned codes of these activations, by tensor name.
    """
    copy = copied(model)
    graph, writer = OnnxGraph(copy), _Writer(copy)
    nodes = []
    for node in copy.graph.node:
        if node.op_type not in ROUNDS:
            nodes.append(node)
        elif graph.known.issuperset(node.output):
            writer.stored(node.output[0], _value(node.output[0], graph))
        else:
            nodes += _steps(node, graph, writer, (bits or {}).get(node.input[0]))
    nodes = _live(nodes, copy)
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    del copy.graph.value_info[:]  # codes are floats now
    used = {name for node in nodes for name in (*node.input, *outer(node))}
    used |= {value.name for value in copy.graph.output}
    for tensor in [tensor for tensor in copy.graph.initializer if tensor.name not in used]:
        copy.graph.initializer.remove(tensor)
    return copy


def _live(nodes: list[Any], model: Any) -> list[Any]:
    """Leave out nodes that nobody uses any more: those that restored codes."""
    used = {value.name for value in model.graph.output}
    kept = []
    for node in reversed(nodes):
        if used.intersection(node.output):
            kept.append(node)
            used.update(node.input)
            used.update(outer(node))
    return kept[::-1]


class _Writer:
    def __init__(self, model: Any) -> None:
        self.graph = model.graph

    def stored(self, name: str, array: np.ndarray) -> str:
        from onnx import numpy_helper

        self.graph.initializer.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name


def _value(name: str, graph: OnnxGraph) -> np.ndarray:
    """Return a known value behind QuantizeLinear, DequantizeLinear, Cast and whatever moves codes about."""
    from onnx import numpy_helper

    if name in graph.stored:
        return np.asarray(numpy_helper.to_array(graph.stored[name]))
    node = graph.maker[name]
    first = _value(node.input[0], graph)
    if node.op_type == "Cast":  # between integers
        return first.astype(np.int32)
    if node.op_type not in ROUNDS:
        return _evaluated(node, graph)
    scale, zero, _, _, axis = _facts(node, graph)
    if node.op_type == "DequantizeLinear":
        return restored(first.astype(np.int64), scale, zero, axis if scale.size > 1 else None)
    low, high = _limits(node, graph)
    shape = _along(scale, axis, first.ndim)
    return np.clip(np.rint(first / scale.reshape(shape)) + zero.reshape(shape), low, high).astype(np.int32)


def _evaluated(node: Any, graph: OnnxGraph) -> np.ndarray:
    """Return what a Transpose, Reshape or the like makes of known values, by the standard's evaluator."""
    from onnx.reference import ReferenceEvaluator

    one: Any = ReferenceEvaluator(node)
    given = {name: _value(name, graph) for name in node.input if name}
    return np.asarray(one.run(None, given)[0])


def _facts(node: Any, graph: OnnxGraph) -> tuple[np.ndarray, np.ndarray, str, str, int]:
    from onnx import numpy_helper

    scale = np.asarray(numpy_helper.to_array(graph.stored[node.input[1]]))
    has_zero = len(node.input) > 2 and bool(node.input[2])
    zero = numpy_helper.to_array(graph.stored[node.input[2]]) if has_zero else np.zeros(scale.shape, np.uint8)
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    return scale, np.asarray(zero).astype(np.int64), node.input[1], node.output[0], axis


def _limits(node: Any, graph: OnnxGraph) -> tuple[int, int]:
    from onnx import TensorProto, helper

    if len(node.input) < 3 or not node.input[2]:
        said = np.iinfo(default_type(node))
        return int(said.min), int(said.max)
    kind = graph.stored[node.input[2]].data_type
    narrow = NARROW.get(TensorProto.DataType.Name(kind))
    if narrow:
        return narrow
    limits = np.iinfo(helper.tensor_dtype_to_np_dtype(kind))
    return int(limits.min), int(limits.max)


def _along(scale: np.ndarray, axis: int, ndim: int) -> list[int]:
    if scale.size == 1:
        return [1] * ndim
    shape = [1] * ndim
    shape[axis] = -1
    return shape


def _steps(node: Any, graph: OnnxGraph, writer: _Writer, bits: int | None) -> Iterator[Any]:
    """Yield the float operators in the place of one QuantizeLinear or DequantizeLinear of an activation."""
    from onnx import helper

    scale, zero, _, out, axis = _facts(node, graph)
    if scale.size > 1:
        rank = len(graph.shapes[node.input[0]])
        scale, zero = (array.reshape(_along(scale, axis, rank)) for array in (scale, zero))
    else:
        scale, zero = scale.reshape(()), zero.reshape(())
    step = writer.stored(f"{out}_step", scale.astype("f4"))
    offset = writer.stored(f"{out}_offset", zero.astype("f4"))
    first = node.input[0]
    if node.op_type == "DequantizeLinear":
        yield helper.make_node("Sub", [first, offset], [f"{out}_centred"], f"{out}_sub")
        yield helper.make_node("Mul", [f"{out}_centred", step], [out], f"{out}_mul")
        return
    low, high = _limits(node, graph)
    if bits is not None:
        low, high = 0, 2**bits - 1
    limits = [
        writer.stored(f"{out}_{side}", np.array(limit, "f4"))
        for side, limit in (("low", low), ("high", high))
    ]
    yield helper.make_node("Div", [first, step], [f"{out}_scaled"], f"{out}_div")
    yield helper.make_node("Round", [f"{out}_scaled"], [f"{out}_rounded"], f"{out}_round")
    yield helper.make_node("Add", [f"{out}_rounded", offset], [f"{out}_placed"], f"{out}_add")
    yield helper.make_node("Clip", [f"{out}_placed", *limits], [out], f"{out}_clip")
