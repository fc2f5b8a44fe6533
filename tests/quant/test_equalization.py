"""Cross-layer equalization: worked by hand, and the laws that it keeps."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from qbench.errors import DoesNotFit
from qbench.quant.equalization import ROUNDS, equalize, find_pairs, write_back

node = helper.make_node
RNG = np.random.default_rng(0)


def network(nodes, weights, shape=("n", 3, 8, 8)):
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", shape), ("y", None))]
    arrays = [numpy_helper.from_array(np.asarray(array, "f4"), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], arrays)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def equalized(model, *, through_clips=True):
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    found = find_pairs(copy, through_clips=through_clips)
    rounds = equalize(found.pairs)
    write_back(copy, found.pairs)
    return copy, found, rounds


def answers(model, x):
    return ReferenceEvaluator(model).run(None, {"x": x.astype("f4")})[0]


def stored(model):
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def uneven(*shape):
    """Return a weight whose output channels are of very different ranges."""
    spread = 10.0 ** RNG.uniform(-2, 2, shape[0])
    return RNG.standard_normal(shape) * spread.reshape(-1, *[1] * (len(shape) - 1))


def mobile(between="Relu"):
    """Return conv, depthwise, conv, as in an inverted residual."""
    more = ["zero", "six"] if between == "Clip" else []
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c1"]),
        node(between, ["c1", *more], ["r1"]),
        node("Conv", ["r1", "w2", "b2"], ["c2"], group=8),
        node("Relu", ["c2"], ["r2"]),
        node("Conv", ["r2", "w3"], ["c3"]),
        node("Conv", ["c3", "w4"], ["y"]),
    ]
    weights = {"w1": uneven(8, 3, 1, 1), "b1": RNG.standard_normal(8), "w2": uneven(8, 1, 3, 3)}
    weights |= {"b2": RNG.standard_normal(8), "w3": uneven(4, 8, 1, 1), "w4": uneven(5, 4, 3, 3)}
    return network(nodes, weights | ({"zero": 0.0, "six": 6.0} if more else {}))


def test_two_layers_worked_by_hand():
    # rows of the first reach 4 and 1, columns of the second 1 and 16: s = sqrt(4 / 1), sqrt(1 / 16) = 2, 1/4
    nodes = [node("Gemm", ["x", "w", "b"], ["h"], transB=1), node("Gemm", ["h", "v"], ["y"], transB=1)]
    model = network(nodes, {"w": [[4, 2], [-1, 0.5]], "b": [6, 1], "v": [[1, 16], [0.5, -8]]}, ("n", 2))
    found, pairs, rounds = equalized(model)
    arrays = stored(found)
    np.testing.assert_array_equal(arrays["w"], [[2, 1], [-4, 2]])
    np.testing.assert_array_equal(arrays["b"], [3, 4])
    np.testing.assert_array_equal(arrays["v"], [[2, 4], [1, -2]])
    assert (len(pairs.pairs), rounds) == (1, 2)  # the second round finds nothing to move


@pytest.mark.parametrize("turned", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_fully_connected_layers_either_way_round(turned):
    nodes = [
        node("Gemm", ["x", "w", "b"], ["h"], transB=turned[0], alpha=0.5, beta=2.0),
        node("Relu", ["h"], ["r"]),
        node("Gemm", ["r", "v"], ["y"], transB=turned[1]),
    ]
    w, v = uneven(6, 4), uneven(3, 6)
    weights = {"w": w if turned[0] else w.T, "b": RNG.standard_normal(6), "v": v if turned[1] else v.T}
    model, x = network(nodes, weights, ("n", 4)), RNG.standard_normal((5, 4))
    found, _, _ = equalized(model)
    np.testing.assert_allclose(answers(found, x), answers(model, x), rtol=1e-4, atol=1e-5)
    first = np.abs(stored(found)["w"]).max(axis=turned[0])
    second = np.abs(stored(found)["v"]).max(axis=1 - turned[1])
    np.testing.assert_allclose(first, second, rtol=1e-3)


def test_a_depthwise_chain_is_the_same_function_with_equal_ranges():
    model, x = mobile(), RNG.standard_normal((4, 3, 8, 8))
    found, pairs, rounds = equalized(model)
    assert len(pairs.pairs) == 3
    assert rounds < ROUNDS
    before, after = answers(model, x), answers(found, x)
    assert np.abs(after - before).max() < 1e-4 * np.ptp(before)
    w = stored(found)
    reach = {name: np.abs(array) for name, array in w.items() if array.ndim > 1}
    ends = [
        (reach["w1"].max((1, 2, 3)), reach["w2"].max((1, 2, 3))),
        (reach["w2"].max((1, 2, 3)), reach["w3"].max((0, 2, 3))),
        (reach["w3"].max((1, 2, 3)), reach["w4"].max((0, 2, 3))),
    ]
    for first, second in ends:
        np.testing.assert_allclose(first, second, rtol=1e-3)


def test_grouped_convolutions_count_their_inputs_through_the_groups():
    nodes = [
        node("Conv", ["x", "w1"], ["c"]),
        node("Relu", ["c"], ["r"]),
        node("Conv", ["r", "w2"], ["y"], group=2),
    ]
    model = network(nodes, {"w1": uneven(4, 3, 1, 1), "w2": uneven(6, 2, 1, 1)})
    found, _, _ = equalized(model)
    x = RNG.standard_normal((2, 3, 8, 8))
    np.testing.assert_allclose(answers(found, x), answers(model, x), rtol=1e-4, atol=1e-4)
    second = np.abs(stored(found)["w2"]).reshape(2, 3, 2)
    np.testing.assert_allclose(np.abs(stored(found)["w1"]).max((1, 2, 3)), second.max(1).ravel(), rtol=1e-3)


def test_a_dead_channel_is_left_alone():
    model = mobile()
    weights = stored(model)
    weights["w1"] = weights["w1"].copy()
    weights["w1"][2], weights["w1"][3] = 0, weights["w1"][3] * 1e-9
    model = network(list(model.graph.node), weights)
    after = stored(equalized(model)[0])
    np.testing.assert_array_equal(after["w1"][2], 0)
    np.testing.assert_allclose(after["b1"][2:4], weights["b1"][2:4])
    assert all(np.isfinite(array).all() for array in after.values())


# --- which pairs ------------------------------------------------------------------------------------


def test_a_bounded_activation_becomes_relu_or_keeps_its_pair_alone():
    model, x = mobile("Clip"), RNG.standard_normal((4, 3, 8, 8))
    replaced, found, _ = equalized(model)
    assert [n.op_type for n in replaced.graph.node].count("Relu") == 2
    assert (len(found.pairs), found.clipped) == (3, 0)
    assert not {"zero", "six"} & set(stored(replaced))
    kept, found, _ = equalized(model, through_clips=False)
    assert (len(found.pairs), found.clipped) == (2, 1)
    before = answers(model, x)
    assert np.abs(answers(kept, x) - before).max() < 1e-4 * np.ptp(before)
    assert np.abs(answers(replaced, x) - before).max() > 1e-3 * np.ptp(before)


CHAIN = [node("Conv", ["x", "w1"], ["c"]), node("Conv", ["r", "w2"], ["y"])]


@pytest.mark.parametrize(("between", "weights", "pairs"), [
    ([node("Relu", ["c"], ["r"])], {}, 1),
    ([node("Relu", ["c"], ["q"]), node("Relu", ["q"], ["r"])], {}, 1),
    ([node("Clip", ["c", "zero"], ["r"])], {"zero": 0}, 1),  # no upper bound: Relu by another name
    ([node("Clip", ["c", "low", "high"], ["r"])], {"low": -1, "high": 1}, 0),
    ([node("Sigmoid", ["c"], ["r"])], {}, 0),
    ([node("MaxPool", ["c"], ["r"], kernel_shape=[2, 2])], {}, 0),
    ([node("Relu", ["c"], ["q"]), node("Add", ["q", "c"], ["r"])], {}, 0),  # another user of c
    ([node("Add", ["c", "w3"], ["r"])], {"w3": np.ones((3, 1, 1))}, 0),
    ([node("Relu", ["c"], ["q"]), node("Add", ["w2", "w3"], ["w4"]), node("Relu", ["q"], ["r"])],
     {"w3": np.ones((3, 3, 1, 1))}, 0),  # another user of the weight
])  # fmt: skip
def test_what_is_a_pair(between, weights, pairs):
    model = network(
        [CHAIN[0], *between, CHAIN[1]], {"w1": uneven(3, 3, 1, 1), "w2": uneven(3, 3, 1, 1)} | weights
    )
    found = find_pairs(model, through_clips=True)
    assert (len(found.pairs), sum(len(pair.clips) for pair in found.pairs)) == (pairs, 0)


def test_an_output_of_the_network_is_never_scaled():
    model = mobile()
    model.graph.output.append(helper.make_empty_tensor_value_info("r1"))
    assert len(find_pairs(model, through_clips=True).pairs) == 2


def test_a_weight_that_is_no_number_is_refused_by_its_name():
    model = mobile()
    weights = stored(model)
    weights["w2"] = np.full_like(weights["w2"], np.nan)
    with pytest.raises(DoesNotFit, match="cannot scale 'w2': 72 of its 72 elements are NaN(.|\n)*fix: train"):
        find_pairs(network(list(model.graph.node), weights), through_clips=True)
