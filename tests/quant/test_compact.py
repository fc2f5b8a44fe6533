"""What a QDQ file holds twice goes; its answers stay to the bit."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

from qbench.quant.compact import compact
from qbench.quant.onnx_layers import read_network
from qbench.quant.ptq import Ptq
from qbench.quant.recipe import Recipe


@pytest.fixture(scope="module")
def qdq(in_format, images):
    """Return the small network in int8, as onnxruntime's quantizer lays it out."""
    network = read_network(in_format("onnx").path, ("Conv", "Gemm"), "test")
    return Ptq(network, lambda: [{"images": images}], "test").quantized(Recipe()).model


def copied(model):
    return onnx.ModelProto.FromString(model.SerializeToString())


def answers(model, images):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})[0]


def biases(model):
    return [tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.INT32]


@pytest.mark.parametrize("lean", [False, True])
def test_a_smaller_file_answers_the_same(qdq, images, lean):
    small = compact(copied(qdq), lean=lean)
    onnx.checker.check_model(small, full_check=True)
    assert small.ByteSize() < qdq.ByteSize()
    # to the bit; but a bias in float is added to the last product in float
    np.testing.assert_allclose(answers(small, images), answers(qdq, images), rtol=0, atol=1e-6 if lean else 0)


def test_lean_take_fewer_bytes_and_no_integers(qdq):
    plain, small = compact(copied(qdq)), compact(copied(qdq), lean=True)
    assert biases(plain)
    assert not biases(small)
    assert small.ByteSize() < plain.ByteSize()


def test_equal_tensors_stand_once_and_different_ones_stay_apart():
    make, node = numpy_helper.from_array, onnx.helper.make_node
    same, other = np.ones(3, "f4"), np.array([1, 1, 2], "f4")
    graph = onnx.helper.make_graph(
        [node("Add", ["x", "a"], ["y"]), node("Add", ["y", "b"], ["z"]), node("Add", ["z", "c"], ["out"])],
        "three sums",
        [onnx.helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])],
        [onnx.helper.make_tensor_value_info("out", TensorProto.FLOAT, [3])],
        [make(same, "a"), make(same, "b"), make(other, "c"), make(same, "nobody's")],
    )
    small = compact(onnx.helper.make_model(graph))
    assert [tensor.name for tensor in small.graph.initializer] == ["a", "c"]
    assert [list(one.input) for one in small.graph.node] == [["x", "a"], ["y", "a"], ["z", "c"]]


def test_types_that_share_their_bytes_are_not_equal():
    make, node = numpy_helper.from_array, onnx.helper.make_node
    graph = onnx.helper.make_graph(
        [node("DequantizeLinear", ["x", "s", "z"], ["y"]), node("Gather", ["y", "i"], ["out"], axis=0)],
        "an index and a zero point",
        [onnx.helper.make_tensor_value_info("x", TensorProto.INT32, [3])],
        [onnx.helper.make_tensor_value_info("out", TensorProto.FLOAT, [])],
        [make(np.float32(1), "s"), make(np.int32(0), "z"), make(np.int64(0), "i")],
    )
    assert len(compact(onnx.helper.make_model(graph)).graph.initializer) == 3


@pytest.mark.parametrize("lean", [False, True])
def test_a_zero_point_of_a_bias_stays_where_it_is_not_zero(qdq, lean):
    other = copied(qdq)
    names = {tensor.name for tensor in biases(other)}
    restorer = next(node for node in other.graph.node if node.input[0] in names)
    zero = next(tensor for tensor in other.graph.initializer if tensor.name == restorer.input[2])
    odd = np.arange(np.prod(zero.dims), dtype="i4")
    zero.CopyFrom(numpy_helper.from_array(odd, zero.name))
    small = compact(other, lean=lean)
    (kept,) = [node for node in small.graph.node if node.output == restorer.output]
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in small.graph.initializer}
    np.testing.assert_array_equal(stored[kept.input[2]], odd)
