"""The detector by its laws and by hand: what fails, what passes, and what cannot be told."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import wilcoxon

from qbench.gate.detect import ALPHA, Comparison, judge, least_rounds

QUIET = 0.005  # spread of the figures of one round, as a share


def rounds(slower: float = 1.0, n: int = 12, spread: float = QUIET, seed: int = 0) -> Comparison:
    rng = np.random.default_rng(seed)
    reference = 0.01 * np.exp(rng.normal(0, 0.2, n))  # the machine drifts, both with it
    candidate = reference * slower * np.exp(rng.normal(0, spread, n))
    return Comparison("cell", tuple(reference), tuple(candidate))


def test_a_slow_down_of_five_per_cent_fails_and_says_by_how_much() -> None:
    (found,) = judge([rounds(1.05)])
    assert found.result == "fail"
    assert found.slow_down == pytest.approx(1.05, abs=0.005)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.slow_down <= found.high
    assert "slower by " in found.reason


def test_drift_that_both_share_cancels() -> None:
    (found,) = judge([rounds(1.0, spread=0.0001)])
    assert found.result == "pass"


@pytest.mark.parametrize("slower", [1.01, 1.02])
def test_a_real_slow_down_below_the_practical_limit_passes(slower: float) -> None:
    """The test finds it, in every round; the limit says that it does not matter."""
    (found,) = judge([rounds(slower, spread=0.0005)])
    assert found.p_value == 2**-12
    assert found.result == "pass"


def test_what_the_machine_itself_shows_is_no_failure() -> None:
    one = rounds(1.05)
    (found,) = judge([Comparison("cell", one.reference, one.candidate, floor=1.06)])
    assert found.result == "inconclusive"
    assert "two copies of one file differ by here (6.0%)" in found.reason


def test_noise_that_hides_a_slow_down_is_inconclusive_and_never_a_pass() -> None:
    (found,) = judge([rounds(1.0, spread=0.15, seed=3)])
    assert found.result == "inconclusive"
    assert "measure more rounds" in found.reason


def test_too_few_rounds_could_never_fail_and_are_not_run() -> None:
    (found,) = judge([rounds(2.0, n=4)])
    assert found.result == "not_run"
    assert found.slow_down is None
    assert "at least 5 rounds" in found.reason


def test_a_larger_family_asks_for_more_rounds() -> None:
    family = [rounds(1.0, n=9, seed=seed) for seed in range(20)]
    assert {found.result for found in judge(family)} <= {"pass", "inconclusive"}
    assert {found.result for found in judge([*family, *family])} == {"not_run"}


def test_the_clearest_of_many_needs_the_smallest_p_value() -> None:
    """By hand: of two p values 2^-5 = 0.031, Holm asks 0.025 of the first, so neither is rejected."""
    five = Comparison("five", (1.0,) * 5, (1.1, 1.11, 1.12, 1.13, 1.14))
    assert judge([five])[0].result == "fail"
    assert {found.result for found in judge([five, five])} == {"not_run"}
    six = Comparison("six", (1.0,) * 6, (1.1, 1.11, 1.12, 1.13, 1.14, 1.15))
    assert [found.result for found in judge([six, six])] == ["fail", "fail"]


@pytest.mark.parametrize(("family", "rounds"), [(1, 5), (2, 6), (20, 9), (200, 12)])
def test_the_fewest_rounds_are_those_whose_smallest_p_value_reaches_the_level(
    family: int, rounds: int
) -> None:
    assert least_rounds(family) == rounds
    assert 2**-rounds <= ALPHA / family < 2 ** -(rounds - 1)
    assert wilcoxon(np.arange(1, rounds + 1), alternative="greater").pvalue == 2**-rounds


def test_an_improvement_is_told_too() -> None:
    (found,) = judge([rounds(1 / 1.10)])
    assert found.result == "pass"
    assert found.faster
    assert not judge([rounds(1 / 1.01, spread=0.0005)])[0].faster  # below the limit


def test_swapping_the_two_sides_turns_the_estimate_round() -> None:
    one = rounds(1.07, seed=5)
    (there,) = judge([one])
    (back,) = judge([Comparison("cell", one.candidate, one.reference)])
    assert there.slow_down is not None
    assert back.slow_down is not None
    assert there.low is not None
    assert back.high is not None
    assert math.isclose(there.slow_down * back.slow_down, 1.0)
    assert math.isclose(there.low * back.high, 1.0)


def test_one_wild_round_decides_nothing() -> None:
    """A mean would be 8 % slower for it."""
    one = rounds(1.0, spread=0.001)
    wild = (one.candidate[0] * 2, *one.candidate[1:])
    (found,) = judge([Comparison("cell", one.reference, wild)])
    assert found.result == "pass"


def test_false_alarms_of_a_night_stay_below_the_level() -> None:
    """Of 300 simulated nights of 10 unchanged cells with as much noise as the limit is large."""
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(300):
        night = [Comparison("cell", (1.0,) * 12, tuple(np.exp(rng.normal(0, 0.06, 12)))) for _ in range(10)]
        alarms += any(found.result == "fail" for found in judge(night))
    assert alarms / 300 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 300)


def test_the_same_figures_in_every_round_pass() -> None:
    (found,) = judge([Comparison("cell", (1.0,) * 12, (1.0,) * 12)])
    assert found.result == "pass"
    assert found.p_value == 1.0


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_a_clock_that_stood_still_or_worse_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="not a positive number"):
        Comparison("cell", (1.0, 1.0), (1.0, bad))


def test_two_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="2 rounds of the reference, 1 of the candidate"):
        Comparison("cell", (1.0, 1.0), (1.0,))


def test_a_limit_that_fails_what_did_not_change_is_refused() -> None:
    with pytest.raises(ValueError, match="limit"):
        judge([rounds()], limit=1.0)


def test_no_comparisons_have_no_findings() -> None:
    assert judge([]) == ()
