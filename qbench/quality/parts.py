"""One output in parts: channels whose values have ranges of their own are judged apart.

A detector may write boxes of 0 to 640 and scores of 0 to 1 into one tensor. Judged as one, the scores
vanish in the boxes' noise: they may all be zero at 60 dB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qbench.quality.seen import Seen

UNLIKE = 16.0  # times: a gap between the ranges of two sorts of channels
MOST_CHANNELS = 4_096  # an axis with more holds anchors, pixels or words
MOST_RUNS = 4  # neighbours of one range; with more runs, all channels of one range are one part
SHOWN = 3  # runs of channels that a part's name says


@dataclass(frozen=True, slots=True)
class Part:
    """Channels of one axis, in their order; examples are axis 0."""

    axis: int
    channels: tuple[int, ...]

    def __str__(self) -> str:
        """Write it as `channels 0 to 3 of axis 1`, or `channels 4, 7, 10 ... of axis 1`."""
        runs = _runs(self.channels)
        shown = ", ".join(f"{a} to {b}" if b > a else f"{a}" for a, b in runs[:SHOWN])
        more = " ..." if len(runs) > SHOWN else ""
        return f"channel{'s' if len(self.channels) > 1 else ''} {shown}{more} of axis {self.axis}"

    @property
    def together(self) -> bool:
        """Tell whether all of them are neighbours: classes are."""
        return len(_runs(self.channels)) == 1

    def of(self, values: np.ndarray) -> np.ndarray:
        """Return these channels."""
        if self.together:
            return values[(slice(None),) * self.axis + (slice(self.channels[0], self.channels[-1] + 1),)]
        return np.take(values, self.channels, axis=self.axis)


def parts_of(seen: Seen) -> tuple[Part, ...]:
    """Return the parts of unlike range, none where the output is of one piece.

    Channels are of one range where no gap of 16 times lies between what they reach; all values from 0 to 1
    are of one. Where few runs of neighbours are found, each is a part; otherwise all of a range are.
    """
    if not seen.real or seen.ndim > 4 or seen.ragged:
        return ()
    axes = (1,) if seen.ndim == 4 else range(1, seen.ndim)
    for axis in sorted(axes, key=lambda axis: seen.shape[axis]):
        if 2 <= seen.shape[axis] <= MOST_CHANNELS:
            found = _split(seen.values, axis)
            if found:
                return found
    return ()


def _split(values: np.ndarray, axis: int) -> tuple[Part, ...]:
    others = tuple(i for i in range(values.ndim) if i != axis)
    low, high = values.min(axis=others).astype(np.float64), values.max(axis=others).astype(np.float64)
    ranges = _ranges(_reach(low, high))
    if ranges.max() == 0:
        return ()
    edges = np.flatnonzero(np.diff(ranges)) + 1
    runs = np.split(np.arange(len(ranges)), edges)
    if len(runs) > MOST_RUNS:  # in the order of their first channels
        runs = [np.flatnonzero(ranges == one) for one in dict.fromkeys(ranges.tolist())]
    return tuple(Part(axis, tuple(run.tolist())) for run in runs)


def _reach(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return how far each channel's values reach from 0.

    Those from 0 to 1 reach as far as any such: a rare class beside a usual one is no other thing. What never
    moves has no range of its own and takes a neighbour's: an unused class is a class, and so is a masked one.
    """
    reach = np.maximum(np.abs(low), np.abs(high))
    bounded = (low >= -1e-6) & (high <= 1 + 1e-5)
    moves = high > low
    if not moves.any():
        return np.ones_like(reach)
    if (bounded & moves).any():
        reach[bounded] = reach[bounded & moves].max()
    known = np.flatnonzero(moves)
    for channel in np.flatnonzero(~moves):
        after = int(np.searchsorted(known, channel))
        sides = [int(side) for side in known[max(0, after - 1) : after + 1]]
        # zeros and ones are a score's neighbours rather than a coordinate's, other constants anything's
        nearest = min(sides, key=lambda side: (bounded[side] != bounded[channel], abs(side - channel)))
        reach[channel] = reach[nearest]
    return reach


def _ranges(reach: np.ndarray) -> np.ndarray:
    """Return the number of each channel's range, the nearest to 0 first."""
    order = np.argsort(reach, kind="stable")
    gaps = reach[order][1:] >= UNLIKE * reach[order][:-1]
    found = np.empty(len(reach), int)
    found[order] = np.r_[0, np.cumsum(gaps)]
    return found


def _runs(channels: Sequence[int]) -> list[tuple[int, int]]:
    """Return the first and the last channel of each run of neighbours."""
    runs = np.split(np.array(channels), np.flatnonzero(np.diff(channels) > 1) + 1)
    return [(int(run[0]), int(run[-1])) for run in runs]
