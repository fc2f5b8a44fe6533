"""Ranges over calibration data: batch by batch, and refused where a number is none."""

import numpy as np
import pytest

from qbench.errors import DoesNotFit
from qbench.quant.ranges import extents, finite_or_raise, histograms

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
