"""Dense maps from 0 to 1: what a threshold marks on them."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from qbench.quality.kinds.base import KINDS, Kind, PerExample, flat, share_of
from qbench.quality.seen import Seen

MARKED = 0.5
UNDECIDED = 0.2  # share of values between 0.1 and 0.9: a segmentation has few, a picture has mostly such


@KINDS.register("map")
class DenseMap(Kind):
    """(count, C, H, W) or (count, H, W) of values that are nearly all near 0 or near 1."""

    about: ClassVar[str] = "a map from 0 to 1 for every pixel: overlap of what a threshold marks"
    order: ClassVar[int] = 50

    @classmethod
    def recognises(cls, seen: Seen) -> bool:
        """Take pictures from 0 to 1 that have made up their mind, on some pixels for and on some against."""
        if not seen.within_one or seen.ndim not in (3, 4) or min(seen.shape[-2:]) < 8:
            return False
        if seen.ndim == 3 and seen.channel_axis is not None:
            return False
        between = float(((seen.values > 0.1) & (seen.values < 0.9)).mean())
        return between < UNDECIDED and seen.high > 0.9 and seen.low < 0.1 and _smooth(seen.values)

    @classmethod
    def unfit(cls, seen: Seen) -> str | None:
        """Ask for values from 0 to 1."""
        return None if seen.within_one else "a map has values from 0 to 1"

    @property
    def decides(self) -> str:
        """Judge by the overlap."""
        return "map_overlap"

    def measured(self, wanted: np.ndarray, given: np.ndarray) -> PerExample:
        """Return the overlap of what is marked (NaN where neither marks anything), and the share kept."""
        ours, theirs = flat(wanted) >= MARKED, flat(given) >= MARKED
        both, either = (ours & theirs).sum(axis=1), (ours | theirs).sum(axis=1)
        return {"map_overlap": share_of(both, either), "confident_kept": share_of(both, ours.sum(axis=1))}


def _smooth(values: np.ndarray) -> bool:
    """Tell whether neighbours along the last two axes are alike: pixels are, a detector's anchors are not."""
    marked = values >= MARKED
    share = float(marked.mean())
    changes = [float((np.diff(marked.astype(np.int8), axis=axis) != 0).mean()) for axis in (-2, -1)]
    return max(changes) < share * (1 - share)  # of numbers in no order, 2 p (1 - p) change
