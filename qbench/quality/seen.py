"""What the float network's values on the samples show of one output: the facts that its kind is read from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

LOOKED_AT = 256  # examples that the facts are taken from: enough to know a softmax from an embedding
ALMOST = 1e-3  # of one: how near to 1 the sum of a row of probabilities in 16-bit float still comes

Values = np.ndarray | Sequence[np.ndarray]  # (count, ...), or one array an example where their shapes differ


def joined(values: Values, most: int | None = None) -> np.ndarray:
    """Return values as one array: (count, ...), or of ragged examples their first axes strung together.

    Ragged examples that differ in more than that become a row of numbers.
    """
    if isinstance(values, np.ndarray):
        return values[:most]
    parts = [np.atleast_1d(part) for part in values[:most]]
    if len({part.shape[1:] for part in parts}) != 1:
        parts = [part.ravel() for part in parts]
    return np.concatenate(parts)[None]


@dataclass(frozen=True)
class Seen:
    """One output of the float network, or a part of it.

    Shapes:
        values: (count, ...), examples first; ragged examples are strung together as one example, (1, total,
            ...). Numbers that float itself has as NaN or infinity are 0 here.
    """

    name: str
    values: np.ndarray
    ragged: bool = False
    still: bool = False  # all examples have the same values, or there is no value at all
    channel_axis: int | None = None  # where it is a part of an output: the axis along which that was split

    @classmethod
    def of(cls, name: str, values: Values, channel_axis: int | None = None) -> Seen:
        """Look at the first examples."""
        found = joined(values, LOOKED_AT)
        if found.dtype.kind == "f":
            found = np.where(np.isfinite(found), found, 0)
        elif found.dtype.kind in "OSU":
            found = found.astype(str)
        if not isinstance(values, np.ndarray):
            return cls(name, found, True, not found.size, channel_axis)
        still = not values.size or (len(values) > 1 and bool((values == values[:1]).all()))
        return cls(name, found, False, still, channel_axis)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape, examples first."""
        return self.values.shape

    @property
    def ndim(self) -> int:
        """The number of axes, that of the examples included."""
        return self.values.ndim

    @property
    def real(self) -> bool:
        """Tell whether these are floating-point numbers."""
        return self.values.dtype.kind == "f" and self.values.size > 0

    @cached_property
    def low(self) -> float:
        """The smallest value; 0 of none."""
        return float(self.values.min()) if self.values.size else 0.0

    @cached_property
    def high(self) -> float:
        """The largest value; 0 of none."""
        return float(self.values.max()) if self.values.size else 0.0

    @cached_property
    def within_one(self) -> bool:
        """Tell whether all values lie from 0 to 1 and some of them inside."""
        return self.real and self.low >= -1e-6 and self.high <= 1 + 1e-5 and self.high > 0

    @property
    def class_axis(self) -> int:
        """The axis along which classes would lie: the last, and the second of pictures (count, C, H, W)."""
        if self.channel_axis is not None:
            return self.channel_axis
        return 1 if self.ndim >= 4 else self.ndim - 1

    @property
    def has_rows(self) -> bool:
        """Tell whether there are vectors along the class axis: a ragged list of numbers has none."""
        return self.ndim >= 2 and not (self.ragged and self.ndim == 2)

    @cached_property
    def sums_to_one(self) -> bool:
        """Tell whether the values along the class axis are probabilities of classes."""
        if not self.within_one or not self.has_rows or self.shape[self.class_axis] < 2:
            return False
        sums = self.values.astype(np.float64).sum(axis=self.class_axis)
        return bool((np.abs(sums - 1) <= ALMOST * max(1, self.shape[self.class_axis] ** 0.5)).all())

    @cached_property
    def first(self) -> np.ndarray:
        """The first answer along the class axis, of every example and position."""
        return np.asarray(self.values.argmax(axis=self.class_axis))

    @cached_property
    def norms_vary(self) -> float:
        """The coefficient of variation of the lengths of all vectors along the class axis."""
        lengths = np.sqrt(np.square(self.values.astype(np.float64)).sum(axis=self.class_axis))
        mean = float(lengths.mean())
        return float(lengths.std()) / mean if mean else float("inf")

    @cached_property
    def of_length_one(self) -> bool:
        """Tell whether every vector along the class axis has length 1."""
        lengths = np.sqrt(np.square(self.values.astype(np.float64)).sum(axis=self.class_axis))
        return bool((np.abs(lengths - 1) < 5e-3).all())
