"""Which range of an activation its integers should span, chosen from a histogram of its values.

All of them return (low, high) with zero inside, never wider than what was seen. A wider range clips
nothing and rounds more coarsely; a narrower one gives up the rarest values for finer steps.

onnxruntime 1.31 has observers too, but its entropy one compares 128 bins with 128 levels: one candidate, the
whole range. It also grows its histogram's bins with every batch that holds a larger value, without bound.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

BINS = 2048  # on the side of zero that reaches further; TensorRT's choice (Migacz, GTC 2017)
STRIDE = 8  # bins between two ranges that are tried: 0.4 % of what was seen
TINY = 1e-30  # a width whose inverse a 32-bit float holds
Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Grid:
    """The integers of an activation: how many bits, and whether zero must be their middle."""

    bits: int
    symmetric: bool = False

    @property
    def steps(self) -> int:
        """Return the steps from the lowest code to the highest; a symmetric grid leaves out -128."""
        return 2**self.bits - (2 if self.symmetric else 1)


@dataclass(frozen=True, slots=True)
class Histogram:
    """How often an activation took which value; zero is an edge, exact zeros stand apart."""

    low: float  # the least value seen, or zero
    high: float  # the greatest, or zero
    width: float  # of a bin; 0 where nothing but zero was seen
    below: int  # bins below zero
    counts: np.ndarray  # (below + bins above zero,) int64
    zeros: int = 0

    @classmethod
    def over(cls, low: float, high: float) -> Histogram:
        """Return an empty histogram for values from `low` to `high`."""
        low, high = min(low, 0.0), max(high, 0.0)
        width = max(high, -low) / BINS
        if not width:
            return cls(0.0, 0.0, 0.0, 0, np.zeros(0, np.int64))
        below, above = (min(BINS, int(np.ceil(side / width))) for side in (-low, high))
        return cls(low, high, width, below, np.zeros(below + above, np.int64))

    def plus(self, values: np.ndarray) -> Histogram:
        """Return the histogram with these values counted; those outside go to the outermost bins."""
        flat = values.ravel()
        zeros = int(flat.size - np.count_nonzero(flat))
        if not self.width:
            return replace(self, zeros=self.zeros + flat.size)
        scaled = (
            flat * np.float32(1 / self.width) if self.width > TINY else flat.astype(np.float64) / self.width
        )
        bins = np.floor(scaled).astype(np.int32) + self.below
        found = np.bincount(np.clip(bins, 0, len(self.counts) - 1), minlength=len(self.counts))
        found[min(self.below, len(found) - 1)] -= zeros
        return replace(self, counts=self.counts + found, zeros=self.zeros + zeros)

    @property
    def total(self) -> int:
        """Return how many values were counted."""
        return int(self.counts.sum()) + self.zeros

    @property
    def sides(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the counts below zero and above it, each from zero outwards."""
        return self.counts[: self.below][::-1], self.counts[self.below :]

    @property
    def sizes(self) -> np.ndarray:
        """Return the counts of the values' distances from zero, from zero outwards."""
        below, above = self.sides
        both = np.zeros(max(len(below), len(above)), np.int64)
        both[: len(below)] += below
        both[: len(above)] += above
        return both

    def between(self, below: int, above: int) -> Range:
        """Return the range that takes so many bins on each side of zero, never wider than what was seen."""
        return max(-below * self.width, self.low), min(above * self.width, self.high)


def minmax(histogram: Histogram) -> Range:
    """Return all that was seen."""
    return histogram.low, histogram.high


def percentile(histogram: Histogram, grid: Grid, share: float) -> Range:
    """Return a range that holds at least `share` percent of the values; half of the rest is cut on each side.

    All that was seen where that would leave nothing but zero.
    """
    cut = histogram.total * (100 - share) / 100
    if grid.symmetric:
        kept = _least(_beyond(histogram.sizes), cut)
        return histogram.between(kept, kept) if kept else minmax(histogram)
    below, above = (_least(_beyond(side), cut / 2) for side in histogram.sides)
    return histogram.between(below, above) if below or above else minmax(histogram)


def mse(histogram: Histogram, grid: Grid) -> Range:
    """Return the range with the least expected squared error of rounding and clipping; see `_Side.error`."""
    if grid.symmetric:
        kept = int(np.argmin(symmetric_errors(histogram, grid)))
        return histogram.between(kept, kept)
    low, high = (_Side.of(side, histogram.width) for side in histogram.sides)
    reach = np.arange(len(high.beyond))

    def best(lows: range) -> tuple[float, int, int]:
        found = []
        for below in lows:
            step = (below + reach) / grid.steps
            errors = low.error(np.array(below), step) + high.error(reach, step)
            above = int(np.argmin(errors))
            found.append((float(errors[above]), below, above))
        return min(found)

    last = histogram.below
    rough = min(best(range(last, -1, -STRIDE)), best(range(1)))
    near = range(max(rough[1] - STRIDE, 0), min(rough[1] + STRIDE, last) + 1)
    return histogram.between(*best(near)[1:])


def symmetric_errors(histogram: Histogram, grid: Grid) -> np.ndarray:
    """Return the expected summed squared error of symmetric ranges that reach 0, 1, 2, ... bins from zero."""
    side = _Side.of(histogram.sizes, histogram.width)
    reach = np.arange(len(side.beyond))
    return side.error(reach, 2 * reach / grid.steps)


@dataclass(frozen=True, slots=True)
class _Side:
    """Running sums over the bins of one side of zero, from zero outwards; (bins + 1,) each."""

    width: float
    beyond: np.ndarray  # values farther than so many bins
    clipped: np.ndarray  # their squared distances from there, summed
    nearer: np.ndarray  # squared values of the others, summed

    @classmethod
    def of(cls, counts: np.ndarray, width: float) -> _Side:
        middle = (np.arange(len(counts)) + 0.5) * width
        edge = np.arange(len(counts) + 1) * width
        beyond = _beyond(counts)
        first, second = (np.append(np.cumsum((counts * middle**n)[::-1])[::-1], 0.0) for n in (1, 2))
        clipped = np.maximum(second - 2 * edge * first + edge**2 * beyond, 0.0)
        return cls(width, beyond, clipped, np.append(0.0, np.cumsum(counts * middle**2)))

    def error(self, reach: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Return the summed squared error of reaching so many bins in steps of so many bins.

        A value outside is off by its distance from the range (its bin's middle stands for it), one within
        half a step of zero by all of itself, and any other by step^2 / 12 on average.
        """
        to_zero = np.minimum((step / 2).astype(np.int64), reach)
        rounded = (self.beyond[to_zero] - self.beyond[reach]) * (step * self.width) ** 2 / 12
        return self.nearer[to_zero] + rounded + self.clipped[reach]


def entropy(histogram: Histogram, grid: Grid) -> Range:
    """Return the range whose quantized distribution tells most of the true one (Migacz, GTC 2017).

    For every reach, the values beyond it are put on its outermost bin, the bins are merged into the levels
    that the grid has on one side of zero, and the divergence of the two distributions is taken.
    """
    sizes = histogram.sizes
    one_sided = not grid.symmetric and 0 in (histogram.low, histogram.high)
    levels = 2**grid.bits if one_sided else 2 ** (grid.bits - 1)
    reaches = range(len(sizes), min(levels, len(sizes)) - 1, -STRIDE)
    if not histogram.width:
        return minmax(histogram)
    kept = min(reaches, key=lambda reach: (_divergence(sizes, reach, levels), -reach))
    return histogram.between(kept, kept)


def _divergence(sizes: np.ndarray, reach: int, levels: int) -> float:
    """Return sum P log(P / Q) for one reach, in nats."""
    inside = sizes[:reach].astype(np.float64)
    true = inside.copy()
    true[-1] += sizes[reach:].sum()
    starts = np.arange(min(levels, reach)) * reach // min(levels, reach)
    filled = np.maximum(np.add.reduceat((inside > 0).astype(np.int64), starts), 1)
    merged = np.repeat(np.add.reduceat(inside, starts) / filled, np.diff(np.append(starts, reach)))
    held = true > 0
    told = np.where(inside > 0, merged, 0.0)[held]
    p = true[held] / true.sum()
    q = np.maximum(told / max(told.sum(), 1.0), 1e-9)  # outliers on an empty bin: much is lost, not all
    return float((p * np.log(p / q)).sum())


def _beyond(side: np.ndarray) -> np.ndarray:
    """Return how many values lie beyond 0, 1, 2, ... bins from zero; (bins + 1,)."""
    return np.append(np.cumsum(side[::-1])[::-1], 0)


def _least(beyond: np.ndarray, cut: float) -> int:
    """Return the least reach in bins with no more than `cut` values beyond it."""
    return int(np.argmax(beyond <= cut))
