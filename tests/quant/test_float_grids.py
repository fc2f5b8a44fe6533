"""Narrow float formats, by the numbers of their specifications."""

from statistics import NormalDist

import numpy as np
import pytest

from qbench.quant.float_grids import NF4, on_grid, rounded

FORMATS = ["e4m3", "e5m2", "nf4", "mxfp4", "nvfp4"]
ROWS = np.random.default_rng(0).standard_normal((6, 100)).astype("f4")


def row(*values):
    return np.array([values], "f4")


# --- the numbers that a format has ------------------------------------------------------------------


@pytest.mark.parametrize(("form", "given", "wanted"), [
    # OCP OFP8, table 1: largest 448 = 1.75 * 2^8, least normal 2^-6, least 2^-9; ties go to the even one
    ("e4m3", [448, 449, 1e9, -1e9, 2**-6, 2**-9, 2**-10, 17, 19, 1.06], [448, 448, 448, -448, 2**-6, 2**-9, 0, 16, 20, 1]),  # noqa: E501
    # largest 57344 = 1.75 * 2^15, least 2^-16
    ("e5m2", [57344, 6e4, -1e9, 2**-16, 2**-17, 9, 11, 1.1], [57344, 57344, -57344, 2**-16, 0, 8, 12, 1]),
    # OCP MX, table 5: 0 0.5 1 1.5 2 3 4 6
    ("e2m1", [0.24, 0.25, 0.26, 0.75, 1.2, 2.5, 3.5, 5, 5.1, 7, -9], [0, 0, 0.5, 1, 1, 2, 4, 4, 6, 6, -6]),
])  # fmt: skip
def test_the_nearest_number_of_a_format(form, given, wanted):
    np.testing.assert_array_equal(rounded(np.array(given), form), np.array(wanted, "f4"))


def test_nf4_has_the_quantiles_of_a_normal_distribution():
    # QLoRA's construction: eight positive and seven negative quantiles and a zero, the outermost at one
    edge = (1 - 1 / 32 + 1 - 1 / 30) / 2
    above, below = ([NormalDist().inv_cdf(p) for p in np.linspace(edge, 0.5, count)[:-1]] for count in (9, 8))
    levels = sorted([*above, 0.0, *(-value for value in below)])
    np.testing.assert_allclose(NF4, np.array(levels) / max(levels), atol=1e-6)


# --- worked by hand ---------------------------------------------------------------------------------


def test_fp8_scales_every_row_so_that_its_largest_is_the_formats():
    # 896 -> scale 2: 34 is 17 steps, a tie that goes to 16; 896 / 57344 is 2^-6: 9 is 576 steps -> 512 (tie)
    np.testing.assert_array_equal(on_grid(row(896, 34, -34), "e4m3"), row(896, 32, -32))
    np.testing.assert_array_equal(on_grid(row(896, 9, 11), "e5m2"), row(896, 8, 12))
    np.testing.assert_array_equal(
        on_grid(np.array([[448, 17], [4480, 170]]), "e4m3"), [[448, 16], [4480, 160]]
    )


def test_nf4_is_the_largest_magnitude_times_a_level():
    found = on_grid(row(-4, 2, 0.01, 2, 3, -1.5), "nf4", block=3)
    wanted = row(-4, 4 * NF4[12], 0, 3 * NF4[14], 3, 3 * NF4[2])  # 0.5, 0.0025; 0.667, 1 and -0.5
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_mxfp4_shares_a_power_of_two():
    # floor(log2(13)) - 2 = 1, a scale of 2: 13 is 6.5 -> 6, 5 is 2.5 -> 2, 1 is 0.5
    np.testing.assert_array_equal(on_grid(row(13, -5, 1, 0.4), "mxfp4"), row(12, -4, 1, 0))
    # the largest of 4 is a power of two itself: floor(log2(4)) - 2 = 0
    np.testing.assert_array_equal(on_grid(row(4, 0.5, 0.25), "mxfp4"), row(4, 0.5, 0))
    # blocks of 32, the last one shorter: each its own scale
    values = np.full((1, 40), 6.0)
    values[0, 32:] = 0.75
    np.testing.assert_array_equal(on_grid(values, "mxfp4"), values)


def test_nvfp4_scales_blocks_in_fp8_and_the_tensor_in_float32():
    # tensor: 2688 / (6 * 448) = 1. Blocks of 16: 2688 / 6 = 448; 102 / 6 = 17, which e4m3 rounds to 16:
    # 102 is 6.375 -> 6 of them, 40 is 2.5 -> 2
    values = np.zeros((1, 32))
    values[0, 0], values[0, 16], values[0, 17] = 2688, 102, 40
    found = on_grid(values, "nvfp4")
    assert (found[0, 0], found[0, 16], found[0, 17]) == (2688, 96, 32)
    assert (found[values == 0] == 0).all()


def test_a_block_far_below_the_tensors_largest_is_lost_in_nvfp4_and_kept_in_mxfp4():
    values = np.zeros((1, 32))
    values[0, 0], values[0, 16:] = 1, 1e-6  # 1e-6 / 6 is below half of e4m3's least, 2^-9 / 2688
    assert (on_grid(values, "nvfp4")[0, 16:] == 0).all()
    values = np.zeros((1, 64))
    values[0, 0], values[0, 32:] = 1, 1e-6
    assert (on_grid(values, "mxfp4")[0, 32:] > 0).all()


# --- laws -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_zero_stays_zero_and_a_row_of_zeros_too(form):
    values = ROWS.copy()
    values[0], values[1, ::3] = 0, 0
    found = on_grid(values, form)
    assert np.isfinite(found).all()
    assert (found[values == 0] == 0).all()
    assert (on_grid(np.zeros((2, 5)), form) == 0).all()


@pytest.mark.parametrize("form", ["e4m3", "e5m2", "nf4", "mxfp4"])
def test_what_lies_on_the_grid_stays(form):
    once = on_grid(ROWS, form)
    np.testing.assert_allclose(on_grid(once, form), once, rtol=1e-6)


@pytest.mark.parametrize(("form", "most"), [("e4m3", 0.04), ("e5m2", 0.08), ("nf4", 0.12), ("mxfp4", 0.2), ("nvfp4", 0.12)])  # fmt: skip # noqa: E501
def test_the_error_is_as_the_precision_lets_expect(form, most):
    error = np.sqrt(((on_grid(ROWS, form) - ROWS) ** 2).mean() / (ROWS**2).mean())
    assert most / 3 < error < most


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("size", [1e-42, 1e-30, 1e30, 3e38])
def test_tiny_and_huge_weights_stay_finite(form, size):
    assert np.isfinite(on_grid((ROWS / 5 * size).astype("f4"), form)).all()
