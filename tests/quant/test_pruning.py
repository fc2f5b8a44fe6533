"""Which weights go: worked by hand, and the laws that pruning keeps."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from qbench.errors import DoesNotFit
from qbench.quant.pruning import Prunable, divided, masked, n_of_m, prunable, row_length, smallest_go

node = helper.make_node
COVERS = ("Conv", "Gemm", "MatMul")


def network(nodes, weights, shape=("n", 4)):
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", shape), ("y", None))]
    arrays = [numpy_helper.from_array(np.asarray(array, "f4"), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], arrays)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def gemm(weight, **facts):
    return Prunable(node("Gemm", ["x", "w"], ["y"], **facts), 1, "w", np.asarray(weight, "f4"))


def stays(array, sparsity):
    return smallest_go({"w": np.asarray(array, "f4")}, sparsity, together=False)["w"].tolist()


def test_the_smaller_half_goes_worked_by_hand():
    assert stays([[3.0, -1.0], [0.5, -4.0]], 0.5) == [[True, False], [False, True]]


def test_a_share_is_rounded_down_and_of_equals_the_earlier_goes():
    assert stays([1.0, 1.0, 1.0], 0.5) == [False, True, True]
    assert stays(np.arange(1, 101), 0.29).count(False) == 29  # 0.29 * 100 is 28.999... in binary


def test_over_the_network_a_layer_of_small_weights_loses_more_and_never_all():
    weights = {"small": np.array([[0.1, -0.2], [0.3, 0.4]], "f4"), "large": np.array([5.0, -6.0], "f4")}
    found = smallest_go(weights, 0.5, together=True)
    assert found["small"].tolist() == [[False, False], [False, True]]
    assert found["large"].tolist() == [True, True]
    found = smallest_go(weights, 0.99, together=True)  # four may go at most: one of each layer stays
    assert found["small"].tolist() == [[False, False], [False, True]]
    assert found["large"].tolist() == [False, True]


def test_two_of_four_worked_by_hand():
    row = [1.0, -3.0, 2.0, 0.5, 4.0, 4.0, 4.0, 4.0]  # of equals the earlier stay
    wanted = [False, True, True, False, True, True, False, False]
    assert n_of_m(gemm([row], transB=1), 2, 4)[0].tolist() == wanted
    assert n_of_m(gemm(np.transpose([row])), 2, 4)[:, 0].tolist() == wanted


def test_neighbours_of_a_convolution_are_input_channels_at_one_position():
    weight = np.zeros((1, 4, 1, 2), "f4")
    weight[0, :, 0, 0], weight[0, :, 0, 1] = [1, 2, 3, 4], [4, 3, 2, 1]
    layer = Prunable(node("Conv", ["x", "w"], ["y"]), 1, "w", weight)
    found = n_of_m(layer, 1, 2)
    assert found[0, :, 0, 0].tolist() == [False, True, False, True]
    assert found[0, :, 0, 1].tolist() == [True, False, True, False]
    assert row_length(layer) == 4


def test_biases_and_depthwise_convolutions_are_left_alone():
    nodes = [
        node("Conv", ["x", "w", "b"], ["c"]),
        node("Conv", ["c", "d"], ["e"], group=4),
        node("Conv", ["e", "w", "b"], ["y"]),  # shares its weight with the first
    ]
    weights = {"w": np.ones((4, 4, 1, 1)), "b": np.ones(4), "d": np.ones((4, 1, 3, 3))}
    found = prunable(network(nodes, weights, ("n", 4, 8, 8)), COVERS, "pruning")
    assert list(found.weights) == ["w"]
    assert found.depthwise == 1


def test_a_network_of_depthwise_convolutions_alone_is_refused():
    model = network([node("Conv", ["x", "d"], ["y"], group=4)], {"d": np.ones((4, 1, 3, 3))}, ("n", 4, 8, 8))
    with pytest.raises(DoesNotFit, match=r"none \(found: Conv x1\)\n  fix: leave pruning out"):
        prunable(model, COVERS, "pruning")


def test_a_weight_that_is_no_number_is_refused_by_its_name():
    model = network([node("MatMul", ["x", "w"], ["y"])], {"w": [[1.0], [np.nan], [2.0], [np.inf]]})
    with pytest.raises(DoesNotFit, match="cannot rank 'w': 2 of its 4 elements are NaN or infinite"):
        prunable(model, COVERS, "pruning")


def test_rows_that_nothing_divides_are_told_with_what_would():
    model = network([node("MatMul", ["x", "w"], ["y"])], {"w": np.ones((6, 2))})
    layers = prunable(model, COVERS, "pruning")
    assert [len(part) for part in divided(layers, 1, 3, "pruning")] == [1, 0]
    with pytest.raises(
        DoesNotFit, match=r"m = 4 divides no row .*they are 6 long(.|\n)*fix: write m = 3 or 6"
    ):
        divided(layers, 2, 4, "pruning")


def test_masks_are_put_into_the_model_and_nothing_else_is():
    model = network([node("Gemm", ["x", "w", "b"], ["y"])], {"w": [[1.0, -2.0]] * 4, "b": [3.0, 4.0]})
    masked(model, {"w": np.array([[True, False]] * 4)})
    arrays = {t.name: numpy_helper.to_array(t).tolist() for t in model.graph.initializer}
    assert arrays == {"w": [[1.0, 0.0]] * 4, "b": [3.0, 4.0]}
