"""Probabilities of classes, which sum to one: read as they are, and never put through a softmax again."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from qbench.quality.divergence import kl_divergence, log_of
from qbench.quality.kinds.base import KINDS, Kind, PerExample, commonest, mean_of
from qbench.quality.seen import Seen


@KINDS.register("probabilities")
class Probabilities(Kind):
    """Rows that sum to one: along the last axis, or along the second of (count, C, H, W)."""

    about: ClassVar[str] = "probabilities of classes that sum to 1: the same first answer as float"
    order: ClassVar[int] = 40

    @classmethod
    def recognises(cls, seen: Seen) -> bool:
        """Take rows from 0 to 1 that sum to one."""
        return seen.sums_to_one

    @classmethod
    def unfit(cls, seen: Seen) -> str | None:
        """Ask for values from 0 to 1 in two classes or more."""
        if not seen.within_one or seen.ndim < 2 or seen.shape[seen.class_axis] < 2:
            return "probabilities lie from 0 to 1, with two classes or more along an axis"
        return None

    @property
    def decides(self) -> str:
        """Judge by the first answers: one an example, or one a position."""
        return "same_first" if self.seen.ndim == 2 else "same_positions"

    def measured(self, wanted: np.ndarray, given: np.ndarray) -> PerExample:
        """Return whether first answers are the same, and how far float's confidence in its own has moved."""
        axis = self.seen.class_axis
        first = wanted.argmax(axis=axis, keepdims=True)
        same = first == given.argmax(axis=axis, keepdims=True)
        moved = np.abs(np.take_along_axis(given, first, axis) - np.take_along_axis(wanted, first, axis))
        found = {self.decides: mean_of(same), "confidence_moved": mean_of(moved)}
        if self.seen.ndim == 2:
            found["kl_divergence"] = kl_divergence(log_of(wanted), log_of(given))
        return found

    def chance(self, wanted: np.ndarray) -> float | None:
        """Return what always giving float's commonest answer scores."""
        return commonest(wanted.argmax(axis=self.seen.class_axis))
