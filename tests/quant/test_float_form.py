"""A QDQ model in float: the same numbers, by hand, and nothing left of its integers."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from qbench.quant.float_form import float_form

X = [[2, 0.5], [0.3, -0.75], [-99, 99]]


def said(model, x=X):
    return ReferenceEvaluator(model).run(None, {"x": np.array(x, "f4")})[0]


def both(qdq, change=lambda nodes, arrays: None):
    model = onnx.load(qdq(change).path)
    form = float_form(model)
    onnx.checker.check_model(form)
    assert not {node.op_type for node in form.graph.node} & {"QuantizeLinear", "DequantizeLinear", "Cast"}
    np.testing.assert_array_equal(said(form), said(model))
    return form


def test_worked_by_hand(qdq):
    # in steps of 0.5: (2, 0.5), (0.5, -1 as 1.5 steps go to the even 2), (-64, 63.5)
    # with (1, -2) (1.5, 2) and biases of 1, in steps of 0.25 from 0 to 63.75
    assert said(both(qdq)).tolist() == [[2, 5], [3.5, 0], [0, 32]]


def test_narrower_codes_are_a_tighter_clip(qdq):
    model = onnx.load(qdq().path)
    assert said(float_form(model, {"g": 4})).tolist() == [[2, 3.75], [3.5, 0], [0, 3.75]]


def test_stored_codes_behind_a_transpose(qdq):
    def turned(nodes, arrays):
        arrays["w"] = np.array([[2, 6], [-4, 8]], "i1")
        nodes.insert(2, helper.make_node("Transpose", ["w"], ["wt"], perm=[1, 0]))
        nodes[3].input[0] = "wt"

    assert said(both(qdq, turned)).tolist() == [[2, 5], [3.5, 0], [0, 32]]


def test_float_weights_that_are_rounded_as_it_loads(qdq):
    def unstored(nodes, arrays):
        arrays["w"] = np.array([[1.1, -1.9], [1.55, 1.95]], "f4")
        nodes.insert(2, helper.make_node("QuantizeLinear", ["w", "ws", "wz"], ["wq"], axis=0))
        nodes[3].input[0] = "wq"

    assert said(both(qdq, unstored)).tolist() == [[2, 5], [3.5, 0], [0, 32]]


@pytest.mark.parametrize("kind", [None, TensorProto.INT8])
def test_no_zero_point_is_0_of_the_type_that_is_said(kind, qdq):
    def without(nodes, _):
        for node in nodes:
            if node.op_type.endswith("Linear"):
                del node.input[2:]
        if kind:
            nodes[0].attribute.append(helper.make_attribute("output_dtype", kind))

    form = both(qdq, without)
    assert said(form)[1].tolist() == ([3.5, 0] if kind else [1.5, 1.75])


def test_what_a_branch_alone_uses_is_kept(qdq):
    def branched(nodes, arrays):
        arrays |= {"two": np.array(2, "f4"), "yes": np.array(True)}
        out = helper.make_tensor_value_info("inner", 1, None)
        bodies = [
            helper.make_graph([helper.make_node("Mul", ["before", "two"], ["inner"])], name, [], [out])
            for name in ("then", "else")
        ]
        nodes[6].output[0] = "before"
        nodes.append(helper.make_node("If", ["yes"], ["y"], then_branch=bodies[0], else_branch=bodies[1]))

    model = onnx.load(qdq(branched).path)
    form = float_form(model)
    assert said(form).tolist() == said(model).tolist() == [[4, 10], [7, 0], [0, 64]]


def test_the_model_given_stays_as_it_was(qdq):
    model = onnx.load(qdq().path)
    before = model.SerializeToString(deterministic=True)
    float_form(model)
    assert model.SerializeToString(deterministic=True) == before


def test_types_noted_for_codes_do_not_stay(qdq):
    model = onnx.load(qdq().path)
    model.graph.value_info.append(helper.make_tensor_value_info("xq", TensorProto.UINT8, ["n", 2]))
    assert not float_form(model).graph.value_info
