"""What is wrong beyond any limit: an output that has died, drowned, or lost most of its lead over chance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from qbench.metrics import HALF_NOISE_DB
from qbench.records import OutputQuality

COLLAPSE = 0.5  # share of the lead over chance below which an output has collapsed
BY_CHANCE = ("same_first", "same_positions", "same_labels", "cosine")
BY_SIGNAL = ("sqnr", "range_error")
BY_SHARE = {
    "map_overlap": "what it marks overlaps what float marks by {value:.1%} on average",
    "confident_overlap": "its confident answers overlap float's by {value:.1%} on average",
    "text_similarity": "its text is like float's by {value:.1%} of the letters on average",
}


class Collapse(NamedTuple):
    """What is wrong with one output, or a part of it, beyond any limit."""

    output: str  # its name
    text: str  # the whole sentence, with the output and the part


def mean_sample(quality: OutputQuality, metric: str) -> float | None:
    """Return the mean of one metric's samples; None where this output has none."""
    found = next((m for m in quality.measurements if m.metric == metric), None)
    return float(np.mean(found.samples)) if found and found.samples else None


def collapsed_part(quality: OutputQuality, chance: float | None) -> str | None:
    """Return what is wrong with an output, or None where it has not collapsed.

    The rules, for every kind: all channels that moved in float stand still; half of the lead over chance is
    lost; of what has no chance, half of what float marks or writes is lost, or half of the power is noise.
    """
    if not quality.decides:
        return None
    dead = mean_sample(quality, "dead_channels")
    if dead == 1.0:
        return "it says the same whatever it is asked, where float's moves"
    value = mean_sample(quality, quality.decides)
    assert value is not None
    if quality.decides in BY_CHANCE and chance is not None:
        return _lead(value, chance, quality.decides)
    if quality.decides in BY_SIGNAL:
        noise = mean_sample(quality, "sqnr_varying")
        if noise is not None and noise < HALF_NOISE_DB:
            return f"what varies stands {noise:.1f} dB above the noise (at least {HALF_NOISE_DB:g})"
    for metric, words in BY_SHARE.items():
        share = mean_sample(quality, metric)
        if share is not None and share < COLLAPSE:
            return words.format(value=share)
    return None


def _lead(value: float, chance: float, metric: str) -> str | None:
    lead = 1 - chance
    if lead <= 0 or (value - chance) / lead >= COLLAPSE:
        return None
    if metric == "cosine":
        return f"a cosine of {value:.3f} to float's vectors, where any other vector has {chance:.3f}"
    return f"float's answers on {value:.1%}, where always saying the commonest has {chance:.1%}"
