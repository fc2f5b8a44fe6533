"""Ranks: the signed-rank test, the estimate and interval that belong to it, and many tests of one night.

Source:
    Wilcoxon 1945, Biometrics Bulletin 1(6); Hodges and Lehmann 1963, Ann. Math. Statist. 34(2); Holm 1979,
    Scand. J. Statist. 6(2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Tested:
    """One test of a family: its p value, the level it had to reach, and whether it did."""

    p_value: float
    level: float
    rejected: bool


def p_value(logs: np.ndarray) -> float:
    """Return the chance of ranks as high as these where nothing is slower."""
    from scipy.stats import wilcoxon

    if not logs.any():  # the same figures in every round
        return 1.0
    return float(wilcoxon(logs, alternative="greater", method="auto").pvalue)


def signed_rank_interval(
    values: Sequence[float] | np.ndarray, confidence: float
) -> tuple[float, float, float]:
    """Return the Hodges-Lehmann estimate of the middle and its exact interval: (middle, low, high).

    The middle is the median of all means of two values (each with itself too). The interval leaves out the
    outermost of them that the signed-rank test would reject; where even all of them do not reach the
    confidence, it is smallest to largest.

    Raises:
        ValueError: no values.

    Source:
        Hollander and Wolfe 1999, Nonparametric Statistical Methods, section 3.3.
    """
    found = np.asarray(values, dtype=np.float64)
    n = len(found)
    if not n:
        raise ValueError("no values: nothing has no middle")
    first, second = np.triu_indices(n)
    means = np.sort((found[first] + found[second]) / 2)
    counts = np.ones(1)  # of the sets of ranks 1..n with each sum: the exact law of the signed-rank statistic
    for rank in range(1, n + 1):
        grown = np.zeros(len(counts) + rank)
        grown[: len(counts)] += counts
        grown[rank:] += counts
        counts = grown
    below = np.cumsum(counts) / 2.0**n
    cut = int(np.searchsorted(below, (1 - confidence) / 2, side="right"))  # sums rejected at either end
    cut = max(cut - 1, 0)
    return float(np.median(means)), float(means[cut]), float(means[len(means) - 1 - cut])


def holm(p_values: Sequence[float], alpha: float) -> list[Tested]:
    """Test each p value, smallest first, at alpha over how many are left; stop at the first that stands."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    tested: dict[int, Tested] = {}
    going = True
    for place, i in enumerate(order):
        level = alpha / (len(p_values) - place)
        going = going and p_values[i] <= level
        tested[i] = Tested(p_values[i], level, going)
    return [tested[i] for i in range(len(p_values))]
