"""Class scores: the first answer counts, of every example or of every position of it."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from qbench.quality.divergence import kl_divergence, log_softmax
from qbench.quality.kinds.base import KINDS, Kind, PerExample, commonest, mean_of
from qbench.quality.seen import Seen

MANY_CLASSES = 65_536
SMOOTH = 0.25  # of the mean squared step between unordered values, which is twice their variance
LONG = {2: 128, 3: 16}  # by number of axes: shorter rows are too few values to be known for a signal


@KINDS.register("scores")
class Scores(Kind):
    """Logits along the last axis, or along the second of (count, C, H, W) where the user says so."""

    about: ClassVar[str] = "class scores, any numbers: the same first answer as float"
    order: ClassVar[int] = 90

    @classmethod
    def recognises(cls, seen: Seen) -> bool:
        """Take reals in rows of two or more (three where there are positions) whose first answer varies.

        Rows along which neighbours are alike are sound or another signal, whose highest point is no answer.
        """
        if not seen.real or not seen.has_rows or seen.ndim > 3 or not 2 <= seen.shape[-1] <= MANY_CLASSES:
            return False
        if _signal(seen.values):
            return False
        rows = seen.ndim == 2 or (seen.shape[-1] >= 3 and seen.channel_axis in (None, 2))
        return rows and bool((seen.first != seen.first.flat[0]).any())  # always the same says nothing

    @classmethod
    def unfit(cls, seen: Seen) -> str | None:
        """Ask for reals with at least two classes."""
        if not seen.real or seen.ndim < 2 or seen.shape[seen.class_axis] < 2:
            return "class scores are real numbers with two classes or more along an axis"
        return None

    @property
    def decides(self) -> str:
        """Judge by the first answers: one an example, or one a position."""
        return "same_first" if self.seen.ndim == 2 else "same_positions"

    def measured(self, wanted: np.ndarray, given: np.ndarray) -> PerExample:
        """Return whether first answers are the same, and of one answer an example how far the two diverge."""
        axis = self.seen.class_axis
        same = wanted.argmax(axis=axis) == given.argmax(axis=axis)
        found = {self.decides: mean_of(same)}
        if self.seen.ndim == 2:
            found["kl_divergence"] = self.divergence(wanted, given)
        return found

    def divergence(self, wanted: np.ndarray, given: np.ndarray) -> np.ndarray:
        """Return the divergence of the two distributions of each row, (count,), in nats."""
        return kl_divergence(log_softmax(wanted), log_softmax(given))

    def chance(self, wanted: np.ndarray) -> float | None:
        """Return what always giving float's commonest answer scores."""
        return commonest(wanted.argmax(axis=self.seen.class_axis))


def _signal(values: np.ndarray) -> bool:
    """Tell whether neighbours along the last axis are alike: points of a signal are, classes are not."""
    if values.shape[-1] < LONG.get(values.ndim, MANY_CLASSES):
        return False
    rows = values.astype(np.float64)
    steps = np.square(np.diff(rows, axis=-1)).mean()
    return bool(steps < SMOOTH * 2 * rows.var(axis=-1).mean())
