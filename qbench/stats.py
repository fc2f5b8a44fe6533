"""The statistics of the report, as functions of raw samples. Nothing here answers for nothing: empty raises.

scipy is imported inside the functions that need it, because listing and planning never do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

CONFIDENCE = 0.95
ENOUGH_ROUNDS = 6  # below, the range is shown: a bootstrap over 3 rounds covers at most 75 % (methodology)
Z95 = 1.96
POWER = 2.8  # 1.96 + 0.84: two-sided 5 %, power 80 % (Card et al. 2020, arXiv:2010.06595)

IntervalKind = Literal["range", "median95", "paired95", "wilson95", "normal95"]


@dataclass(frozen=True, slots=True)
class Interval:
    """Two ends and what they mean: `range` is smallest to largest and promises no coverage."""

    low: float
    high: float
    kind: IntervalKind
    n: int


@dataclass(frozen=True, slots=True)
class TooFew:
    """A percentile that this many samples cannot support."""

    n: int
    needed: int
    p: float

    @property
    def reason(self) -> str:
        """The words that stand where the figure would."""
        return f"n too small: p{100 * self.p:g} needs {self.needed:,} samples, there are {self.n:,}"


@dataclass(frozen=True, slots=True)
class Ratios:
    """Ratios baseline over candidate, one a round, so that drift between rounds cancels."""

    by_round: tuple[tuple[int, float], ...]  # (round, median of the baseline / median of the candidate)
    median: float
    interval: Interval | None  # None: one round has no spread to show
    spread: float | None  # standard deviation over mean of the ratios; None: one round


@dataclass(frozen=True, slots=True)
class Paired:
    """Two models on the same examples. Fractions of 1."""

    n: int
    worse: int  # right before, wrong now
    better: int  # wrong before, right now
    difference: float  # accuracy now minus accuracy before
    standard_error: float
    interval: Interval
    p_value: float
    detectable: float  # the smallest true difference that 80 % of such experiments would find

    @property
    def flips(self) -> float:
        """Share of examples that changed between right and wrong, in either direction."""
        return (self.worse + self.better) / self.n


def median(samples: Sequence[float]) -> float:
    """Return the median. Raises ValueError on no samples."""
    return float(np.median(_some(samples)))


def coefficient_of_variation(samples: Sequence[float]) -> float:
    """Return the sample standard deviation over the mean.

    Raises:
        ValueError: fewer than two samples, or a mean of zero.
    """
    values = _some(samples)
    if len(values) < 2 or values.mean() == 0:
        raise ValueError("a coefficient of variation needs two samples and a mean that is not zero")
    return float(values.std(ddof=1) / values.mean())


@cache
def percentile_floor(p: float) -> int:
    """Return the fewest samples that support the p-th percentile (p a fraction of 1).

    With n samples the number beyond the true percentile is Bin(n, 1 - p). One of them may be an outlier to
    discard, so at least two are wanted with 99 % confidence: P[Bin(n, 1 - p) <= 1] <= 0.01.

    Raises:
        ValueError: p is not strictly between 0 and 1.

    Source:
        Order-statistic bound, as in Le Boudec, Performance Evaluation (2010), section 2.2.
    """
    if not 0 < p < 1:
        raise ValueError(f"p={p} is no percentile between 0 and 1")
    p = max(p, 1 - p)  # the tenth percentile leaves as few samples beyond it as the ninetieth

    def enough(n: int) -> bool:
        return p**n + n * (1 - p) * p ** (n - 1) <= 0.01

    high = 2
    while not enough(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def percentile(samples: Sequence[float], p: float) -> float | TooFew:
    """Return the p-th percentile (p a fraction of 1), or why these samples are too few for it.

    Raises:
        ValueError: no samples at all.
    """
    values = _some(samples)
    needed = percentile_floor(p)
    if len(values) < needed:
        return TooFew(len(values), needed, p)
    return float(np.quantile(values, p))


def ratio_by_round(baseline: Mapping[int, Sequence[float]], rounds: Mapping[int, Sequence[float]]) -> Ratios:
    """Return baseline over candidate inside each round that both have; above 1, the candidate is faster.

    Raises:
        ValueError: no round in common.
    """
    common = sorted(baseline.keys() & rounds.keys())
    if not common:
        raise ValueError("no round in which both were measured")
    ratios = [median(baseline[k]) / median(rounds[k]) for k in common]
    return Ratios(
        by_round=tuple(zip(common, ratios, strict=True)),
        median=median(ratios),
        interval=interval_of(ratios),
        spread=coefficient_of_variation(ratios) if len(ratios) > 1 else None,
    )


def interval_of(ratios: Sequence[float]) -> Interval | None:
    """Return what a few figures of one kind say of their median: nothing, a range, or its interval."""
    n = len(ratios)
    if n < 2:
        return None
    if n < ENOUGH_ROUNDS:
        return Interval(min(ratios), max(ratios), "range", n)
    return _median_interval(ratios)


def ratio_of_groups(
    baseline: Mapping[int, Sequence[float]], rounds: Mapping[int, Sequence[float]]
) -> tuple[float, Interval | None]:
    """Return baseline over candidate where the two were not measured in the same rounds (two engines).

    Nothing cancels, so the range is over all pairs of rounds, and from 6 rounds a side over all pairs of the
    two medians' intervals: wider than either, as it must be.

    Raises:
        ValueError: one of them has no round.
    """
    over = [median(samples) for samples in baseline.values()]
    under = [median(samples) for samples in rounds.values()]
    value = median(over) / median(under)
    n = min(len(over), len(under))
    if n < 2:
        return value, None
    if n < ENOUGH_ROUNDS:
        return value, Interval(min(over) / max(under), max(over) / min(under), "range", n)
    top, bottom = _median_interval(over), _median_interval(under)
    return value, Interval(top.low / bottom.high, top.high / bottom.low, "median95", n)


def _median_interval(values: Sequence[float]) -> Interval:
    """Return the order-statistic interval of the median: it always holds the median, whatever the shape.

    The widest pair of ranks that leaves out at most 5 % is cut symmetrically: 6 to 8 rounds give smallest to
    largest, 12 the third to the tenth.

    Source:
        David and Nagaraja 2003, Order Statistics, section 7.1: P = 1 - 2 P[Bin(n, 1/2) < k].
    """
    from scipy.stats import binom

    ordered, n = sorted(values), len(values)
    rank = max((k for k in range(1, n // 2 + 1) if 2 * binom.cdf(k - 1, n, 0.5) <= 1 - CONFIDENCE), default=1)
    return Interval(ordered[rank - 1], ordered[n - rank], "median95", n)


def paired(before: Sequence[float], now: Sequence[float]) -> Paired:
    """Compare two models, each sample 1 where it was right, on the same examples in the same order.

    The standard error is sqrt(b + c - (b - c)^2 / n) / n with one half added to b (changed for the worse)
    and to c (for the better), so that few flips do not promise certainty. With no flip at all the interval
    and the detectable effect are 3 / n, the rule of three.

    Raises:
        ValueError: no examples, or two lengths.

    Source:
        Agresti and Min 2005, Statistics in Medicine 24 (adding one half); McNemar 1947, Psychometrika 12;
        Hanley and Lippman-Hand 1983, JAMA 249 (rule of three).
    """
    from scipy.stats import binomtest

    first, second = _some(before).astype(bool), _some(now).astype(bool)
    if len(first) != len(second):
        raise ValueError(f"{len(first)} examples cannot be paired with {len(second)}")
    n = len(first)
    worse, better = int((first & ~second).sum()), int((~first & second).sum())
    b, c = worse + 0.5, better + 0.5
    error = math.sqrt(b + c - (b - c) ** 2 / n) / n  # never below 1 / n, thanks to the halves
    flipped = worse + better
    difference = (better - worse) / n
    half = max(Z95 * error, 3 / n)  # the first flip must not look surer than none
    return Paired(
        n=n,
        worse=worse,
        better=better,
        difference=difference,
        standard_error=error,
        interval=Interval(max(-1.0, difference - half), min(1.0, difference + half), "paired95", n),
        p_value=float(binomtest(worse, flipped, 0.5).pvalue) if flipped else 1.0,
        detectable=min(1.0, max(POWER * error, 3 / n)),
    )


def verdict(interval: Interval, limit: float) -> Literal["pass", "fail", "inconclusive"]:
    """Judge a difference by its whole interval: pass only if all of it is at or above the limit."""
    if interval.low >= limit:
        return "pass"
    return "fail" if interval.high < limit else "inconclusive"


def agreement(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the share of examples with the same answer. Raises ValueError on none, or on two lengths."""
    one, two = _some(first), _some(second)
    if len(one) != len(two):
        raise ValueError(f"{len(one)} answers cannot be paired with {len(two)}")
    return float((one == two).mean())


def share_interval(hits: int, n: int) -> Interval:
    """Return Wilson's 95 % interval of a share (Wilson 1927, JASA 22). Raises ValueError on n = 0."""
    from scipy.stats import binomtest

    if n < 1:
        raise ValueError("a share of nothing")
    found = binomtest(hits, n).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(float(found.low), float(found.high), "wilson95", n)


def mean_interval(samples: Sequence[float]) -> tuple[float, Interval | None]:
    """Return the mean and its normal 95 % interval; None for one sample. Raises ValueError on none."""
    values = _some(samples)
    mean = float(values.mean())
    if len(values) < 2:
        return mean, None
    half = Z95 * float(values.std(ddof=1)) / math.sqrt(len(values))
    return mean, Interval(mean - half, mean + half, "normal95", len(values))


def share_bounds(hits: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the exact two-sided bounds of a share (Clopper and Pearson 1934, Biometrika 26).

    Raises:
        ValueError: no trials, or more hits than trials.
    """
    from scipy.stats import binomtest

    if n < 1 or not 0 <= hits <= n:
        raise ValueError(f"{hits} of {n} is no share")
    found = binomtest(hits, n).proportion_ci(confidence, method="exact")
    return float(found.low), float(found.high)


def _some(samples: Sequence[float] | np.ndarray) -> np.ndarray:
    values = np.asarray(samples, dtype=np.float64)
    if values.size == 0:
        raise ValueError("no samples: nothing has no statistic")
    return values
