"""Forms of layers that quantizers stumbled on: each is quantized, or left in float, to answer as before."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from qbench.cases import Float
from qbench.errors import DoesNotFit
from qbench.formats.artifact import Artifact, TensorSpec
from qbench.quant.opset import opset_of
from qbench.quant.qdq_graph import onnx_weights
from qbench.strategies.base import STRATEGIES, Calibration, Selection

DRAW = np.random.default_rng(11)
QDQ = [("static_int8", {}), ("ptq", {}), ("ptq", {"weight_bits": 4}), ("adaptive", {"limit": 0.3})]
NNCF = [("nncf_int8", {})]


def weight(*shape):
    return (DRAW.standard_normal(shape) / np.sqrt(np.prod(shape[1:]) or 1)).astype("f4")


def source(folder, nodes, shape, stored, opset=17, outputs=("y",)):
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])]
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in stored.items()]
    graph = helper.make_graph(nodes, "g", given, made, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, folder / "float.onnx")
    specs = (TensorSpec("x", "float32", (None, *shape)),)
    return Artifact("onnx", Float("fp32"), specs, specs, path=folder / "float.onnx")


def answers(path, x):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def on_openvino(path, x):
    import openvino

    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled({"x": x})[0]


def sqnr_db(wanted, found):
    return 10 * np.log10((wanted**2).sum() / ((wanted - found) ** 2).sum())


def quantized(name, parameters, artifact, x, folder):
    data = Calibration("drawn", {"x": x}, selection=Selection("drawn", {"x": x}))
    (folder / "out").mkdir(exist_ok=True)
    return STRATEGIES[name](**parameters).apply(artifact, data, folder / "out")


def stored_bits(path):
    return sorted(weight.bits for weight in onnx_weights(path) if weight.multiplied)


def least_db(name, parameters):
    """Return what is left at least: nncf clips ranges to the mean of every example's greatest value."""
    return 18 if name == "nncf_int8" else 14 if parameters else 28


@pytest.mark.parametrize(("name", "parameters"), [*QDQ, *NNCF])
def test_a_grouped_transposed_convolution_with_a_bias(name, parameters, tmp_path):
    stored = {"w": weight(8, 8, 3, 3), "v": weight(8, 4, 4, 4), "b": weight(16)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        helper.make_node("ConvTranspose", ["c", "v", "b"], ["y"], group=4, strides=[2, 2]),
    ]
    x = DRAW.standard_normal((32, 8, 6, 6)).astype("f4")
    artifact = source(tmp_path, nodes, (8, 6, 6), stored)
    product = quantized(name, parameters, artifact, x, tmp_path)
    wanted = answers(artifact.path, x)
    assert max(stored_bits(product.path)) <= 8
    for run in (answers, on_openvino):
        assert sqnr_db(wanted, run(product.path, x)) > least_db(name, parameters)


@pytest.mark.parametrize(("name", "parameters"), [*QDQ, *NNCF, ("dynamic_int8", {})])
def test_stacked_matrices_of_three_and_four_dimensions(name, parameters, tmp_path):
    stored = {"u": weight(1, 8, 12), "w": weight(1, 3, 12, 6), "one": np.array([1])}
    nodes = [
        helper.make_node("MatMul", ["x", "u"], ["a"]),
        helper.make_node("Unsqueeze", ["a", "one"], ["b"]),
        helper.make_node("MatMul", ["b", "w"], ["y"]),
    ]
    x = DRAW.standard_normal((32, 5, 8)).astype("f4")
    artifact = source(tmp_path, nodes, (5, 8), stored)
    product = quantized(name, parameters, artifact, x, tmp_path)
    assert max(stored_bits(product.path)) <= 8
    for run in (answers, on_openvino):
        assert sqnr_db(answers(artifact.path, x), run(product.path, x)) > least_db(name, parameters)


@pytest.mark.parametrize(("name", "parameters"), [*QDQ, *NNCF])
@pytest.mark.parametrize("constant", ["scalar", "pad"])
def test_a_scalar_stays_in_float_and_openvino_loads_the_file(name, parameters, constant, tmp_path):
    stored = {"w": weight(6, 4, 3, 3), "v": weight(5, 6, 3, 3), "k": np.float32(0.7)}
    between = helper.make_node("Mul", ["k", "c"], ["m"])
    if constant == "pad":
        stored["pads"] = np.array([0, 0, 1, 1, 0, 0, 1, 1])
        between = helper.make_node("Pad", ["c", "pads", "k"], ["m"])
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]), between, helper.make_node("Conv", ["m", "v"], ["y"]),
    ]  # fmt: skip
    x = DRAW.standard_normal((32, 4, 8, 8)).astype("f4")
    artifact = source(tmp_path, nodes, (4, 8, 8), stored)
    product = quantized(name, parameters, artifact, x, tmp_path)
    assert len(stored_bits(product.path)) == 2
    for run in (answers, on_openvino):
        assert sqnr_db(answers(artifact.path, x), run(product.path, x)) > least_db(name, parameters)


@pytest.mark.parametrize(("name", "parameters"), [("ptq", {"weight_bits": 4}), ("adaptive", {"limit": 0.2})])
def test_four_bits_raise_the_operator_set_by_converting(name, parameters, tmp_path):
    """ReduceMean has axes as an attribute below 18 and as an input from 18 on: another number breaks it."""
    stored = {"w": weight(8, 4, 3, 3), "v": weight(8, 5)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        helper.make_node("ReduceMean", ["c"], ["r"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["r", "v"], ["y"]),
    ]
    x = DRAW.standard_normal((32, 4, 6, 6)).astype("f4")
    artifact = source(tmp_path, nodes, (4, 6, 6), stored, opset=11)
    product = quantized(name, parameters, artifact, x, tmp_path)
    model = onnx.load(product.path)
    assert opset_of(model) >= 21
    assert not next(n for n in model.graph.node if n.op_type == "ReduceMean").attribute[0].ints
    assert 4 in stored_bits(product.path)
    assert sqnr_db(answers(artifact.path, x), answers(product.path, x)) > 12


def test_sixteen_bit_activations_raise_it_too(tmp_path):
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["r"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["r", "w"], ["y"]),
    ]
    x = DRAW.standard_normal((32, 3, 8)).astype("f4")
    artifact = source(tmp_path, nodes, (3, 8), {"w": weight(8, 5)})
    product = quantized("static_int8", {"activation_bits": 16}, artifact, x, tmp_path)
    assert opset_of(onnx.load(product.path)) >= 21
    assert sqnr_db(answers(artifact.path, x), answers(product.path, x)) > 35


@pytest.mark.parametrize(
    "name", ["static_int8", "ptq", "dynamic_int8", "adaptive", "nncf_int8", "weight_only", "bf16"]
)
def test_a_file_that_is_quantized_already_is_refused_by_name(name, tmp_path):
    x = DRAW.standard_normal((16, 40)).astype("f4")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("MatMul", ["a", "v"], ["y"])]
    artifact = source(tmp_path, nodes, (40,), {"w": weight(40, 40), "v": weight(40, 8)})
    first = quantized("static_int8", {}, artifact, x, tmp_path)
    again = Artifact("onnx", Float("fp32"), artifact.inputs, artifact.outputs, path=first.path)
    with pytest.raises(DoesNotFit, match=r"(?s)quantized already \(found: .*DequantizeLinear.*requantize"):
        quantized(name, {}, again, x, tmp_path)


def test_attention_of_the_format_itself_is_left_in_float(tmp_path):
    """Opset 23 has an Attention; onnxruntime's own one of that name takes other inputs."""
    stored = {name: weight(8, 8) for name in ("q", "k", "v")} | {"shape": np.array([0, 0, 2, 4])}
    nodes = [helper.make_node("MatMul", ["x", name], [f"p{name}"]) for name in ("q", "k", "v")]
    nodes += [helper.make_node("Attention", ["pq", "pk", "pv"], ["y"], q_num_heads=2, kv_num_heads=2)]
    x = DRAW.standard_normal((16, 6, 8)).astype("f4")
    artifact = source(tmp_path, nodes, (6, 8), stored, opset=23)
    product = quantized("dynamic_int8", {}, artifact, x, tmp_path)
    assert stored_bits(product.path) == [8, 8, 8]
    assert "Attention" in {node.op_type for node in onnx.load(product.path).graph.node}
    assert any("of ONNX itself" in note.found for note in product.notes)
    assert sqnr_db(answers(artifact.path, x), answers(product.path, x)) > 25


@pytest.mark.parametrize(("name", "parameters"), QDQ)
def test_a_branch_that_takes_what_a_layer_gave(name, parameters, tmp_path):
    branches = {}
    for word, sign in (("then", "Neg"), ("else", "Abs")):
        inner = [
            helper.make_node("MatMul", ["r", "v"], [f"{word}_p"], f"{word}_product"),
            helper.make_node(sign, [f"{word}_p"], [f"{word}_y"]),
        ]
        made = [helper.make_tensor_value_info(f"{word}_y", TensorProto.FLOAT, None)]
        branches[f"{word}_branch"] = helper.make_graph(inner, word, [], made)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("If", ["yes"], ["y"], **branches),
    ]
    x = DRAW.standard_normal((32, 8)).astype("f4")
    stored = {"w": weight(8, 8), "v": weight(8, 4), "yes": np.array(True)}
    artifact = source(tmp_path, nodes, (8,), stored)
    product = quantized(name, parameters, artifact, x, tmp_path)
    told = {note.what: note.found for note in product.notes}
    assert told["left in float"] == "2: else_product, then_product (inside of an If or a Loop)"
    assert sqnr_db(answers(artifact.path, x), answers(product.path, x)) > least_db(name, parameters)


def test_a_branch_that_calibration_never_reaches_is_named(tmp_path):
    from qbench.formats.edges import EDGES

    branches = {}
    for word in ("then", "else"):
        inner = [helper.make_node("MatMul", ["a", "v"], [f"{word}_y"], f"{word}_product")]
        made = [helper.make_tensor_value_info(f"{word}_y", TensorProto.FLOAT, ["n", 4])]
        branches[f"{word}_branch"] = helper.make_graph(inner, word, [], made)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Greater", ["most", "far"], ["yes"]),
        helper.make_node("If", ["yes"], ["y"], **branches),
    ]
    x = DRAW.standard_normal((8, 8)).astype("f4")
    stored = {"w": weight(8, 8), "v": weight(8, 4), "far": np.float32(99)}
    artifact = source(tmp_path, nodes, (8,), stored)
    (tmp_path / "ir").mkdir()
    ir = next(edge for edge in EDGES if edge.gives == "openvino").convert(artifact, tmp_path / "ir")
    with pytest.raises(
        DoesNotFit, match=r"(?s)branches of an If.*none of 8 calibration examples.*reach both"
    ):
        quantized("nncf_int8", {}, ir, x, tmp_path)
