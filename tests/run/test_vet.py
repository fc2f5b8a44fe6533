"""A file that no run could answer about is refused in one sentence, before anything is planned."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import typer
from onnx import TensorProto, helper, numpy_helper

from qbench.cli.options import app
from qbench.errors import BadFile, BadParameter, DoesNotFit
from qbench.run.choose import values_of
from qbench.run.own_model import own_suite
from qbench.run.requantized import requantized
from qbench.run.vet import vet
from qbench.strategies.requantize import TARGETS

ENGINES = ("onnxruntime", "openvino")
W = np.random.default_rng(0).standard_normal((16, 8)).astype("f4")
node = helper.make_node


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("QBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(nodes, stored, *, dtype=TensorProto.FLOAT, out=("n", 8), batch="n", domains=(), functions=()):
    value = helper.make_tensor_value_info
    inputs, outputs = [value("x", dtype, [batch, 16])], [value("y", dtype, out)]
    tensors = [numpy_helper.from_array(array, name) for name, array in stored.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    opsets = [helper.make_opsetid("", 18), *(helper.make_opsetid(name, 1) for name in domains)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10, functions=list(functions))
    onnx.save(model, "net.onnx")
    kind = helper.tensor_dtype_to_np_dtype(dtype)
    np.savez("x.npz", x=np.random.default_rng(1).standard_normal((40, 16)).astype(kind))


def refused(engines=ENGINES):
    with pytest.raises(DoesNotFit) as found:
        vet(own_suite("net.onnx", Path("x.npz")).suite.model[0], engines)
    return found.value


def accepted():
    vet(own_suite("net.onnx", Path("x.npz")).suite.model[0], ENGINES)


def quantized():
    codes = np.clip(np.round(W / 0.02), -127, 127).astype("i1")
    stored = {"q": codes, "s": np.array(0.02, "f4"), "z": np.array(0, "i1"), "t": np.array(0.05, "f4"),
              "u": np.array(128, "u1")}  # fmt: skip
    nodes = [
        node("QuantizeLinear", ["x", "t", "u"], ["xq"]), node("DequantizeLinear", ["xq", "t", "u"], ["xf"]),
        node("DequantizeLinear", ["q", "s", "z"], ["w"]), node("MatMul", ["xf", "w"], ["y"]),
    ]  # fmt: skip
    written(nodes, stored)


def test_a_float_network_is_taken():
    written([node("MatMul", ["x", "w"], ["y"])], {"w": W})
    accepted()


def test_one_that_is_quantized_already_is_offered_the_command_that_recodes_it(place):
    quantized()
    error = refused(engines=())  # no engine is asked
    assert error.problem == "net.onnx is quantized already: 1 of its 1 weights are stored in 8 bits"
    command = error.fix.partition("without it: ")[2].partition(" (")[0].split()
    assert command == ["qbench", "requantize", "net.onnx", "--to", "s8s8", "--out", "net-s8s8.onnx"]
    assert f"(other forms: {', '.join(name for name in TARGETS if name != 's8s8')})" in error.fix
    requantized(place / command[2], command[4], place / command[6])
    types = {tensor.name: tensor.data_type for tensor in onnx.load("net-s8s8.onnx").graph.initializer}
    assert TensorProto.UINT8 not in types.values()  # the activations are signed now
    (place / "net-s8s8.onnx").replace("net.onnx")
    assert "--to u8s8 --out" in refused(engines=()).fix  # never what it is already


def test_where_its_integers_cannot_be_recoded_the_command_is_not_offered():
    codes = np.clip(np.round(W / 0.02), -127, 127).astype("i1")
    stored = {"q": codes, "s": np.array(0.02, "f4"), "z": np.array(0, "i1")}
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["xq", "t", "u"]),
        node("MatMulInteger", ["xq", "q", "u", "z"], ["i"]), node("Cast", ["i"], ["f"], to=1),
        node("Mul", ["t", "s"], ["r"]), node("Mul", ["f", "r"], ["y"]),
    ]  # fmt: skip
    written(nodes, stored)
    error = refused(engines=())
    assert "is quantized already" in error.problem
    assert "requantize" not in error.fix


def test_one_in_16_bit_floats_is_told_how_to_cast():
    written([node("MatMul", ["x", "w"], ["y"])], {"w": W.astype("f2")}, dtype=TensorProto.FLOAT16)
    error = refused(engines=())
    assert "net.onnx is stored in 16-bit floats: 1 of its 1 weights are float16" in error.problem
    assert "model = model.float(); torch.onnx.export(" in error.fix


def test_an_operator_that_no_engine_has_is_told_by_name_and_domain():
    nodes = [node("MatMul", ["x", "w"], ["p"]), node("Swirl", ["p"], ["y"], domain="my.ops", name="swirl_1")]
    written(nodes, {"w": W}, domains=["my.ops"])
    error = refused()
    assert "has the operator Swirl of the domain 'my.ops' (node 'swirl_1')" in error.problem
    assert "onnxruntime, openvino" in error.problem


def test_a_function_of_the_file_itself_is_no_foreign_operator():
    body = [node("Relu", ["a"], ["b"])]
    function = helper.make_function("my.ops", "Swirl", ["a"], ["b"], body, [helper.make_opsetid("", 18)])
    nodes = [node("MatMul", ["x", "w"], ["p"]), node("Swirl", ["p"], ["y"], domain="my.ops")]
    written(nodes, {"w": W}, domains=["my.ops"], functions=[function])
    accepted()


def test_one_that_every_engine_refuses_has_the_reason_of_each():
    nodes = [node("MatMul", ["x", "w"], ["p"]), node("Det", ["p"], ["y"])]  # of no square
    written(nodes, {"w": W}, out=("n",))
    error = refused()
    assert error.problem.startswith("no engine here runs net.onnx: onnxruntime: ")
    assert "; openvino: " in error.problem
    assert "core.cpp" not in error.problem
    assert "ONNXRuntimeError" not in error.problem


@pytest.mark.parametrize("inside", [1, 4])
def test_a_batch_that_is_fixed_inside_is_told_with_its_number_and_the_fix_works(inside):
    nodes = [node("Reshape", ["x", "shape"], ["r"], name="view_3"), node("MatMul", ["r", "w"], ["y"])]
    written(nodes, {"w": W, "shape": np.array([inside, 16])})
    error = refused()
    assert f"declares the batch of 'x' free and fixes it to {inside} inside" in error.problem
    assert f"the Reshape 'view_3' writes [{inside}, 16]" in error.problem
    command = error.fix.partition("what holds: ")[2]
    exec(f"import onnx; {command}", {})
    shutil.move("fixed.onnx", "net.onnx")
    accepted()


def test_recoding_never_replaces_the_file_itself_and_takes_no_float_network(place):
    written([node("MatMul", ["x", "w"], ["y"])], {"w": W})
    with pytest.raises(BadParameter, match="is the model itself"):
        requantized(place / "net.onnx", "s8s8", place / "net.onnx")
    with pytest.raises(DoesNotFit, match="there are none"):
        requantized(place / "net.onnx", "s8s8", place / "other.onnx")
    with pytest.raises(BadFile):
        requantized(place / "gone.onnx", "s8s8", place / "other.onnx")
    assert not (place / "other.onnx").exists()


def test_the_forms_that_are_offered_are_those_that_there_are():
    """The refusal asks the strategy; the command's help is text, which must not import it."""
    assert values_of("requantize", "to") == TARGETS
    told = next(
        one.help for one in typer.main.get_command(app).commands["requantize"].params if one.name == "to"
    )
    assert told.rstrip(".").replace(" or ", ", ").split(", ") == list(TARGETS)
