"""`operators` and `keep_float` of every quantizer on one network: what is named is in float, the rest is not.

The network: a convolution, a Relu, a second convolution, an addition, and two matrix products.
"""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from qbench.cases import Float
from qbench.errors import DoesNotFit
from qbench.formats.artifact import Artifact, TensorSpec
from qbench.formats.edges import EDGES
from qbench.quant.qdq_graph import onnx_weights
from qbench.strategies.base import STRATEGIES, Calibration, Selection

DRAW = np.random.default_rng(5)
X = DRAW.standard_normal((48, 4, 5, 5)).astype("f4")
LAYERS = {"w1": (8, 4, 3, 3), "w2": (8, 8, 3, 3), "w3": (200, 32), "w4": (32, 32)}
QUANTIZERS = (
    "static_int8",
    "ptq",
    "adaptive",
    "dynamic_int8",
    "nncf_int8",
    "nncf_accuracy_control",
    "weight_only",
)
PLAIN = {
    "weight_only": {"group_size": 32},
    "adaptive": {"limit": 0.3, "float_layers": False},
    "nncf_accuracy_control": {"max_drop": 0.5},
}
PRODUCTS_ALONE = ("dynamic_int8", "weight_only")  # unless they are told to


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], "first", pads=[1] * 4),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], "second", pads=[1] * 4),
        helper.make_node("Add", ["r1", "c2"], ["s"], "sum"),
        helper.make_node("Flatten", ["s"], ["f"]),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["g"], "third"),
        helper.make_node("Relu", ["g"], ["r3"]),
        helper.make_node("MatMul", ["r3", "w4"], ["y"], "fourth"),
    ]
    stored = {
        name: DRAW.standard_normal(shape) / np.sqrt(np.prod(shape) / 8) for name, shape in LAYERS.items()
    }
    stored |= {"b1": DRAW.standard_normal(8) / 4, "b3": DRAW.standard_normal(32) / 4}
    tensors = [numpy_helper.from_array(array.astype("f4"), name) for name, array in stored.items()]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4, 5, 5])]
    made = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 32])]
    graph = helper.make_graph(nodes, "g", given, made, tensors)
    path = tmp_path_factory.mktemp("float") / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    specs = (TensorSpec("x", "float32", (None, 4, 5, 5)),), (TensorSpec("y", "float32", (None, 32)),)
    return Artifact("onnx", Float("fp32"), *specs, path=path)


def data():
    return Calibration("forty-eight", {"x": X}, selection=Selection("the same", {"x": X}))


def answers(path):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": X})[0]


def sqnr_db(wanted, found):
    return 10 * np.log10((wanted**2).sum() / ((wanted - found) ** 2).sum())


def narrow(path):
    """Return the shapes of the layers whose weights are stored in few bits."""
    shapes = {tuple(sorted(shape)): name for name, shape in LAYERS.items()}
    found = set()
    for weight in onnx_weights(path):
        if weight.bits <= 8 and weight.multiplied:
            by_size = {int(np.prod(shape)): name for shape, name in shapes.items()}
            found.add(min(by_size.items(), key=lambda pair: abs(pair[0] - weight.elements))[1])
    return found


@pytest.mark.parametrize("name", QUANTIZERS)
def test_a_layer_by_name_stays_in_float_and_the_answers_stay(name, source, tmp_path):
    strategy = STRATEGIES[name](keep_float="fourth", **PLAIN.get(name, {}))
    product = strategy.apply(source, data(), tmp_path)
    expected = {"w3"} if name in PRODUCTS_ALONE else {"w1", "w2", "w3"}
    assert narrow(product.path) == expected
    assert ("left in float", "1: fourth (keep_float names them)") in [
        (n.what, n.found) for n in product.notes
    ]
    assert sqnr_db(answers(source.path), answers(product.path)) > 18
    with pytest.raises(DoesNotFit, match="keep_float names 'fifth'"):
        STRATEGIES[name](keep_float="fifth", **PLAIN.get(name, {})).apply(source, data(), tmp_path)


@pytest.mark.parametrize("name", QUANTIZERS)
def test_operators_that_are_named_are_the_only_ones_quantized(name, source, tmp_path):
    strategy = STRATEGIES[name](operators="MatMul", **PLAIN.get(name, {}))
    product = strategy.apply(source, data(), tmp_path)
    assert narrow(product.path) == {"w4"}
    graph = onnx.load(product.path).graph
    rounded = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    assert len(rounded) <= 2  # what the product takes and gives: nothing at the convolutions or the sum
    assert sqnr_db(answers(source.path), answers(product.path)) > 18


def test_convolutions_are_dynamic_where_they_are_asked_for(source, tmp_path):
    product = STRATEGIES["dynamic_int8"](operators="Conv,MatMul,Gemm").apply(source, data(), tmp_path)
    assert narrow(product.path) == {"w1", "w2", "w3", "w4"}
    plain = STRATEGIES["dynamic_int8"]().apply(source, data(), tmp_path)
    assert narrow(plain.path) == {"w3", "w4"}


@pytest.mark.parametrize("name", ["nncf_int8", "nncf_accuracy_control", "weight_only"])
def test_an_ir_keeps_in_float_what_the_onnx_file_would(name, source, tmp_path):
    from qbench.quant.ir_graph import ir_weights

    edge = next(edge for edge in EDGES if edge.gives == "openvino")
    (tmp_path / "ir").mkdir()
    ir = replace(edge.convert(source, tmp_path / "ir"), inputs=source.inputs)
    (tmp_path / "out").mkdir()

    how = {} if name == "weight_only" else PLAIN.get(name, {})

    def bits(**parameters):
        strategy = STRATEGIES[name](**how, **parameters)
        product = strategy.apply(ir, data(), tmp_path / "out")
        sizes = {int(np.prod(shape)): one for one, shape in LAYERS.items()}
        return {sizes[w.elements] for w in ir_weights(product.path) if w.multiplied and w.bits == 8}

    assert bits() == {"w1", "w2", "w3", "w4"}
    assert bits(keep_float="c2,y") == {"w1", "w3"}
    assert bits(operators="Conv") == {"w1", "w2"}
    assert bits(operators="Gemm") == {"w3", "w4"}  # one operator there
