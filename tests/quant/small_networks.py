"""Networks of a few nodes, made by hand, and what they answer."""

from types import SimpleNamespace

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from qbench.quant.ptq import Ptq

node = helper.make_node


def some(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype("f4")


def network(nodes, shape, stored, outputs=("y",), batch="n"):
    """Return a model that reads x, (batch, *shape)."""
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, *shape])]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in stored.items()]
    graph = helper.make_graph(list(nodes), "small", given, ends, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def said(model, x, *, optimized=False, name=None):
    """Return what the engine answers; as written, or with the kernels that it puts in the place of nodes."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run([name] if name else None, {"x": x})[0]


def convolutions(batch="n"):
    """Return three layers with everything usual between them: Relu, groups, a pool, a flattening."""
    stored = {
        "w1": some(6, 3, 3, 3) / 3, "b1": some(6), "w2": some(6, 3, 3, 3, seed=1) / 3, "b2": some(6, seed=1),
        "w3": some(5, 54) / 4, "b3": some(5),
    }  # fmt: skip
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1] * 4),
        node("Relu", ["c1"], ["r1"]),
        node("Conv", ["r1", "w2", "b2"], ["c2"], group=2, pads=[1] * 4),
        node("Relu", ["c2"], ["r2"]),
        node("MaxPool", ["r2"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["p"], ["f"]),
        node("Gemm", ["f", "w3", "b3"], ["y"], transB=1),
    ]
    return network(nodes, (3, 6, 6), stored, batch=batch)


def products(wide=8, deep=2):
    """Return matrix products with a Relu between: h0 and x in, `deep` layers, y out."""
    nodes, stored, last = [], {}, "x"
    for number in range(deep):
        stored[f"w{number}"] = some(wide, wide, seed=number) / np.float32(np.sqrt(wide))
        stored[f"b{number}"] = some(wide, seed=number)
        end = number == deep - 1
        made = "y" if end else f"h{number}"
        nodes.append(node("Gemm", [last, f"w{number}", f"b{number}"], [made]))
        if not end:
            nodes.append(node("Relu", [made], [f"r{number}"]))
        last = f"r{number}"
    return network(nodes, (wide,), stored)


def damaged(which, deep=3):
    """Return products of which one has a weight far out in every channel: its other weights lose their bits.

    The input that it meets is never there, so that the float network answers as before.
    """
    model = products(deep=deep)
    for tensor in model.graph.initializer:
        if tensor.name == f"w{which}":
            array = numpy_helper.to_array(tensor).copy()
            array[0] = 200
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    if which:
        for tensor in model.graph.initializer:
            if tensor.name in (f"w{which - 1}", f"b{which - 1}"):
                array = numpy_helper.to_array(tensor).copy()
                array[..., 0] = -np.abs(array[..., 0]) if tensor.name[0] == "b" else 0
                tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return model


def ready(model, x, batch=16):
    """Return the network ready to be quantized on these examples, and its answers in float."""
    wanted = said(model, x)
    parts = [{"x": x[start : start + batch]} for start in range(0, len(x), batch)]
    return SimpleNamespace(ptq=Ptq(model, lambda: parts, "a test"), wanted=wanted, x=x)


def initializers(model):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def relative(found, wanted):
    return float(np.sqrt(((found - wanted) ** 2).mean() / (wanted**2).mean()))
