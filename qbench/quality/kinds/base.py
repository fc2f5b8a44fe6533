"""What a kind of output is: how it is recognised, what is measured of it, which metric decides."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from qbench.quality.seen import Seen
from qbench.registry import Registry

KINDS: Registry[type[Kind]] = Registry("kind of output", "qbench.quality.kinds")
PerExample = Mapping[str, np.ndarray]  # metric -> (count,), NaN where an example says nothing of it


class Kind(abc.ABC):
    """One way of reading an output, made from float's values: whatever it takes from them is fixed then."""

    about: ClassVar[str]
    order: ClassVar[int]  # kinds are asked in this order, the most special first

    def __init__(self, seen: Seen) -> None:
        """Take from float's values what measuring needs: a threshold, a range, which letter is the blank."""
        self.seen = seen

    @classmethod
    @abc.abstractmethod
    def recognises(cls, seen: Seen) -> bool:
        """Tell whether float's values look like this kind."""

    @classmethod
    @abc.abstractmethod
    def unfit(cls, seen: Seen) -> str | None:
        """Return why an output cannot be read as this kind, though the user says so; None: it can."""

    @property
    @abc.abstractmethod
    def decides(self) -> str:
        """The metric that the judgement rests on; nothing where such an output says nothing."""

    @abc.abstractmethod
    def measured(self, wanted: np.ndarray, given: np.ndarray) -> PerExample:
        """Return what is known of each example.

        Shapes:
            wanted, given: (count, ...), finite, of one shape.
            returns: (count,) each, NaN where an example says nothing.
        """

    @property
    def silent(self) -> str:
        """Why such an output judges nothing, where it does not."""
        return ""

    def speaking(self) -> np.ndarray | None:
        """Return which channels along the class axis none may do without; None: whichever move in float.

        Shapes:
            returns: (channels,), truth values.
        """
        return None

    def chance(self, wanted: np.ndarray) -> float | None:  # noqa: ARG002
        """Return what the deciding metric comes to by chance; None where that is not known.

        Shapes:
            wanted: (count, ...), float's values.
        """
        return None


def flat(array: np.ndarray) -> np.ndarray:
    """Return (count, everything else) in 64-bit float."""
    return array.reshape(len(array), -1).astype(np.float64)


def mean_of(hits: np.ndarray) -> np.ndarray:
    """Return the mean over all but the first axis: (count,), float64."""
    return np.asarray(hits.reshape(len(hits), -1).mean(axis=1, dtype=np.float64))


def share_of(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part over whole, NaN where the whole is nothing."""
    found = np.full(len(whole), np.nan)
    np.divide(part, whole, out=found, where=whole > 0)
    return found


def commonest(answers: np.ndarray) -> float:
    """Return the share of the commonest answer among all."""
    _, counts = np.unique(answers, return_counts=True)
    return float(counts.max() / counts.sum())
