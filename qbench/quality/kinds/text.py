"""Text as a CTC network writes it: scores of letters and a blank at every step."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from qbench.quality.kinds.base import KINDS, Kind, PerExample, mean_of
from qbench.quality.seen import Seen

LETTERS = 20  # an alphabet has at least so many, with the blank
BLANKS = 0.25  # share of steps that say blank, at least


@KINDS.register("text")
class Text(Kind):
    """(count, steps, letters): the best letter of each step, repeats merged, blanks dropped.

    Source:
        Graves et al. 2006, Connectionist Temporal Classification, section 3.2 (best path decoding).
    """

    about: ClassVar[str] = "text by CTC, (count, steps, letters with a blank): exactly float's text"
    order: ClassVar[int] = 30

    def __init__(self, seen: Seen) -> None:
        """Take for the blank the first or the last letter, whichever float says more often."""
        super().__init__(seen)
        self.blank = blank_of(seen)

    @classmethod
    def recognises(cls, seen: Seen) -> bool:
        """Take rows of an alphabet in which many steps say the first or the last letter, and not all do."""
        if not seen.real or seen.ndim != 3 or seen.channel_axis is not None:
            return False
        if seen.shape[-1] < LETTERS or seen.shape[1] < 2:
            return False
        share = max(float((seen.first == letter).mean()) for letter in (0, seen.shape[-1] - 1))
        return BLANKS <= share < 1 and _alternates(seen)

    @classmethod
    def unfit(cls, seen: Seen) -> str | None:
        """Ask for steps of letters."""
        fits = seen.real and seen.ndim == 3 and seen.shape[-1] >= 2
        return None if fits else "CTC scores have the shape (count, steps, letters)"

    @property
    def decides(self) -> str:
        """Judge by the whole text."""
        return "same_text"

    def measured(self, wanted: np.ndarray, given: np.ndarray) -> PerExample:
        """Return whether the texts are the same, how alike they are, and the share of like steps."""
        first, second = wanted.argmax(axis=-1), given.argmax(axis=-1)
        pairs = [
            (_collapsed(a, self.blank), _collapsed(b, self.blank)) for a, b in zip(first, second, strict=True)
        ]
        return {
            "same_text": np.array([a == b for a, b in pairs], float),
            "text_similarity": np.array([similarity(a, b) for a, b in pairs]),
            "same_positions": mean_of(first == second),
        }


def blank_of(seen: Seen) -> int:
    """Return which letter is the blank: the first or the last, whichever float says more often."""
    last = seen.shape[-1] - 1
    return last if (seen.first == last).sum() > (seen.first == 0).sum() else 0


def _alternates(seen: Seen) -> bool:
    """Tell whether letters stand between blanks: a network's tags or channels come in long runs."""
    first, blank = seen.first, blank_of(seen)
    letters = first[:, 1:][(first[:, 1:] != blank) & (first[:, 1:] != first[:, :-1])]
    said = int((first != blank).sum())
    return said > 0 and len(letters) > 0.2 * said and len(np.unique(letters)) >= 3


def _collapsed(path: np.ndarray, blank: int) -> list[int]:
    """Return a path of letters without repeats and blanks."""
    kept = path[np.r_[True, path[1:] != path[:-1]]] if len(path) else path
    return [int(letter) for letter in kept if letter != blank]


def similarity(first: list[int], second: list[int]) -> float:
    """Return one minus the edit distance over the longer length; 1 for two empty texts.

    Source:
        Levenshtein 1966; one row of the table at a time.
    """
    longest = max(len(first), len(second))
    if not longest:
        return 1.0
    row = np.arange(len(second) + 1)
    against = np.array(second)
    for number, letter in enumerate(first, 1):
        least = np.minimum(row[1:] + 1, row[:-1] + (against != letter))
        row = np.minimum.accumulate(np.r_[number, least] - np.arange(len(row))) + np.arange(len(row))
    return 1.0 - float(row[-1]) / longest
