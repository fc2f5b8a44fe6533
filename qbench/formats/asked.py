"""All outputs of a network for examples, from a function that runs it: for who chooses between networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from qbench.formats.signature import at_most, fed, fixed_batch, gathered

if TYPE_CHECKING:
    from qbench.formats.artifact import TensorSpec

Call = Callable[[dict[str, np.ndarray]], Sequence[np.ndarray]]  # what a call takes -> all outputs, in order
Answer = np.ndarray | list[np.ndarray]  # (count, ...), or an array an example where their shapes differ


def outputs_of(
    call: Call,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    examples: Mapping[str, np.ndarray],
    count: int,
    size: int,
) -> list[Answer]:
    """Return every output for the first `count` examples, up to `size` of them a call.

    Where an output has not one row for every example of a call, all are asked about one at a time: it does
    not depend on the examples, or is as long as it likes.

    Shapes:
        examples: (count or more, ...) each, in the examples' form.
        returns: (count, ...) each, or `count` arrays where they differ in shape.
    """
    fixed = fixed_batch(inputs)
    step = fixed or at_most(inputs, examples, size)
    whole: list[list[np.ndarray]] = []
    for start in range(0, count, step):
        rows = np.arange(start, start + step)
        rows = np.minimum(rows, count - 1) if fixed else rows[rows < count]
        found = call(fed(inputs, {name: array[rows] for name, array in examples.items()}))
        if any(
            _rows(spec, array) not in (None, len(rows)) for spec, array in zip(outputs, found, strict=True)
        ):
            return _one_by_one(call, inputs, examples, count, fixed or 1)
        parts = gathered(outputs, found, len(rows))
        whole.append([np.asarray(array[: count - start]) for array in parts])
    return [_joined(list(parts)) for parts in zip(*whole, strict=True)]


def _rows(spec: TensorSpec, array: np.ndarray) -> int | None:
    """Return how many examples an output seems to hold; None where it holds none."""
    if spec.batch_axis is None:
        return None
    return int(array.shape[spec.batch_axis]) if array.ndim > spec.batch_axis else 0


def _one_by_one(
    call: Call, inputs: Sequence[TensorSpec], examples: Mapping[str, np.ndarray], count: int, fixed: int
) -> list[Answer]:
    answers = []
    for row in range(count):
        alone = {name: array[np.full(fixed, row)] for name, array in examples.items()}
        answers.append([np.asarray(array)[None] for array in call(fed(inputs, alone))])
    return [_joined(list(parts)) for parts in zip(*answers, strict=True)]


def _joined(parts: list[np.ndarray]) -> Answer:
    if len({array.shape[1:] for array in parts}) == 1:
        return np.concatenate(parts)
    return [row for array in parts for row in array]
