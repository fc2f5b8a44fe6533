"""A QDQ model opened for change: what is read from it, and what a change leaves alone."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from qbench.errors import DoesNotFit
from qbench.quant.qdq_model import QdqModel, restored


@pytest.fixture
def opened(qdq):
    """Return a function: the small file opened, after a change to how it is written."""

    def give(change=lambda nodes, arrays: None):
        return QdqModel(onnx.load(qdq(change).path))

    return give


def said(model, x):
    return ReferenceEvaluator(model.model).run(None, {"x": np.array(x, "f4")})[0].tolist()


def test_what_is_read(opened):
    model = opened()
    (weight,) = model.weights
    assert (weight.node.op_type, weight.position, weight.stored, weight.axis) == ("Gemm", 1, "w", 0)
    assert weight.restored.tolist() == [[1, -2], [1.5, 2]]
    assert [(a.tensor, float(a.scale), int(a.zero_point)) for a in model.activations] == [
        ("x", 0.5, 128), ("g", 0.25, 0)
    ]  # fmt: skip
    assert model.bias(weight.node).tolist() == [1, 1]
    assert model.input_scale(weight.node) == 0.5
    assert said(model, [[2, 0.5]]) == [[2, 5]]  # 2 - 1 + 1 and 3 + 1 + 1


def test_codes_restored_along_an_axis():
    codes, two = np.array([[1, 2], [3, 4]]), np.array([1, 2])
    assert restored(codes, np.array([0.5, 2], "f4"), two, 0).tolist() == [[0, 0.5], [2, 4]]
    assert restored(codes, np.array([0.5, 2], "f4"), two, -1).tolist() == [[0, 0], [1, 4]]
    assert restored(codes, np.array([0.5], "f4"), np.array([1]), None).tolist() == [[0, 0.5], [1, 1.5]]


def test_a_bias_is_written_in_steps_of_the_product(opened):
    model = opened()
    (weight,) = model.weights
    model.set_bias(weight, np.array([-0.6, 2.0]))  # in steps of 0.25 and 0.125
    assert model.array("b").tolist() == [-2, 16]
    assert model.bias(weight.node).tolist() == [-0.5, 2]
    assert said(model, [[2, 0.5]]) == [[0.5, 6]]


@pytest.mark.parametrize("bits", [8, 4])
def test_a_weight_in_other_bits(bits, opened):
    model = opened()
    (weight,) = model.weights
    model.set_weight(weight, np.array([[1, -7], [2, 4]]), np.array([0.5, 0.25]), bits)
    assert weight.restored.tolist() == [[0.5, -3.5], [0.5, 1]]
    again = QdqModel(model.model)
    assert again.weights[0].restored.tolist() == weight.restored.tolist()
    assert said(model, [[2, 0.5]]) == [[0.25, 2.5]]
    onnx.checker.check_model(model.model)


def test_a_scalar_stays_a_scalar(opened):
    # a scale of the shape (1,) is one a channel to some readers
    model = opened()
    model.set_activation(model.activations[0], 1.0, 7)
    assert model.array("xs").shape == model.array("xz").shape == ()


def test_one_scale_in_the_place_of_many(opened):
    model = opened()
    (weight,) = model.weights
    model.set_weight(weight, np.array([[2, -4], [3, 4]]), np.array(0.5), 8)
    assert (model.array("ws").shape, model.array("wz").shape, weight.axis) == ((), (), None)
    assert said(model, [[2, 0.5]]) == [[2, 5]]


def test_an_activation_changes_on_both_sides(opened):
    def apart(nodes, arrays):  # the two nodes of a pair have tensors of their own
        arrays |= {"xs2": arrays["xs"], "xz2": arrays["xz"]}
        nodes[1].input[1:] = ["xs2", "xz2"]

    model = opened(apart)
    model.set_activation(model.activations[0], 0.25, 0, np.int8)
    assert said(model, [[0.25, 0.25]]) == [[0.75, 2]]  # 1.875 is 7.5 steps and goes to the even 8


def test_an_activation_without_a_zero_point_is_given_one(opened):
    def without(nodes, _):
        for node in (nodes[0], nodes[1]):
            del node.input[2:]

    model = opened(without)
    assert model.activations[0].zero_point.dtype == np.uint8
    model.set_activation(model.activations[0], 0.5, 128)
    assert said(model, [[2, 0.5]]) == [[2, 5]]


def test_codes_without_a_zero_point_may_say_their_type(opened):
    def typed(nodes, _):
        del nodes[0].input[2:], nodes[1].input[2:]
        nodes[0].attribute.append(helper.make_attribute("output_dtype", onnx.TensorProto.INT8))

    assert opened(typed).activations[0].zero_point.dtype == np.int8


def test_what_another_node_shares_stays_its_own(opened):
    def shared(nodes, arrays):
        nodes[2].input[1:] = ["ys", "yz2"]
        nodes[5].input[1:] = nodes[6].input[1:] = ["ys", "yz2"]
        arrays["yz2"] = np.array(0, "i1")

    model = opened(shared)
    (weight,) = model.weights
    model.set_weight(weight, np.array([[4, -8], [6, 8]]), np.array(0.125), 8)
    assert model.array("ys") == np.float32(0.25)
    assert float(QdqModel(model.model).activations[1].scale) == 0.25
    model.set_activation(model.activations[1], 0.5, 3)
    assert float(QdqModel(model.model).weights[0].scale) == 0.125
    assert not QdqModel(model.model).weights[0].zero_point.any()


def test_a_bias_that_two_nodes_share_stays_the_others(opened):
    def twice(nodes, _):
        nodes.append(helper.make_node("Gemm", ["xd", "wd", "bd"], ["z"], "second", transB=1))

    model = opened(twice)
    (weight,) = model.weights
    model.set_bias(weight, np.array([2.0, 2.0]))
    second = model.graph.maker["z"]
    assert model.bias(weight.node).tolist() == [2, 2]
    assert model.bias(second).tolist() == [1, 1]
    onnx.checker.check_model(model.model)


def test_constants_are_replaced_and_not_doubled(opened):
    def constants(nodes, arrays):
        for name in ("xs", "w"):
            value = numpy_helper.from_array(arrays.pop(name))
            nodes.insert(0, helper.make_node("Constant", [], [name], value=value))

    model = opened(constants)
    (weight,) = model.weights
    model.set_activation(model.activations[0], 1.0, 0)
    model.set_weight(weight, np.array([[1, 0], [0, 1]]), np.array([1.0, 1.0]), 4)
    onnx.checker.check_model(model.model)
    assert said(model, [[3, 2]]) == [[4, 3]]


def test_unsigned_codes_widened_by_a_cast_become_signed(opened):
    def packed(nodes, arrays):
        arrays["w"] = arrays["w"].astype("u1")
        arrays["wz"] = np.array([5, 0], "u1")
        nodes.insert(0, helper.make_node("Cast", ["w"], ["wide"], to=onnx.TensorProto.UINT8))
        nodes[3].input[0] = "wide"

    model = opened(packed)
    (weight,) = model.weights
    model.set_weight(weight, np.array([[2, -4], [6, 7]]), np.array([0.5, 0.25]), 8)
    assert said(model, [[2, 0.5]]) == [[2, 5]]  # 3 + 0.875 + 1 is 19.5 steps


def test_a_matrix_product_has_no_bias(opened):
    def product(nodes, _):
        nodes[4].CopyFrom(helper.make_node("MatMul", ["xd", "wd"], ["g"], "product"))

    model = opened(product)
    with pytest.raises(DoesNotFit, match="MatMul has no bias"):
        model.set_bias(model.weights[0], np.zeros(2))
