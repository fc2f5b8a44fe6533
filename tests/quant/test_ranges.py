"""Ranges over calibration data: batch by batch, and refused where a number is none."""

from types import SimpleNamespace

import numpy as np
import pytest

from qbench.errors import DoesNotFit
from qbench.quant.ranges import extents, finite_or_raise, histograms, shaped_or_raise

BATCHES = [{"x": np.array([[1.0, -2.0], [0.0, 0.5]], "f4")}, {"x": np.array([[5.0, 0.0]], "f4")}]


def doubled(batch):
    yield "x", batch["x"]
    yield "twice", 2 * batch["x"]


def test_extents_are_over_all_batches():
    assert extents(doubled, BATCHES, "t") == {"x": (-2, 5), "twice": (-4, 10)}


def test_histograms_are_over_all_batches_too():
    found = histograms(doubled, BATCHES, extents(doubled, BATCHES, "t"))
    assert [histogram.total for histogram in found.values()] == [6, 6]
    assert [histogram.zeros for histogram in found.values()] == [2, 2]
    assert (found["twice"].low, found["twice"].high) == (-4, 10)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_activation_that_is_no_number_is_named(bad):
    def broken(batch):
        yield "fine", batch["x"]
        yield "layer/7", np.where(batch["x"] == 5, bad, batch["x"])

    with pytest.raises(DoesNotFit, match=r"static_int8 .*'layer/7'.*NaN(.|\n)*fix: ."):
        extents(broken, BATCHES, "static_int8")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_input_that_is_no_number_is_named_with_the_example(bad):
    images = np.zeros((6, 2, 2), "f4")
    images[[2, 4], 1, 0] = bad
    with pytest.raises(
        DoesNotFit, match=r"'images': 2 of its 6 examples .* first is number 2\n  fix: repair"
    ):
        finite_or_raise({"tokens": np.ones((6, 2), "i8"), "images": images}, "static_int8")


@pytest.mark.parametrize("inputs", [{}, {"x": np.zeros((0, 3), "f4")}])
def test_no_data_at_all_is_refused(inputs):
    with pytest.raises(DoesNotFit, match="there is none\n  fix: give one calibration example"):
        finite_or_raise(inputs, "static_int8")


def test_one_example_of_integers_and_one_of_floats_will_do():
    finite_or_raise({"tokens": np.array([[1, 2]]), "x": np.zeros((1, 3), "f4")}, "static_int8")


SPECS = [
    SimpleNamespace(batch_axis=0, name=name, shape=(None, size)) for name, size in (("x", 3), ("mask", None))
]


@pytest.mark.parametrize(("inputs", "words"), [
    ({"x": (5, 4), "mask": (5, 2)}, r"has 'x' of shape \(5, 4\), .*\n  fix: give 'x' of shape \(N, 3\), N"),
    ({"x": (5, 3, 1), "mask": (5, 2)}, r"has 'x' of shape \(5, 3, 1\), .*\n  fix: give 'x' of"),
    ({"x": (5, 3)}, r"has 'x' of shape \(5, 3\)\n  fix: give 'mask' of shape \(N, N\), N examples"),
    ({"x": (5, 3), "mask": (5, 2), "y": (5, 1)}, r"takes 'x' of shape \(N, 3\), .*\n  fix: leave 'y' out"),
    ({"x": (5, 3), "mask": (4, 2)}, r"differently many .*'mask' of shape \(4, 2\)\n  fix: give every"),
])  # fmt: skip
def test_inputs_that_the_network_does_not_take_are_told_with_those_that_it_does(inputs, words):
    with pytest.raises(DoesNotFit, match=f"(?s)ptq: .*{words}"):
        shaped_or_raise({name: np.zeros(shape, "f4") for name, shape in inputs.items()}, SPECS, "ptq")


def test_inputs_of_the_right_shape_go_through():
    shaped_or_raise({"x": np.zeros((5, 3)), "mask": np.zeros((5, 9))}, SPECS, "ptq")
    shaped_or_raise({"anything": np.zeros(5)}, (), "ptq")
    shaped_or_raise({"x": np.zeros((16, 3))}, [SimpleNamespace(name="x", shape=(8, 3), batch_axis=0)], "ptq")
