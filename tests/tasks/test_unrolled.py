"""The states that a recurrent float network really has before each call, by a network worked by hand."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qbench.cases import Choice, DataSpec
from qbench.errors import DoesNotFit
from qbench.formats.onnx_file import checked
from qbench.tasks.agreement import Agreement
from qbench.tasks.unrolled import unrolled


def halving(folder, grows=False):
    """state_out = state / 2 + x, and y = 3 state_out; batch first for x, second for state (1, N, 2)."""
    kinds = [("x", ["N", 2]), ("state", [1, "N", 2]), ("y", ["N", 2]), ("state_out", [None, None, None])]
    x, state, y, out = (helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in kinds)
    nodes = [
        helper.make_node("Mul", ["state", "half"], ["less"]),
        helper.make_node("Add", ["less", "x"], ["next"]),
        helper.make_node("Squeeze", ["next", "first"], ["flat"]),
        helper.make_node("Mul", ["flat", "three"], ["y"]),
        helper.make_node("Concat", ["next", "next"], ["state_out"], axis=0)
        if grows
        else helper.make_node("Identity", ["next"], ["state_out"]),
    ]
    stored = {"half": np.float32(0.5), "three": np.float32(3), "first": np.array([0])}
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in stored.items()]
    graph = helper.make_graph(nodes, "g", [x, state], [y, out], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "net.onnx")
    return folder / "net.onnx"


CARRIED = (("state", "state_out"),)
X = np.arange(24, dtype="f4").reshape(12, 2)


def by_hand(start=0.0):
    state, before = np.full(2, start, "f4"), []
    for row in X:
        before.append(state)
        state = state / 2 + row
    return np.array(before)


@pytest.mark.parametrize("start", [0.0, 5.0])
def test_states_are_those_before_each_call(tmp_path, start):
    path = halving(tmp_path)
    examples = {"x": X, "state": np.full((12, 1, 2), start, "f4")}
    found = unrolled(path, checked(path)[0], CARRIED, examples, 12)
    np.testing.assert_allclose(found["state"][:, 0], by_hand(start))


def test_a_state_that_changes_its_shape_is_told(tmp_path):
    path = halving(tmp_path, grows=True)
    examples = {"x": X, "state": np.zeros((12, 1, 2), "f4")}
    with pytest.raises(DoesNotFit, match=r"state is 1 x 1 x 2 and the output .* 2 x 1 x 2"):
        unrolled(path, checked(path)[0], CARRIED, examples, 12)


def test_a_call_that_the_network_refuses_is_named(tmp_path):
    path = halving(tmp_path)
    examples = {"x": np.zeros((3, 7), "f4"), "state": np.zeros((3, 1, 2), "f4")}
    with pytest.raises(DoesNotFit, match="state of net.onnx cannot be followed; call 1 stopped"):
        unrolled(path, checked(path)[0], CARRIED, examples, 3)


def test_a_stream_is_split_in_two_stretches_with_the_float_states_of_each_call(tmp_path):
    path = halving(tmp_path)
    np.savez(tmp_path / "x.npz", x=X)
    task = Agreement(str(tmp_path / "x.npz"), str(path), "state=state_out")
    assert task.sizes() == {"calibration": 3, "test": 9}
    choice = Choice("agreement")
    first = task.examples(DataSpec(choice, "calibration", 3)).raw
    rest = task.examples(DataSpec(choice, "test", 5)).raw
    np.testing.assert_array_equal(first["x"], X[:3])
    np.testing.assert_array_equal(rest["x"], X[3:8])
    np.testing.assert_allclose(first["state"][:, 0], by_hand()[:3])
    np.testing.assert_allclose(rest["state"][:, 0], by_hand()[3:8])


def test_examples_are_those_of_the_network_not_of_the_samples_alone(tmp_path):
    """Another network's states are other examples, whatever the samples say."""
    np.savez(tmp_path / "x.npz", x=X)
    path = halving(tmp_path)
    task = Agreement(str(tmp_path / "x.npz"), str(path), "state=state_out")
    before = task.recipe()
    path.write_bytes(path.read_bytes().replace(np.float32(0.5).tobytes(), np.float32(0.25).tobytes()))
    assert task.recipe() != before
