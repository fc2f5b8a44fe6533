"""Integers for reals: scales by hand, errors by law."""

from dataclasses import replace

import numpy as np
import pytest

from qbench.errors import DoesNotFit
from qbench.quant.affine import WeightGrid, activation_scale, nearest, scales, spread

RNG = np.random.default_rng(0)
MATRIX = RNG.standard_normal((6, 24)).astype("f4") * 10.0 ** RNG.uniform(-2, 1, (6, 1)).astype("f4")
BY_HAND = np.array([[1, -7, 2, 3.5], [0, 14, -28, 0]], "f4")
GRIDS = [
    WeightGrid(bits, granularity, 8 if granularity == "per_group" else 0, symmetric, observer)
    for bits in (2, 4, 8)
    for granularity in ("per_tensor", "per_channel", "per_group")
    for symmetric in (True, False)
    for observer in ("minmax", "mse")
]


@pytest.mark.parametrize(("bits", "symmetric", "low", "high"), [
    (8, True, -127, 127), (4, True, -7, 7), (2, True, -1, 1), (8, False, 0, 255), (3, False, 0, 7),
])  # fmt: skip
def test_the_codes_of_a_width(bits, symmetric, low, high):
    grid = WeightGrid(bits, symmetric=symmetric)
    assert (grid.low, grid.high) == (low, high)


@pytest.mark.parametrize(("granularity", "size", "wanted"), [
    ("per_tensor", 0, [[4]]), ("per_channel", 0, [[1], [4]]), ("per_group", 2, [[1, 0.5], [2, 4]]),
])  # fmt: skip
def test_symmetric_scales_worked_by_hand(granularity, size, wanted):
    # four bits reach code 7: the greatest of 28, of 7 and 28, of 7, 3.5, 14 and 28
    scale, zero = scales(BY_HAND, WeightGrid(4, granularity, size))
    assert scale.tolist() == wanted
    assert scale.dtype == np.float32
    assert not zero.any()


def test_asymmetric_scales_worked_by_hand():
    # rows from -1 to 2 and from 0 to 15: fifteen steps of 0.2 and of 1
    coded = nearest(np.array([[-1, 2, 0.5], [15, 3, 4.4]], "f4"), WeightGrid(4, symmetric=False))
    np.testing.assert_allclose(coded.scale, [[0.2], [1]], rtol=1e-6)
    assert coded.zero_point.tolist() == [[5], [0]]
    assert coded.codes.tolist() == [[0, 15, 7], [15, 3, 4]]  # 0.5 is 2.5 steps and goes to the even 2
    np.testing.assert_allclose(coded.restored, [[-1, 2, 0.4], [15, 3, 4]], atol=1e-6)


def test_a_range_that_leaves_zero_out_is_widened_to_it():
    coded = nearest(np.array([[3, 5]], "f4"), WeightGrid(4, symmetric=False))
    assert (coded.zero_point.item(), coded.codes.tolist()) == (0, [[9, 15]])
    coded = nearest(np.array([[-3, -5]], "f4"), WeightGrid(4, symmetric=False))
    assert (coded.zero_point.item(), coded.codes.tolist()) == (15, [[6, 0]])


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_codes_stay_on_their_grid_and_zero_stays_zero(grid):
    matrix = MATRIX.copy()
    matrix[:, ::5] = 0
    coded = nearest(matrix, grid)
    assert coded.codes.min() >= grid.low
    assert coded.codes.max() <= grid.high
    assert not coded.restored[:, ::5].any()
    assert coded.restored.dtype == np.float32
    assert len(coded.scale) == (1 if grid.granularity == "per_tensor" else 6)


@pytest.mark.parametrize("grid", [grid for grid in GRIDS if grid.observer == "minmax"], ids=str)
def test_no_weight_moves_more_than_half_a_step(grid):
    coded = nearest(MATRIX, grid)
    moved = np.abs(coded.restored - MATRIX)
    assert (moved <= spread(coded.scale, MATRIX) / 2 * (1 + 1e-4) + 1e-7).all()


@pytest.mark.parametrize("grid", [grid for grid in GRIDS if grid.observer == "mse"], ids=str)
@pytest.mark.parametrize("tails", ["normal", "long"])
def test_the_range_of_least_error_is_never_worse_than_the_whole(grid, tails):
    matrix = MATRIX if tails == "normal" else MATRIX**3
    whole, least = (nearest(matrix, replace(grid, observer=o)) for o in ("minmax", "mse"))
    cells = (1, -1) if grid.granularity == "per_tensor" else (-1, grid.group_size or 24)
    error = [((c.restored - matrix).astype("f8") ** 2).reshape(cells).sum(1) for c in (whole, least)]
    assert (error[1] <= error[0] * (1 + 1e-4)).all()  # errors are summed in 32 bits
    if tails == "long" and grid.bits == 2:
        assert error[1].sum() < error[0].sum()


def test_one_weight_far_out_is_clipped_where_that_pays_by_hand():
    # 99 ones and a 3 in two bits: steps of 3 make zeros of the ones, an error of 99
    row = np.array([[1.0] * 99 + [3.0]], "f4")
    assert nearest(row, WeightGrid(2)).codes.sum() == 1
    coded = nearest(row, WeightGrid(2, observer="mse"))
    assert (coded.codes == 1).all()
    assert coded.scale.item() == pytest.approx(1.02, abs=0.02)  # the mean of all, to a hundredth of the range


def test_finer_scales_err_less():
    errors = [
        ((nearest(MATRIX, WeightGrid(4, kind, size)).restored - MATRIX) ** 2).sum(1)
        for kind, size in (("per_tensor", 0), ("per_channel", 0), ("per_group", 8), ("per_group", 4))
    ]
    assert all(fine.sum() < coarse.sum() for coarse, fine in zip(errors[:-1], errors[1:], strict=True))


@pytest.mark.parametrize(("columns", "size", "words"), [
    (24, 7, "size = 7 does not divide a row of 24 weights\n  fix: write group_size = 8 or 4 or 3 or 24"),
    (9, 2, "row of 9 weights\n  fix: write group_size = 9 or 3$"),
    (5, 32, "row of 5 weights\n  fix: write group_size = 5$"),
])  # fmt: skip
def test_a_group_that_does_not_divide_a_row_is_told_with_those_that_do(columns, size, words):
    with pytest.raises(DoesNotFit, match=words):
        scales(np.ones((2, columns), "f4"), WeightGrid(4, "per_group", size))


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("observer", ["minmax", "mse"])
def test_a_channel_of_zeros_has_steps_of_one(symmetric, observer):
    # a bias is stored in steps of the product's scale: with next to none, 32 bits could not hold it
    coded = nearest(np.array([[0, 0], [1, 2]], "f4"), WeightGrid(8, symmetric=symmetric, observer=observer))
    assert coded.scale[0].item() == 1
    assert not coded.restored[0].any()


def test_scales_that_are_given_are_taken():
    coded = nearest(BY_HAND, WeightGrid(4), np.array([[0.5], [7]], "f4"))
    assert coded.codes.tolist() == [[2, -7, 4, 7], [0, 2, -4, 0]]


@pytest.mark.parametrize(("low", "high", "bits", "symmetric", "scale", "zero"), [
    (0, 255, 8, False, 1, 0), (-127.5, 127.5, 8, False, 1, 128), (-5, 10, 4, False, 1, 5),
    (3, 30, 4, False, 2, 0), (-30, -3, 4, False, 2, 15), (-127, 60, 8, True, 1, 128), (1, 7, 4, True, 1, 8),
    (0, 0, 8, False, 1, 0), (0, 0, 8, True, 1, 128),
])  # fmt: skip
def test_activation_scales_worked_by_hand(low, high, bits, symmetric, scale, zero):
    found = activation_scale(low, high, bits, symmetric=symmetric)
    assert found == (pytest.approx(scale), zero)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_zero_is_held_exactly_and_the_range_to_half_a_step(bits, symmetric):
    for low, high in RNG.uniform(-3, 3, (50, 2)):
        low, high = sorted((float(low), float(high)))
        scale, zero = activation_scale(low, high, bits, symmetric=symmetric)
        assert 0 <= zero <= 2**bits - 1
        assert isinstance(zero, int)
        values = np.array([0.0, min(low, 0), max(high, 0)])
        codes = np.clip(np.rint(values / scale) + zero, 0, 2**bits - 1)
        restored = (codes - zero) * scale
        assert restored[0] == 0
        assert (np.abs(restored - values) <= scale / 2 * (1 + 1e-9)).all()
