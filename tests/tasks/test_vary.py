"""Examples that are varied mean what they did."""

import numpy as np

from qbench.tasks.agreement import Agreement
from qbench.tasks.image_classification import SHIFT_PX, ImageClassification


def varied(images, seed=0):
    task = ImageClassification("digits")
    return task.vary({"pixel_values": images}, np.random.default_rng(seed))["pixel_values"]


def test_each_image_is_moved_a_little_on_its_own():
    image = np.zeros((32, 32, 3), "u1")
    image[16, 16] = 255  # far enough from the edge to be mirrored by none
    found = varied(np.stack([image] * 200))
    places = np.argwhere(found[..., 0] == 255)
    assert len(places) == 200
    moves = places[:, 1:] - 16
    assert np.abs(moves).max() == SHIFT_PX
    assert [set(axis) for axis in moves.T] == [set(range(-SHIFT_PX, SHIFT_PX + 1))] * 2
    assert len({tuple(move) for move in moves}) > 60  # of 81
    assert (found.shape, found.dtype) == ((200, 32, 32, 3), np.uint8)


def test_the_images_given_stay_and_chance_decides():
    images = np.random.default_rng(0).integers(0, 255, (6, 32, 32, 3), "u1")
    before = images.copy()
    first, again, other = varied(images), varied(images), varied(images, 1)
    np.testing.assert_array_equal(images, before)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_task_that_knows_no_way_leaves_them(tmp_path):
    raw = {"x": np.arange(6.0)}
    assert Agreement(str(tmp_path)).vary(raw, np.random.default_rng(0)) is raw
