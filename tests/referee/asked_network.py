"""A network in a file, and what it is asked."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

RNG = np.random.default_rng(0)
WEIGHTS = [RNG.standard_normal((4, 4)).astype("f4") for _ in range(2)]
X = RNG.standard_normal((3, 4)).astype("f4")


def saved(folder, nodes, inputs, outputs, stored=(), opset=17, ir_version=8):
    """Write a network; inputs and outputs are (name, shape) or (name, shape, type)."""

    def value(name, shape, kind=TensorProto.FLOAT):
        return helper.make_tensor_value_info(name, kind, list(shape))

    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in dict(stored).items()]
    graph = helper.make_graph(nodes, "g", [value(*i) for i in inputs], [value(*o) for o in outputs], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"
