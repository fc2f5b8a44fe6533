"""Ranks by hand and by printed table: the estimate of a middle and its interval."""

from __future__ import annotations

import numpy as np
import pytest

from qbench.gate.ranks import holm, signed_rank_interval


def test_the_hodges_lehmann_estimate_by_hand() -> None:
    """Of 1, 2, 6: the means of two are 1, 1.5, 2, 3.5, 4, 6; their median is 2.75."""
    middle, low, high = signed_rank_interval([1.0, 2.0, 6.0], 0.95)
    assert (middle, low, high) == (2.75, 1.0, 6.0)


def test_the_signed_rank_interval_cuts_where_the_printed_table_does() -> None:
    """For 12 values the table's critical value is 13: the interval ends at the 14th mean from either side."""
    values = [float(2**i) for i in range(12)]
    means = sorted((a + b) / 2 for i, a in enumerate(values) for b in values[i:])
    assert signed_rank_interval(values, 0.95)[1:] == (means[13], means[-14])


def test_the_signed_rank_interval_holds_the_middle_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(2000):
        _, low, high = signed_rank_interval(rng.standard_t(3, 12), 0.95)
        held += low <= 0 <= high
    assert held / 2000 == pytest.approx(0.95, abs=0.012)


def test_nothing_has_no_middle() -> None:
    with pytest.raises(ValueError, match="no values"):
        signed_rank_interval([], 0.95)


def test_holm_stops_at_the_first_that_stands() -> None:
    """Of 0.01, 0.03, 0.04 at 0.05: 0.01 <= 0.05 / 3; 0.03 > 0.05 / 2; 0.04 <= 0.05, and it is too late."""
    assert [one.rejected for one in holm([0.04, 0.01, 0.03], 0.05)] == [False, True, False]
    assert [one.rejected for one in holm([0.01, 0.02, 0.04], 0.05)] == [True, True, True]
