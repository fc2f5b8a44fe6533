"""Which way to round: never worse than nearest, better where inputs go together."""

import numpy as np
import pytest

from qbench.quant.adaround import adaround
from qbench.quant.affine import WeightGrid, nearest, spread
from qbench.quant.moments import loss, moments

K = 12


def seen(groups=1, seed=0, noise=0.0, rank=3):
    """Return moments of inputs that go together: they have `rank` directions for the most part."""
    rng = np.random.default_rng(seed)
    xs = rng.standard_normal((groups, 200, rank)) @ rng.standard_normal((groups, rank, K))
    xs += 0.05 * rng.standard_normal(xs.shape) + 0.3
    return moments([(xs, xs + noise * rng.standard_normal(xs.shape))])


def error(matrix, coded, of):
    shape = (len(of.own), -1, matrix.shape[1])
    return loss(matrix.reshape(shape), coded.restored.reshape(shape), of).reshape(-1)


def matrix(rows=6, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, K)).astype("f4")


GRIDS = [
    WeightGrid(4), WeightGrid(2, observer="mse"), WeightGrid(4, "per_tensor"), WeightGrid(4, "per_group", 4),
    WeightGrid(3, symmetric=False), WeightGrid(8),
]  # fmt: skip


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("groups", [1, 2])
def test_no_channel_is_worse_and_all_together_are_better(grid, groups):
    w, of = matrix(), seen(groups)
    before = nearest(w, grid)
    after = adaround(w, before, grid, of, steps=200)
    told = error(w, before, of), error(w, after, of)
    assert (told[1] <= told[0] * (1 + 1e-6)).all()
    assert told[1].sum() < 0.95 * told[0].sum()
    np.testing.assert_array_equal(after.scale, before.scale)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_every_code_is_a_neighbour_of_its_weight_and_on_the_grid(grid):
    w = matrix()
    before = nearest(w, grid)
    codes = adaround(w, before, grid, seen(noise=0.3), steps=200).codes
    exact = w / spread(before.scale, w) + spread(before.zero_point, w)
    low, high = np.floor(exact + 1e-4), np.ceil(exact - 1e-4)
    low, high = (np.clip(side, grid.low, grid.high) for side in (low, high))
    assert ((codes >= low) & (codes <= high)).all()


def test_two_inputs_that_are_the_same_by_hand():
    # 0.45 and 0.4 of inputs that are equal: nearest rounding makes 0 of 0.85, one of the two up makes 1
    xs = np.repeat(np.random.default_rng(0).standard_normal((1, 64, 1)), 2, axis=2)
    of, w = moments([(xs, xs)]), np.array([[0.45, 0.4], [0.45, -0.45]], "f4")
    before = nearest(w, WeightGrid(4), np.ones((2, 1), "f4"))
    assert not before.codes.any()
    after = adaround(w, before, WeightGrid(4), of)
    assert after.codes[0].sum() == 1
    assert not after.codes[1].any()  # 0.45 - 0.45 is nothing already


def test_what_the_layers_before_did_is_made_up_for():
    # the quantized network gives half of what the float one did: the weight of 2.4 becomes 5, not 2
    xs = np.random.default_rng(0).standard_normal((1, 64, 1))
    w = np.array([[2.4]], "f4")
    before = nearest(w, WeightGrid(4), np.ones((1, 1), "f4"))
    assert adaround(w, before, WeightGrid(4), moments([(xs, xs / 2)])).codes.item() == 3  # the neighbour


def test_pruned_weights_stay_out():
    w = matrix()
    w[:, ::2] = 0
    for grid in GRIDS:
        after = adaround(w, nearest(w, grid), grid, seen(), steps=100)
        assert not after.restored[:, ::2].any()


def test_weights_that_are_on_the_grid_stay_there():
    w = np.random.default_rng(0).integers(-6, 7, (6, K)).astype("f4")
    before = nearest(w, WeightGrid(4), np.ones((6, 1), "f4"))
    after = adaround(w, before, WeightGrid(4), seen(noise=0.5), steps=100)
    np.testing.assert_array_equal(after.codes, w)


def test_the_same_twice_is_the_same():
    w, grid = matrix(), WeightGrid(3)
    first, again = (adaround(w, nearest(w, grid), grid, seen(), steps=100).codes for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_inputs_that_are_all_zero_leave_nearest_rounding():
    of, w = moments([(np.zeros((1, 4, K)), np.zeros((1, 4, K)))]), matrix()
    before = nearest(w, WeightGrid(4))
    np.testing.assert_array_equal(adaround(w, before, WeightGrid(4), of, steps=20).codes, before.codes)
