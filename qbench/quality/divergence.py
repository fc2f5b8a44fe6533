"""How far one distribution over classes lies from another."""

from __future__ import annotations

import numpy as np

LEAST = 1e-12  # a probability that is 0 in fewer bits is taken for this one, so that no divergence is endless


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return the logarithms of the softmax along the last axis, in 64 bits; large logits do not overflow."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def log_of(probabilities: np.ndarray) -> np.ndarray:
    """Return the logarithms of what are probabilities already: softmax is never applied to them again."""
    raised = np.maximum(probabilities.astype(np.float64), LEAST)
    return np.asarray(np.log(raised / raised.sum(axis=-1, keepdims=True)))


def kl_divergence(log_p: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """Return KL(p || q) in nats, one number a row, from the logarithms of both.

    Shapes:
        log_p, log_q: (count, classes), finite, each row the logarithms of a distribution.
        returns: (count,), float64, never below zero.

    Source:
        Kullback and Leibler 1951.
    """
    return np.maximum((np.exp(log_p) * (log_p - log_q)).sum(axis=-1), 0.0)
