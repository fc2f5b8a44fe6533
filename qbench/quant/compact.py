"""A QDQ file without what it holds twice: the same numbers, fewer bytes.

onnxruntime's quantizer writes zero points a channel for weights and biases that are all zero, and every layer
its own. On a small network they are a tenth of the file.
"""

from __future__ import annotations

from typing import Any

from qbench.quant.qdq_graph import OnnxGraph
from qbench.quant.qdq_model import restored


def compact(model: Any, *, lean: bool = False) -> Any:
    """Return the model, changed in place: equal tensors once, biases without their zero points of zero.

    lean: biases are stored as floats, without the scale that tells what their integers mean, and what is
    inside has short names. onnxruntime 1.31 and openvino 2026.4.1 round such biases as they load it, and they
    answer the same to the bit; an engine that does not would compute these layers in float.
    """
    graph = OnnxGraph(model)
    for node in _bias_restorers(model, graph):
        if lean:
            _store(model, node, graph)
        elif len(node.input) > 2:
            del node.input[2:]
    _merge(model)
    if lean:
        _shorten(model)
    return model


def _bias_restorers(model: Any, graph: OnnxGraph) -> list[Any]:
    """Return the DequantizeLinear nodes of stored 32-bit integers with zero points of zero."""
    from onnx import TensorProto, numpy_helper

    found = []
    for node in model.graph.node:
        codes = graph.stored.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if codes is None or codes.data_type != TensorProto.INT32:
            continue
        zero = graph.stored.get(node.input[2]) if len(node.input) > 2 else None
        if zero is None or not numpy_helper.to_array(zero).any():
            found.append(node)
    return found


def _store(model: Any, node: Any, graph: OnnxGraph) -> None:
    import numpy as np
    from onnx import numpy_helper

    codes, scale = (numpy_helper.to_array(graph.stored[name]) for name in node.input[:2])
    axis = 0 if scale.size > 1 else None
    array = restored(codes.astype(np.int64), scale, np.zeros(scale.shape, np.int64), axis)
    model.graph.initializer.append(numpy_helper.from_array(array, node.output[0]))
    model.graph.node.remove(node)


def _merge(model: Any) -> None:
    """Keep one initializer of those that are equal, and none that nobody uses."""
    from onnx import TensorProto

    graph = OnnxGraph(model)
    outputs = {value.name for value in model.graph.output}
    first: dict[bytes, str] = {}
    instead: dict[str, str] = {}
    for tensor in model.graph.initializer:
        if tensor.name in outputs:
            continue
        nameless = TensorProto()
        nameless.CopyFrom(tensor)
        nameless.ClearField("name")
        name = first.setdefault(nameless.SerializeToString(deterministic=True), tensor.name)
        if name != tensor.name:
            instead[tensor.name] = name
    for node in graph.nodes:
        for place, name in enumerate(node.input):
            node.input[place] = instead.get(name, name)
    used = {name for node in graph.nodes for name in node.input} | outputs
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name not in used]:
        model.graph.initializer.remove(tensor)


def _shorten(model: Any) -> None:
    """Give everything inside a name of a few letters; inputs and outputs keep theirs.

    A network with branches or loops keeps all: its bodies may take names from outside.
    """
    import numpy as np

    if any(attribute.HasField("g") for node in model.graph.node for attribute in node.attribute):
        return
    kept = {value.name for value in (*model.graph.input, *model.graph.output)}
    short: dict[str, str] = {}

    def named(name: str) -> str:
        if not name or name in kept:
            return name
        return short.setdefault(name, f"_{np.base_repr(len(short), 36).lower()}")

    for node in model.graph.node:
        node.name = node.doc_string = ""
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = named(name)
    for tensor in model.graph.initializer:
        tensor.name = named(tensor.name)
    del model.graph.value_info[:]
