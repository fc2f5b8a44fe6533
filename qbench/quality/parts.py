"""One output in parts: channels whose values have ranges of their own are judged apart.

A detector may write boxes of 0 to 640 and scores of 0 to 1 into one tensor. Judged as one, the scores
vanish in the boxes' noise: they may all be zero at 60 dB.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qbench.quality.seen import Seen

UNLIKE = 16.0  # times: between two parts' typical ranges
MOST_CHANNELS = 4_096  # an axis with more holds anchors, pixels or words
MOST_PARTS = 4  # more, and the ranges are simply uneven


@dataclass(frozen=True, slots=True)
class Part:
    """Channels from `first` up to `end` of one axis; examples are axis 0."""

    axis: int
    first: int
    end: int

    def __str__(self) -> str:
        """Write it as `channels 0 to 3 of axis 1`."""
        last = self.end - 1
        which = f"channel {last}" if last == self.first else f"channels {self.first} to {last}"
        return f"{which} of axis {self.axis}"

    def of(self, values: np.ndarray) -> np.ndarray:
        """Return these channels."""
        return values[(slice(None),) * self.axis + (slice(self.first, self.end),)]


def parts_of(seen: Seen) -> tuple[Part, ...]:
    """Return the parts of unlike range, none where the output is of one piece.

    Values from 0 to 1 beside values that reach 16 times farther are one way of being unlike; neighbouring
    channels whose largest values differ as much, and stay so, the other.
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
    low, high = values.min(axis=others), values.max(axis=others)
    reach = np.maximum(np.abs(low), np.abs(high)).astype(np.float64)
    bounded = (low >= -1e-6) & (high <= 1 + 1e-5)
    far = np.log2(np.maximum(reach, 1e-12))
    edges = [0]
    for channel in range(1, len(reach)):
        both = bounded[channel] and bounded[channel - 1]  # a rare class beside a usual one is no other thing
        jump = abs(far[channel] - np.median(far[edges[-1] : channel])) >= np.log2(UNLIKE)
        if not both and jump and min(reach[channel], reach[channel - 1]) > 0:
            edges.append(channel)
        if len(edges) > MOST_PARTS:
            return ()
    if len(edges) < 2:
        return ()
    return tuple(Part(axis, first, end) for first, end in zip(edges, [*edges[1:], len(reach)], strict=True))
