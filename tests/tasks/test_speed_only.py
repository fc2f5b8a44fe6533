"""A task without a question: images that are its own, and no answer that could be taken for an accuracy."""

import numpy as np
import pytest

from qbench.cases import Choice, DataSpec
from qbench.data.base import SPLITS
from qbench.errors import BadParameter
from qbench.tasks.speed_only import RANDOM, SpeedOnly

SMALL = SpeedOnly(side=16)


def images(split, count, seed=None, task=SMALL):
    return task.examples(DataSpec(Choice("speed_only"), split, count, seed, task.recipe()))


def test_it_has_four_splits_that_share_no_image_and_fit_in_memory():
    assert set(SMALL.sizes()) == set(SPLITS)
    every = [
        image.tobytes()
        for split in SPLITS
        for image in images(split, SMALL.sizes()[split]).raw["pixel_values"]
    ]
    assert len(set(every)) == len(every) == sum(SMALL.sizes().values())
    assert max(SMALL.sizes().values()) * 224 * 224 * 3 < 20e6


def test_the_same_parameters_give_the_same_images_and_others_give_others():
    first = images("test", 5)
    assert first.raw["pixel_values"].shape == (5, 16, 16, 3)
    assert first.raw["pixel_values"].dtype == np.uint8
    assert first.labels is None
    again = images("test", 5, task=SpeedOnly(side=16))
    assert again.data_id == first.data_id
    for other in (SpeedOnly(side=16, seed=1), SpeedOnly(side=17)):
        assert other.recipe() != SMALL.recipe()
        assert images("test", 5, task=other).data_id != first.data_id


def test_a_draw_is_seeded_sorted_and_without_repetition():
    every = [image.tobytes() for image in images("calibration", 64).raw["pixel_values"]]
    drawn = [every.index(image.tobytes()) for image in images("calibration", 20, seed=3).raw["pixel_values"]]
    assert drawn == sorted(set(drawn))
    assert len(drawn) == 20
    assert images("calibration", 20, seed=3).data_id != images("calibration", 20, seed=4).data_id


@pytest.mark.parametrize("count", [0, 101])
def test_a_count_out_of_range_names_the_range(count):
    with pytest.raises(BadParameter, match="test split has 100\n.*1 to 100"):
        images("test", count)


@pytest.mark.parametrize("side", [0, 7, 4_096])
def test_a_side_that_no_network_takes_is_refused(side):
    with pytest.raises(BadParameter, match="side = .*\n.*224"):
        SpeedOnly(side=side)


def test_inputs_are_scaled_like_those_of_the_zoo():
    prepared = SMALL.prepare({"pixel_values": np.full((2, 16, 16, 3), 255, np.uint8)})["pixel_values"]
    assert prepared.shape == (2, 3, 16, 16)
    assert prepared.dtype == np.float32
    assert np.allclose(prepared, 2)


def test_no_answer_is_right_wrong_or_agreed_with():
    examples = images("test", 3)
    measurements, withheld = SMALL.score(np.eye(10, dtype="f4")[:3], examples)
    assert measurements == ()
    assert {w.metric: w.reason for w in withheld} == {"correct": RANDOM, "prediction": RANDOM}
    assert SMALL.chance(examples) is None
