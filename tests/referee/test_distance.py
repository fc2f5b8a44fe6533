"""How far apart two answers are, worked by hand."""

import numpy as np
import pytest

from qbench.referee.distance import LIMIT, distance, float_error, range_of


def far(found, wanted):
    return distance([np.asarray(found)], [np.asarray(wanted)], ["y"])


def test_the_error_is_a_share_of_the_range():
    wanted = np.array([[0.0, 8.0]], "f4")
    assert float_error(wanted + 2, wanted, range_of([wanted])) == 0.25
    assert far(wanted + np.float32(7e-3), wanted).meets
    assert not far(wanted + np.float32(9e-3), wanted).meets
    assert far(wanted + 2, wanted).how == "by 0.25 of the range of output 'y'"


@pytest.mark.parametrize("axis", [1, -1])
def test_a_slice_of_a_small_range_counts_by_its_own(axis):
    # boxes of 0 to 640 beside scores of 0 to 1: a score that is wrong by 0.3 is 0.0005 of the whole range
    wanted = np.zeros((2, 5, 100)) + np.linspace(0, 640, 100)
    wanted[:, 4] = np.linspace(0, 1, 100)
    found = wanted.copy()
    found[0, 4, 50] += 0.3
    wanted, found = (np.moveaxis(a, 1, axis).astype("f4") for a in (wanted, found))
    assert not far(found, wanted).meets
    assert np.abs(found - wanted).max() / 640 < LIMIT


def test_noise_of_float32_in_a_dead_slice_is_no_error():
    wanted = np.random.default_rng(0).standard_normal((4, 3, 50)).astype("f4")
    wanted[:, 1] = 0
    assert far(wanted + np.float32(1e-5), wanted).meets


def test_one_example_alone_is_told_by_the_range_of_all():
    # a score near 0, of one that reaches 1 elsewhere
    wanted, found = np.array([[1e-5]], "f4"), np.array([[2e-5]], "f4")
    assert not distance([found], [wanted], ["y"]).meets
    assert distance([found], [wanted], ["y"], [1.0]).meets


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_must_be_so_in_both(value):
    wanted = np.array([[0.0, 1.0, value]])
    assert far(wanted, wanted).meets
    assert not far(np.nan_to_num(wanted, nan=0.5, posinf=0.5, neginf=0.5), wanted).meets
    if np.isinf(value):
        assert not far(np.where(np.isinf(wanted), -wanted, wanted), wanted).meets


def test_another_shape_or_number_of_outputs_never_meets():
    one = np.zeros((2, 3), "f4")
    assert far(one[:1], one).how == "in the shape of output 'y', 1x3 and not 2x3"
    assert not far(one[:1], one).meets
    assert not distance([one], [one, one], ["y", "z"]).meets


def test_whole_numbers_are_compared_exactly():
    assert far([1, 2, 3], [1, 2, 3]).meets
    found = far([1, 2, 4], [1, 2, 3])
    assert not found.meets
    assert found.how == "in 1 of 3 values of output 'y'"
    assert not far([True, False], [True, True]).meets
    assert far(np.zeros((0, 3), int), np.zeros((0, 3), int)).meets


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_a_tie_may_be_labelled_either_way_and_nothing_else(shape):
    scores = np.array([[0.5, 0.5 + 1e-7, 0.1], [0.0, 0.2, 1.0]], "f4")
    names, wanted = ["label", "scores"], np.array([1, 2]).reshape(shape)
    assert distance([np.array([0, 2]).reshape(shape), scores], [wanted, scores], names).meets
    other = distance([np.array([0, 1]).reshape(shape), scores], [wanted, scores], names)
    assert (other.meets, other.output) == (False, "label")


def test_a_tie_in_a_map_with_channels_first():
    scores = np.zeros((1, 2, 3, 3), "f4")
    scores[:, 0, 0, 0] = 1
    wanted = scores.argmax(1)
    found = wanted.copy()
    found[0, 2, 2] = 1  # both classes have 0 there
    assert distance([found, scores], [wanted, scores], ["map", "scores"]).meets
    found[0, 0, 0] = 1
    assert not distance([found, scores], [wanted, scores], ["map", "scores"]).meets


def test_in_a_large_map_without_scores_a_tie_in_a_thousand_is_believed():
    wanted = np.zeros((1, 100, 100), int)
    few, many = wanted.copy(), wanted.copy()
    few[0, 0, :10] = 1
    many[0, 0, :11] = 1
    assert far(few, wanted).meets
    assert not far(many, wanted).meets


def test_the_worst_output_is_told():
    right = [np.array([0.0, 1.0]), np.array([0.0, 1.0])]
    found = [right[0] + 1e-4, right[1] + 0.5]
    assert distance(found, right, ["good", "bad"]).output == "bad"


def test_halves_are_compared_by_their_own_rounding():
    wanted = np.linspace(0, 1, 50, dtype="f2")
    assert far(wanted + np.float16(0.005), wanted).meets
    assert not far(wanted + np.float16(0.05), wanted).meets
