"""Which calls a few examples make: one example alone first, where the batch is free, then all at once.

An engine may be right for one example and wrong for many. A call is what an engine takes, so that whoever
compares two answers to it must know nothing of where an output has its examples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from qbench.formats.signature import at_most, fed, fixed_batch, gathered

if TYPE_CHECKING:
    from qbench.formats.artifact import TensorSpec

Call = dict[str, np.ndarray]
Span = tuple[int, int]  # examples of a call: from, and up to but not including


def filled(specs: Sequence[TensorSpec], examples: Mapping[str, np.ndarray]) -> Call:
    """Return the examples, for a network of a fixed batch with the last one repeated up to whole batches.

    Shapes:
        examples: (count, ...) each; returned: the same, or more.
    """
    count, fixed = _count(examples), fixed_batch(specs) or 1
    rows = np.minimum(np.arange(-(-count // fixed) * fixed), count - 1)
    return {name: array if len(rows) == count else array[rows] for name, array in examples.items()}


def spans_of(specs: Sequence[TensorSpec], examples: Mapping[str, np.ndarray]) -> tuple[Span, ...]:
    """Return which of these examples, whole batches, make a call each; the last call is the largest."""
    count, fixed = _count(examples), fixed_batch(specs)
    if fixed is None and at_most(specs, examples, count) == count:
        return ((0, 1), (0, count)) if count > 1 else ((0, 1),)
    size = fixed or 1
    return tuple((start, start + size) for start in range(0, count, size))


def call_of(specs: Sequence[TensorSpec], examples: Mapping[str, np.ndarray], span: Span) -> Call:
    """Return what an engine takes to answer these examples."""
    return fed(specs, {name: array[slice(*span)] for name, array in examples.items()})


def by_example(
    specs: Sequence[TensorSpec], spans: Sequence[Span], calls: Sequence[Sequence[np.ndarray]]
) -> list[np.ndarray | None]:
    """Return each output for all examples; None for one whose examples cannot be told apart.

    Shapes:
        calls: an array an output for every span, as the network gave it.
        returns: (count, ...) each.
    """
    count = max(stop for _, stop in spans)
    whole = [number for number, span in enumerate(spans) if span == (0, count)]
    numbers = whole[-1:] or list(range(len(spans)))
    found: list[np.ndarray | None] = []
    for place, spec in enumerate(specs[: len(calls[0])]):  # a technique may have added an output
        parts = [_of_call(spec, calls[n][place], spans[n][1] - spans[n][0]) for n in numbers]
        known = [part for part in parts if part is not None]
        same = len(known) == len(parts) and len({part.shape[1:] for part in known}) == 1
        found.append(np.concatenate(known) if same else None)
    return found


def _of_call(spec: TensorSpec, array: np.ndarray, count: int) -> np.ndarray | None:
    axis = spec.batch_axis
    if axis is not None and (axis >= np.ndim(array) or np.shape(array)[axis] != count):
        return None
    return gathered([spec], [array], count)[0]


def _count(examples: Mapping[str, np.ndarray]) -> int:
    return len(next(iter(examples.values()), ()))
