"""A QDQ file without what it holds twice: the same numbers, fewer bytes.

onnxruntime's quantizer writes zero points a channel for weights and biases that are all zero, and every layer
its own. On a small network they are a tenth of the file.
"""

from __future__ import annotations

from typing import Any

from qbench.quant.qdq_graph import OnnxGraph
from qbench.quant.qdq_model import restored


def compact(model: Any, *, float_biases: bool = False) -> Any:
    """Return the model, changed in place: equal tensors once, biases without their zero points of zero.

    float_biases: biases are stored as floats, without the scale that tells what their integers mean: four
    bytes a channel in the place of eight. onnxruntime 1.31 and openvino 2026.4.1 round them as they load the
    file, and answer the same to the bit; an engine that does not would compute such layers in float.
    """
    graph = OnnxGraph(model)
    for node in _bias_restorers(model, graph):
        if float_biases:
            _store(model, node, graph)
        elif len(node.input) > 2:
            del node.input[2:]
    _merge(model)
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
