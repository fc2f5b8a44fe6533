"""Embeddings: vectors whose direction counts. None of their numbers is a "first answer"."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from qbench.quality.kinds.base import KINDS, Kind, PerExample, mean_of
from qbench.quality.seen import Seen

WIDE = 64  # numbers of a vector that may be an embedding though its length is not one
SHORT = 8
FEWEST = 8  # vectors, below which their lengths tell nothing
EVEN = 0.1  # coefficient of variation of the lengths below which a layer normalised them
NAMED = ("embed", "hidden", "pooler", "feature", "descriptor")


@KINDS.register("embedding")
class Embedding(Kind):
    """Vectors of length one, or vectors of nearly one length, as a layer normalisation leaves them."""

    about: ClassVar[str] = "embeddings: cosine to float's, and the same nearest neighbour among the samples"
    order: ClassVar[int] = 70

    @classmethod
    def recognises(cls, seen: Seen) -> bool:
        """Take vectors along the last axis, by their length or by the output's name."""
        if not seen.real or not seen.has_rows or seen.ndim > 3 or seen.channel_axis is not None:
            return False
        wide = seen.shape[-1]
        if wide < SHORT or seen.values.size // wide < FEWEST:
            return False
        named = any(word in seen.name.lower() for word in NAMED)
        return seen.of_length_one or named or (wide >= WIDE and seen.norms_vary < EVEN)

    @classmethod
    def unfit(cls, seen: Seen) -> str | None:
        """Ask for vectors of real numbers."""
        return None if seen.real and seen.ndim >= 2 else "embeddings are vectors of real numbers"

    @property
    def decides(self) -> str:
        """Judge by the angle."""
        return "cosine"

    def measured(self, wanted: np.ndarray, given: np.ndarray) -> PerExample:
        """Return the cosine to float's vector, of several vectors an example their mean."""
        return {"cosine": mean_of(cosines(wanted, given))}

    def chance(self, wanted: np.ndarray) -> float | None:
        """Return the mean cosine of one example's vector to the next one's: what any vector would score."""
        if len(wanted) < 2:
            return None
        return float(cosines(wanted, np.roll(wanted, 1, axis=0)).mean())


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the cosine along the last axis; 1 where both are zero, 0 where one of them is.

    Shapes:
        first, second: (..., wide).
        returns: (...), float64.
    """
    a, b = first.astype(np.float64), second.astype(np.float64)
    lengths = np.sqrt(np.square(a).sum(axis=-1)) * np.sqrt(np.square(b).sum(axis=-1))
    found = np.zeros(lengths.shape)
    np.divide((a * b).sum(axis=-1), lengths, out=found, where=lengths > 0)
    found[(a == b).all(axis=-1)] = 1.0
    return np.clip(found, -1.0, 1.0)
