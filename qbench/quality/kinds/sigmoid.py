"""Scores from 0 to 1 that do not sum to one: each is an answer of its own, confident or not."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from qbench.quality.kinds.base import KINDS, Kind, PerExample, flat, share_of
from qbench.quality.seen import Seen

CONFIDENT = (0.5, 0.25, 0.1, 0.05, 0.01)  # the first of these that enough of float's scores reach
# of the threshold: a score that crosses it by moving no farther was undecided in float already
UNDECIDED = 0.1
ENOUGH = 8  # confident answers over all samples
NEVER_NONE, NEVER_SURE = 0.05, 0.5  # what stays between the two is an error or a share: scores reach an end


@KINDS.register("sigmoid")
class Sigmoid(Kind):
    """Answers that are confident from a threshold on: a detector's scores, tags, whether it is speech."""

    about: ClassVar[str] = "scores from 0 to 1, each by itself: the same confident answers as float"
    order: ClassVar[int] = 60

    def __init__(self, seen: Seen) -> None:
        """Take the highest threshold that enough of float's scores reach."""
        super().__init__(seen)
        reached = (level for level in CONFIDENT if int((seen.values >= level).sum()) >= ENOUGH)
        self.threshold = next(reached, CONFIDENT[-1])

    @classmethod
    def recognises(cls, seen: Seen) -> bool:
        """Take what lies from 0 to 1, comes near an end of it, and is no map: a map was asked before."""
        between = seen.low > NEVER_NONE and seen.high < NEVER_SURE
        return seen.within_one and seen.ndim <= 3 and not between

    @classmethod
    def unfit(cls, seen: Seen) -> str | None:
        """Ask for values from 0 to 1."""
        return None if seen.within_one else "sigmoid scores lie from 0 to 1"

    @property
    def decides(self) -> str:
        """Judge by which answers are confident: what is lost and what is invented count alike."""
        return "confident_overlap"

    def speaking(self) -> np.ndarray | None:
        """Return the channels that float is confident in: one that stands still here is lost whole.

        A pose's only score for the person is one among its points' eighteen, and no more of their overlap.
        """
        if self.seen.ndim < 2 or self.seen.ragged:
            return None
        others = tuple(axis for axis in range(self.seen.ndim) if axis != self.seen.class_axis)
        return np.asarray((self.seen.values >= self.threshold).sum(axis=others) >= ENOUGH)

    def measured(self, wanted: np.ndarray, given: np.ndarray) -> PerExample:
        """Return overlap, share kept and move of the confident answers; NaN where an example has none."""
        before, now = flat(wanted), flat(given)
        ours, theirs = before >= self.threshold, now >= self.threshold
        moved, either = np.abs(now - before), ours | theirs
        same = either & ((ours & theirs) | (moved <= UNDECIDED * self.threshold))
        count = ours.sum(axis=1)
        return {
            "confident_overlap": share_of(same.sum(axis=1), either.sum(axis=1)),
            "confident_kept": share_of((same & ours).sum(axis=1), count),
            "confidence_moved": share_of((moved * ours).sum(axis=1), count),
        }
