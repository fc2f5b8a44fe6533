"""The floor: what the next difference of unchanged code stays below."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qbench.gate.noise import floor_of


def test_by_hand() -> None:
    """Four differences of 1 %: s = 0.01, t(0.99; 4) = 3.747."""
    assert floor_of([0.01, -0.01, 0.01, -0.01]) == pytest.approx(math.exp(3.747 * 0.01), rel=1e-4)


@pytest.mark.parametrize("few", [[], [0.01]])
def test_one_difference_has_no_spread(few: list[float]) -> None:
    assert floor_of(few) is None


def test_few_differences_give_a_wider_floor_than_many_of_the_same_size() -> None:
    few, many = floor_of([0.01, -0.01]), floor_of([0.01, -0.01] * 20)
    assert few is not None
    assert many is not None
    assert few > many > 1.02


def test_the_next_difference_stays_below_it_ninety_nine_times_of_a_hundred() -> None:
    rng = np.random.default_rng(0)
    above = 0
    for _ in range(6000):
        *seen, following = rng.normal(0, 0.01, 9)
        floor = floor_of(seen)
        assert floor is not None
        above += following > math.log(floor)
    assert above / 6000 == pytest.approx(0.01, abs=0.004)
