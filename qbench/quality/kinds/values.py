"""Plain values: a regression, a picture, raw features. What can be said is how much noise is in them."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from qbench.quality.kinds.base import KINDS, Kind, PerExample, flat
from qbench.quality.seen import Seen


@KINDS.register("values")
class Values(Kind):
    """Numbers that stand for themselves."""

    about: ClassVar[str] = "plain values (a regression, a picture): signal over quantization noise"
    order: ClassVar[int] = 100

    def __init__(self, seen: Seen) -> None:
        """Take the range of float's values."""
        super().__init__(seen)
        self.range = max(seen.high - seen.low, float(np.finfo(np.float32).tiny))

    @classmethod
    def recognises(cls, seen: Seen) -> bool:  # noqa: ARG003
        """Take whatever is left."""
        return True

    @classmethod
    def unfit(cls, seen: Seen) -> str | None:
        """Ask for numbers."""
        return "plain values are numbers" if seen.values.dtype.kind in "OSU" else None

    @property
    def decides(self) -> str:
        """Judge by the noise."""
        return "sqnr"

    def measured(self, wanted: np.ndarray, given: np.ndarray) -> PerExample:
        """Return the mean distance over the range."""
        return {"range_error": np.abs(flat(given) - flat(wanted)).mean(axis=1) / self.range}
