"""Ranges from histograms: worked by hand where that is possible, by law where it is not."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbench.quant.observers import (
    BINS,
    Grid,
    Histogram,
    entropy,
    minmax,
    mse,
    percentile,
    symmetric_errors,
)

EIGHT, SIGNED = Grid(8), Grid(8, symmetric=True)
OBSERVERS = {
    "minmax": lambda histogram, grid: minmax(histogram),
    "percentile": lambda histogram, grid: percentile(histogram, grid, 99.99),
    "mse": mse,
    "entropy": entropy,
}
WITHOUT_MINMAX = [name for name in OBSERVERS if name != "minmax"]


def histogram_of(values):
    values = np.asarray(values, "f4")
    return Histogram.over(float(values.min()), float(values.max())).plus(values)


def rounded(values, span, grid):
    """Quantize and restore, as the file will: the grid's own arithmetic, on the values themselves."""
    low, high = min(span[0], 0), max(span[1], 0)
    if grid.symmetric:
        low, high = -max(-low, high), max(-low, high)
    step = (high - low) / grid.steps or 1.0
    zero = np.round(-low / step)
    return (np.clip(np.round(values / step) + zero, 0, grid.steps) - zero) * step


def error(values, span, grid):
    return float(((rounded(values, span, grid) - values) ** 2).mean())


def samples(kind):
    rng = np.random.default_rng(3)
    return {
        "normal": rng.standard_normal(20_000),
        "relu": np.maximum(rng.standard_normal(20_000), 0),
        "heavy tails": rng.laplace(size=20_000) ** 3,
        "far from zero": rng.standard_normal(20_000) + 40,
        "negative": -np.abs(rng.standard_normal(20_000)),
        "one outlier": np.append(rng.standard_normal(20_000), 200.0),
        "flat": rng.uniform(-1, 3, 20_000),
    }[kind].astype("f4")


KINDS = ["normal", "relu", "heavy tails", "far from zero", "negative", "one outlier", "flat"]


# --- by hand ----------------------------------------------------------------------------------------


def bins(below, above, zeros=0, width=1.0):
    """Make a histogram from counts from zero outwards."""
    counts = np.array([*below[::-1], *above], np.int64)
    return Histogram(-len(below) * width, len(above) * width, width, len(below), counts, zeros)


def test_counts_land_in_their_bins_and_zeros_apart():
    histogram = Histogram.over(-BINS / 2, BINS).plus(np.array([-0.5, 0, 0, 0.25, 0.75, 1.5, BINS], "f4"))
    assert (histogram.width, histogram.below, len(histogram.counts)) == (1.0, BINS // 2, BINS // 2 + BINS)
    assert histogram.zeros == 2
    below, above = histogram.sides
    assert below[0] == 1
    assert (above[0], above[1], above[-1]) == (2, 1, 1)
    assert histogram.total == 7


def test_mse_by_hand():
    # 3 steps (2 bits). Reach 4: step 4/3, all 101 inside: 101 * (16/9) / 12 = 14.96.
    # Reach 3: step 1, one clipped at 0.5: 0.25 + 100/12 = 8.58. Reach 2: 1.5^2 + 100 * (4/9) / 12 = 5.95.
    # Reach 1: 2.5^2 + 100 * (1/9) / 12 = 7.18. Reach 0: all clipped, more than 25. So 2.
    histogram = bins([], [100, 0, 0, 1])
    assert mse(histogram, Grid(2)) == (0, 2)


def test_mse_by_hand_on_a_symmetric_grid():
    # 2 steps (2 bits: -1, 0, 1) from -b to b, so a step is b. Reach 4: 100 values within half a step of zero
    # are off by themselves, 100 * 0.25, one by 4^2 / 12. Reach 3: 25 and 0.25 clipped. Reach 2: 25 and 1.5^2.
    # Reach 1: half a step is half a bin, so all 100 are off by 1/12, and 2.5^2. Reach 0: 25 and 3.5^2.
    histogram = bins([50, 0, 0, 1], [50])
    errors = symmetric_errors(histogram, Grid(2, symmetric=True))
    np.testing.assert_allclose(errors, [37.25, 100 / 12 + 6.25, 27.25, 25.25, 25 + 16 / 12])
    assert mse(histogram, Grid(2, symmetric=True)) == (-1, 1)


def test_percentile_by_hand():
    # 1,000 values, 98 %: 10 may be cut on each side.
    histogram = bins([100, 8, 2], [400, 50, 9, 1], zeros=430)
    assert percentile(histogram, EIGHT, 98) == (-1, 2)
    assert percentile(histogram, SIGNED, 98) == (-2, 2)  # 20 in all: 1 + 11 beyond 2, 70 beyond 1
    assert percentile(histogram, EIGHT, 99.99) == (-3, 4)


def test_zeros_are_values_to_a_percentile_but_no_range_is_left_without_any_width():
    assert percentile(bins([], [1, 0, 1], zeros=10_000), EIGHT, 99.0) == (0, 3)


def test_entropy_keeps_all_where_every_bin_has_a_level_of_its_own():
    assert entropy(bins([], [5, 4, 3, 1]), EIGHT) == (0, 4)


def test_only_zeros():
    histogram = histogram_of(np.zeros(9)).plus(np.zeros(3, "f4"))
    assert (histogram.zeros, histogram.total) == (12, 12)
    assert all(
        observe(histogram, grid) == (0, 0) for observe in OBSERVERS.values() for grid in (EIGHT, SIGNED)
    )


# --- by law -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", [EIGHT, SIGNED], ids=["affine", "symmetric"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OBSERVERS)
def test_a_range_has_zero_inside_and_is_never_wider_than_what_was_seen(name, kind, grid):
    values = samples(kind)
    low, high = OBSERVERS[name](histogram_of(values), grid)
    assert min(values.min(), 0) <= low <= 0 <= high <= max(values.max(), 0)
    assert low < high


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=40))
def test_the_same_for_any_values_whatever(values):
    histogram = histogram_of(values)
    assert histogram.total == len(values)
    assert histogram.zeros == values.count(0)
    assert (histogram.counts >= 0).all()
    for observe in OBSERVERS.values():
        for grid in (EIGHT, SIGNED):
            low, high = observe(histogram, grid)
            assert min(*values, 0) <= low <= 0 <= high <= max(*values, 0)


@pytest.mark.parametrize("grid", [EIGHT, SIGNED, Grid(16)], ids=["affine", "symmetric", "16 bits"])
@pytest.mark.parametrize("kind", KINDS)
def test_mse_is_never_worse_than_minmax_on_the_values_themselves(kind, grid):
    values = samples(kind)
    histogram = histogram_of(values)
    least, all_of_it = error(values, mse(histogram, grid), grid), error(values, minmax(histogram), grid)
    # The histogram's bins stand for the values in them, and the file rounds the zero point to an integer.
    assert least <= all_of_it * 1.02


@pytest.mark.parametrize("grid", [EIGHT, SIGNED], ids=["affine", "symmetric"])
@pytest.mark.parametrize("name", WITHOUT_MINMAX)
def test_a_single_outlier_is_clipped(name, grid):
    values = np.append(np.random.default_rng(3).standard_normal(400_000), 30.0).astype("f4")
    histogram = histogram_of(values)
    span = OBSERVERS[name](histogram, grid)
    assert span[1] < 25
    assert error(values[:-1], span, grid) < 0.8 * error(values[:-1], minmax(histogram), grid)


def test_mse_clips_an_outlier_as_far_as_calculus_says():
    # N values inside and one at a, symmetric, reach b: (a - b)^2 + N (2 b / 254)^2 / 12 is least at
    # b = a / (1 + N / (3 * 254^2)), as long as nearly all of N lie beyond half a step.
    values = np.append(np.random.default_rng(3).uniform(-8, 8, 400_000), 30.0).astype("f4")
    wanted = 30 / (1 + 400_000 / (3 * 254**2))
    assert mse(histogram_of(values), SIGNED)[1] == pytest.approx(wanted, rel=0.01)


@pytest.mark.parametrize("kind", ["flat", "relu", "negative"])
def test_at_sixteen_bits_there_is_next_to_nothing_to_clip(kind):
    values = samples(kind)
    low, high = mse(histogram_of(values), Grid(16))
    assert high - low > 0.97 * (max(values.max(), 0) - min(values.min(), 0))


def test_a_percentile_keeps_at_least_its_share():
    for kind in KINDS:
        values = samples(kind)
        for grid in (EIGHT, SIGNED):
            low, high = percentile(histogram_of(values), grid, 99.0)
            reach = (-max(-low, high), max(-low, high)) if grid.symmetric else (low, high)
            assert ((values >= reach[0]) & (values <= reach[1])).mean() >= 0.99


def test_batches_add_up_to_the_whole():
    values = samples("normal")
    whole = histogram_of(values)
    parts = replace(whole, counts=np.zeros_like(whole.counts), zeros=0)
    for part in np.split(values, 10):
        parts = parts.plus(part)
    np.testing.assert_array_equal(parts.counts, whole.counts)
    assert parts.zeros == whole.zeros


@pytest.mark.parametrize("name", OBSERVERS)
def test_a_mirrored_distribution_has_the_mirrored_range(name):
    values = samples("heavy tails")
    low, high = OBSERVERS[name](histogram_of(values), EIGHT)
    mirrored = OBSERVERS[name](histogram_of(-values), EIGHT)
    width = np.abs(values).max() / BINS
    np.testing.assert_allclose(mirrored, (-high, -low), atol=17 * width)
