"""Calibration and selection examples become calls in the network's own layout."""

import numpy as np

from qbench.formats.artifact import TensorSpec
from qbench.strategies.base import Calibration, Selection

SPECS = (TensorSpec("x", "float32", (4, None, 2), 1), TensorSpec("gain", "float32", (), None))
X = np.arange(80, dtype="f4").reshape(10, 4, 2)


def shapes(calls):
    return [{name: array.shape for name, array in call.items()} for call in calls]


def test_examples_lie_along_the_networks_batch_axis_and_a_constant_is_given_once():
    data = Calibration("", {"x": X, "gain": np.full(10, 3, "f4")}, specs=SPECS)
    found = list(data.in_batches(4))
    assert shapes(found) == [{"x": (4, count, 2), "gain": ()} for count in (4, 4, 2)]
    np.testing.assert_array_equal(found[1]["x"][:, 0], X[4])


def test_a_constant_that_differs_makes_calls_of_one_example():
    data = Calibration("", {"x": X, "gain": np.arange(10, dtype="f4")}, specs=SPECS)
    found = list(data.in_batches(4))
    assert shapes(found) == [{"x": (4, 1, 2), "gain": ()}] * 10
    assert [float(call["gain"]) for call in found] == list(range(10))


def test_a_selection_is_called_the_same_way():
    call = Selection("", {"x": X, "gain": np.full(10, 3, "f4")}, specs=SPECS).call([7, 2])
    np.testing.assert_array_equal(call["x"][:, 1], X[2])
    assert shapes([call]) == [{"x": (4, 2, 2), "gain": ()}]


def test_without_a_signature_examples_lie_along_the_first_axis():
    assert shapes(Calibration("", {"x": X}).in_batches(8)) == [{"x": (8, 4, 2)}, {"x": (2, 4, 2)}]
