"""Boxes and coordinates: how far they are off, in terms of the range that they span."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from qbench.quality.kinds.base import KINDS, Kind, PerExample, flat
from qbench.quality.seen import Seen

PIXELS = 4.0  # values beyond it are no scores, and no coordinates of a picture whose sides are one


def in_pixels(seen: Seen) -> bool:
    """Tell whether values reach beyond what scores do, and hardly below zero, as coordinates do."""
    return seen.real and seen.ndim in (2, 3) and seen.high >= PIXELS and seen.low >= -0.5 * seen.high


@KINDS.register("boxes")
class Boxes(Kind):
    """Coordinates, usually in pixels: four a box, or two a point."""

    about: ClassVar[str] = "boxes or coordinates: how far off, over their range"
    order: ClassVar[int] = 80

    def __init__(self, seen: Seen) -> None:
        """Take the range of float's values."""
        super().__init__(seen)
        self.range = max(seen.high - seen.low, float(np.finfo(np.float32).tiny))

    @classmethod
    def recognises(cls, seen: Seen) -> bool:
        """Take four values a box that reach beyond what scores do, and hardly below zero."""
        if not in_pixels(seen):
            return False
        return seen.shape[seen.class_axis] == 4 or (seen.ndim == 3 and seen.shape[1] == 4)

    @classmethod
    def unfit(cls, seen: Seen) -> str | None:
        """Ask for real numbers."""
        return None if seen.real else "boxes are real numbers"

    @property
    def decides(self) -> str:
        """Judge by how far off they are."""
        return "range_error"

    def measured(self, wanted: np.ndarray, given: np.ndarray) -> PerExample:
        """Return the mean distance over the range."""
        return {"range_error": np.abs(flat(given) - flat(wanted)).mean(axis=1) / self.range}
