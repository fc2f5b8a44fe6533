import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from qbench.stats import (
    Interval,
    TooFew,
    agreement,
    coefficient_of_variation,
    mean_interval,
    median,
    paired,
    percentile,
    percentile_floor,
    ratio_by_round,
    ratio_of_groups,
    share_bounds,
    share_interval,
    verdict,
)


@pytest.mark.parametrize(("p", "n"), [(0.5, 11), (0.9, 64), (0.95, 130), (0.99, 662), (0.999, 6636)])
def test_the_percentile_floor_is_that_of_the_methodology(p, n):
    assert percentile_floor(p) == n


@given(st.floats(0.05, 0.995))
def test_the_floor_is_the_smallest_n_of_the_binomial_bound(p):
    n, p = percentile_floor(p), max(p, 1 - p)
    assert binom.cdf(1, n, 1 - p) <= 0.01 + 1e-9
    assert n == 2 or binom.cdf(1, n - 1, 1 - p) > 0.01 - 1e-9


def test_a_percentile_of_too_few_samples_is_a_reason():
    found = percentile([1.0] * 63, 0.9)
    assert isinstance(found, TooFew)
    assert found.reason == "n too small: p90 needs 64 samples, there are 63"
    assert percentile([1.0] * 64, 0.9) == 1.0


@pytest.mark.parametrize(
    "function",
    [median, coefficient_of_variation, mean_interval, lambda x: percentile(x, 0.5),
     lambda x: paired(x, x), lambda x: agreement(x, x), lambda x: ratio_by_round({0: x}, {0: x}),
     lambda _: ratio_by_round({}, {}), lambda _: share_interval(0, 0)],
)  # fmt: skip
def test_nothing_has_no_statistic(function):
    with pytest.raises(ValueError, match=r"no samples|no round|nothing|needs"):
        function([])


def test_speed_up_worked_by_hand():
    # medians 10, 20, 12 over 4, 8, 5: ratios 2.5, 2.5, 2.4
    found = ratio_by_round({0: [10, 10, 99], 1: [20], 2: [12], 7: [1]}, {0: [4], 1: [8], 2: [5], 9: [1]})
    assert found.by_round == ((0, 2.5), (1, 2.5), (2, 2.4))
    assert found.median == 2.5
    assert found.interval == Interval(2.4, 2.5, "range", 3)
    assert found.spread == pytest.approx(np.std([2.5, 2.5, 2.4], ddof=1) / np.mean([2.5, 2.5, 2.4]))


def test_one_round_has_no_interval_and_no_spread():
    found = ratio_by_round({0: [2.0]}, {0: [1.0]})
    assert (found.median, found.interval, found.spread) == (2.0, None, None)


@given(st.lists(st.floats(0.5, 2), min_size=2, max_size=12), st.floats(0.1, 10))
def test_drift_common_to_a_round_cancels(ratios, drift):
    base = {k: [1.0] for k in range(len(ratios))}
    cell = {k: [1 / r] for k, r in enumerate(ratios)}
    drifted = {k: drift ** (k % 2) for k in base}
    still = ratio_by_round(base, cell)
    moved = ratio_by_round(
        {k: [v[0] * drifted[k]] for k, v in base.items()}, {k: [v[0] * drifted[k]] for k, v in cell.items()}
    )
    assert moved.median == pytest.approx(still.median)
    assert moved.interval.low == pytest.approx(still.interval.low)


def test_from_six_rounds_the_medians_interval_covers_at_least_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        cell = {k: [math.exp(-0.1 * rng.standard_normal())] for k in range(6)}
        interval = ratio_by_round({k: [2.0] for k in range(6)}, cell).interval
        assert interval.kind == "median95"
        hits += interval.low <= 2.0 <= interval.high
    assert hits / 400 > 0.94  # 1 - 2 / 2^6 = 0.969
    assert ratio_by_round({k: [2.0] for k in range(5)}, {k: [1.0] for k in range(5)}).interval.kind == "range"


@given(st.lists(st.floats(0.5, 4), min_size=2, max_size=14))
def test_a_speed_up_lies_inside_its_own_interval(ratios):
    found = ratio_by_round({k: [1.0] for k in range(len(ratios))}, {k: [1 / r] for k, r in enumerate(ratios)})
    assert found.interval.low <= found.median <= found.interval.high


def test_twelve_rounds_leave_out_two_on_either_side():
    # 2 P[Bin(12, 1/2) < 3] = 2 (1 + 12 + 66) / 4096 = 0.039, and < 4 would be 0.146
    rounds = ratio_by_round({k: [1.0] for k in range(12)}, {k: [1 / (k + 1)] for k in range(12)})
    assert (round(rounds.interval.low, 9), round(rounds.interval.high, 9)) == (3, 10)


def test_unpaired_engines_get_the_range_of_all_pairs():
    value, interval = ratio_of_groups({0: [10], 1: [12], 2: [14]}, {0: [4], 1: [5], 2: [6]})
    assert value == 12 / 5
    assert interval == Interval(10 / 6, 14 / 4, "range", 3)
    _, wide = ratio_of_groups({k: [10 + k] for k in range(6)}, {k: [5 + k / 2] for k in range(6)})
    assert wide == Interval(10 / 7.5, 15 / 5, "median95", 6)
    assert ratio_of_groups({0: [1]}, {0: [1], 1: [1]})[1] is None


def test_paired_difference_worked_by_hand():
    # 100 examples, 3 worse, 1 better: b = 3.5, c = 1.5, SE = sqrt(5 - 4 / 100) / 100
    before = [1] * 90 + [0] * 10
    now = [0] * 3 + [1] * 87 + [1] + [0] * 9
    found = paired(before, now)
    assert (found.worse, found.better, found.difference) == (3, 1, -0.02)
    assert found.standard_error == pytest.approx(math.sqrt(4.96) / 100)
    assert found.interval.high == pytest.approx(-0.02 + 1.96 * found.standard_error)
    assert found.detectable == pytest.approx(2.8 * found.standard_error)
    assert found.p_value == pytest.approx(0.625)  # 2 * (1 + 4) / 16
    assert found.flips == 0.04


def test_no_flip_promises_three_over_n_and_no_more():
    found = paired([1, 0] * 150, [1, 0] * 150)
    assert (found.p_value, found.detectable, found.interval.low) == (1.0, 0.01, -0.01)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_swapping_the_two_models_turns_the_difference_around(pairs):
    before, now = zip(*pairs, strict=True)
    there, back = paired(before, now), paired(now, before)
    assert there.difference == -back.difference
    assert there.p_value == back.p_value
    assert there.standard_error == pytest.approx(back.standard_error)
    assert there.standard_error > 0


def test_two_lengths_cannot_be_paired():
    with pytest.raises(ValueError, match="3 examples cannot be paired with 2"):
        paired([1, 1, 1], [1, 1])
    with pytest.raises(ValueError, match="3 answers cannot be paired with 2"):
        agreement([1, 1, 1], [1, 1])


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [(-0.009, 0.01, "pass"), (-0.01, 0, "pass"), (-0.05, -0.011, "fail"), (-0.05, -0.01, "inconclusive"),
     (-0.02, 0.02, "inconclusive")],
)  # fmt: skip
def test_a_difference_is_judged_by_its_whole_interval(low, high, outcome):
    assert verdict(Interval(low, high, "paired95", 100), -0.01) == outcome


def test_variation_by_hand():
    assert coefficient_of_variation([1, 3]) == pytest.approx(math.sqrt(2) / 2)
    with pytest.raises(ValueError, match="two samples"):
        coefficient_of_variation([1])


def test_shares_and_means_carry_their_interval():
    wilson = share_interval(90, 100)  # Wilson by hand: (0.9 + 1.9207/100 -+ 1.96 * 0.03151) / 1.038415
    assert wilson.low == pytest.approx(0.8256, abs=2e-4)
    assert wilson.high == pytest.approx(0.9448, abs=2e-4)
    assert mean_interval([3.0]) == (3.0, None)
    mean, interval = mean_interval([1.0, 3.0])
    assert (mean, interval.low) == (2.0, pytest.approx(2 - 1.96))


def test_a_low_percentile_needs_as_many_samples_as_its_mirror_image():
    assert percentile_floor(0.10) == percentile_floor(0.90) == 64
    assert percentile_floor(0.01) == percentile_floor(0.99) == 662


def test_one_flip_is_no_surer_than_none():
    none, one = paired([1] * 50, [1] * 50), paired([1] * 50, [1] * 49 + [0])
    assert one.interval.high - one.interval.low >= none.interval.high - none.interval.low
    assert paired([1, 1], [1, 1]).detectable <= 1


# --- exact bounds of a share ------------------------------------------------------------------------


def test_no_alarm_in_thirty_nights_is_still_up_to_a_tenth() -> None:
    """Clopper and Pearson: 1 - 0.025^(1/30) = 0.1157."""
    assert share_bounds(0, 30) == (0.0, pytest.approx(1 - 0.025 ** (1 / 30)))
    assert share_bounds(30, 30) == (pytest.approx(0.025 ** (1 / 30)), 1.0)


@pytest.mark.parametrize(("hits", "n"), [(0, 0), (3, 2), (-1, 5)])
def test_a_share_of_nothing_is_refused(hits: int, n: int) -> None:
    with pytest.raises(ValueError, match="no share"):
        share_bounds(hits, n)
