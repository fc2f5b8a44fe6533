"""Labels: whole numbers, truth values or words, which are those of float or are not."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from qbench.quality.kinds.base import KINDS, Kind, PerExample, commonest, mean_of
from qbench.quality.seen import Seen


@KINDS.register("labels")
class Labels(Kind):
    """What has no distance: the number of a class, a truth value, a word."""

    about: ClassVar[str] = "labels (whole numbers, truth values, words): equal to float's"
    order: ClassVar[int] = 20

    @classmethod
    def recognises(cls, seen: Seen) -> bool:
        """Take what are no reals, except pictures of bytes."""
        return seen.values.dtype.kind in "biuOSU" and not (seen.ndim == 4 and seen.values.dtype.kind == "u")

    @classmethod
    def unfit(cls, seen: Seen) -> str | None:  # noqa: ARG003
        """Take anything: reals may be whole numbers too."""
        return None

    @property
    def decides(self) -> str:
        """Judge by the share that is equal."""
        return "same_labels"

    def measured(self, wanted: np.ndarray, given: np.ndarray) -> PerExample:
        """Return the share of equal labels."""
        return {"same_labels": mean_of(wanted == given)}

    def chance(self, wanted: np.ndarray) -> float | None:
        """Return what always giving float's commonest label scores."""
        return commonest(wanted)
