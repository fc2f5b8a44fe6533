"""BatchNormalization folded into a convolution: the same answers, one node less; and where it stays."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from qbench.quant.fold import fold_batch_norm

RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((2, 3, 6, 6)).astype("f4")
NORM = {
    "scale": RNG.uniform(0.2, 3, 4),
    "shift": RNG.standard_normal(4),
    "mean": RNG.standard_normal(4),
    "variance": RNG.uniform(0.1, 4, 4),
}


def network(bias=True, extra=(), stored=(), outputs=("y",), **attributes):
    weights = {"w": RNG.standard_normal((4, 3, 3, 3)), **NORM} | (
        {"b": RNG.standard_normal(4)} if bias else {}
    )
    arrays = {name: array.astype("f4") for name, array in weights.items()} | dict(stored)
    nodes = [
        helper.make_node("Conv", ["x", "w", *(["b"] if bias else [])], ["c"]),
        helper.make_node("BatchNormalization", ["c", *NORM], ["n"], **attributes),
        helper.make_node("Relu", ["n"], ["y"]),
        *extra,
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", *outputs)]
    tensors = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "block", values[:1], values[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def answers(model):
    return ReferenceEvaluator(model).run(None, {"x": IMAGES})


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("attributes", [{}, {"epsilon": 0.5}])
def test_the_answers_stay_and_the_node_goes(bias, attributes):
    model = network(bias, **attributes)
    before = answers(model)
    assert fold_batch_norm(model) == 1
    assert [node.op_type for node in model.graph.node] == ["Conv", "Relu"]
    assert len(model.graph.initializer) == 2
    np.testing.assert_allclose(answers(model)[0], before[0], atol=1e-5)


@pytest.mark.parametrize(
    "model",
    [
        network(extra=[helper.make_node("Relu", ["c"], ["z"])], outputs=("y", "z")),
        network(outputs=("y", "c")),
        network(
            extra=[helper.make_node("ReduceMax", ["w"], ["z"], keepdims=0)],
            outputs=("y", "z"),
        ),
    ],
    ids=["its input is used twice", "its input is an output", "the weight is used elsewhere"],
)
def test_it_stays_where_something_else_needs_what_would_change(model):
    before = answers(model)
    assert fold_batch_norm(model) == 0
    for after, wanted in zip(answers(model), before, strict=True):
        np.testing.assert_array_equal(after, wanted)


def test_it_stays_in_training_mode_and_after_anything_else():
    assert fold_batch_norm(network(training_mode=1)) == 0
    model = network()
    model.graph.node[0].op_type = "ConvTranspose"
    assert fold_batch_norm(model) == 0


def test_shared_statistics_are_kept_until_their_last_user_is_folded():
    second = [
        helper.make_node("Conv", ["x", "w2"], ["c2"]),
        helper.make_node("BatchNormalization", ["c2", *NORM], ["z"]),
    ]
    model = network(extra=second, stored=[("w2", np.ones((4, 3, 1, 1), "f4"))], outputs=("y", "z"))
    before = answers(model)
    assert fold_batch_norm(model) == 2
    assert {tensor.name for tensor in model.graph.initializer}.isdisjoint(NORM)
    for after, wanted in zip(answers(model), before, strict=True):
        np.testing.assert_allclose(after, wanted, atol=1e-5)
