"""The nearest neighbour of every example's vector among the others: what a search would find."""

from __future__ import annotations

import numpy as np

MOST = 2_000  # examples that are searched: the table of all pairs has four million cosines


def same_nearest(wanted: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Return for every one of the first examples whether its nearest neighbour is the one in float: (count,).

    Shapes:
        wanted, given: (count, wide), or (count, positions, wide) of which the mean is taken.
    """
    count = min(MOST, len(wanted))
    if count < 2:
        return np.full(count, np.nan)
    return (_nearest(wanted[:count]) == _nearest(given[:count])).astype(float)


def _nearest(vectors: np.ndarray) -> np.ndarray:
    flat = vectors.astype(np.float64)
    if flat.ndim == 3:
        flat = flat.mean(axis=1)
    flat = np.where(np.isfinite(flat), flat, 0)
    lengths = np.sqrt(np.square(flat).sum(axis=1, keepdims=True))
    flat = np.divide(flat, lengths, out=np.zeros_like(flat), where=lengths > 0)
    table = flat @ flat.T
    np.fill_diagonal(table, -np.inf)
    return np.asarray(table.argmax(axis=1))
