"""Where examples lie in a network's inputs and outputs: between examples first and what a call takes.

Everything that holds examples (a task, calibration data, kept answers) has them along the first axis of
every array: that is the *examples' form*. A network may want them elsewhere, `(time, batch, features)`, or
may have inputs that are the same for all examples (a scalar, a mask). `fed` and `gathered` are the only two
places that know it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from qbench.formats.artifact import TensorSpec

ALONE = -1  # where an output has its examples: nowhere that two calls show; ask for one example at a time


def fed(specs: Iterable[TensorSpec], examples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what one call takes, from arrays in the examples' form.

    Shapes:
        examples: (count, ...) each; an input without a batch axis has its value repeated `count` times.
        returns: count moved to the input's batch axis, or the value of the first example where it has none.
    """
    by_name = {spec.name: spec for spec in specs}
    taken = {}
    for name, array in examples.items():
        axis = by_name[name].batch_axis if name in by_name else 0
        if axis is None:
            taken[name] = np.asarray(array[0])
        else:
            taken[name] = array if axis == 0 else np.ascontiguousarray(np.moveaxis(array, 0, axis))
    return taken


def gathered(
    specs: Sequence[TensorSpec], outputs: Sequence[np.ndarray], count: int
) -> tuple[np.ndarray, ...]:
    """Return one call's outputs in the examples' form, the inverse of `fed`.

    Shapes:
        outputs: as the network gave them, in the order of `specs`.
        returns: (count, ...) each; an output without a batch axis is repeated `count` times.
    """
    found = []
    for spec, array in zip(specs, outputs, strict=True):
        if spec.batch_axis is None:
            found.append(np.broadcast_to(array, (count, *np.shape(array))))
        else:
            found.append(array if spec.batch_axis == 0 else np.moveaxis(array, spec.batch_axis, 0))
    return tuple(found)


def fixed_batch(inputs: Iterable[TensorSpec]) -> int | None:
    """Return the one number of examples that a call takes; None where it takes any.

    A network none of whose inputs has a batch axis takes one example a call.
    """
    specs = tuple(inputs)
    batched = [spec for spec in specs if spec.batch_axis is not None and spec.shape]
    sizes = [spec.shape[spec.batch_axis or 0] for spec in batched]
    if not batched:
        return 1 if specs else None
    return next((size for size in sizes if size is not None), None)


def at_most(inputs: Iterable[TensorSpec], examples: Mapping[str, np.ndarray], size: int) -> int:
    """Return how many of these examples one call may take, `size` at most.

    One, where an input that has no batch axis differs between examples.
    """
    for spec in inputs:
        array = examples.get(spec.name)
        if spec.batch_axis is None and array is not None and not same_for_all(array):
            return 1
    return size


def one_value(array: np.ndarray) -> bool:
    """Tell whether the examples are all a view of one value. Shapes: array (count, ...)."""
    return array.ndim > 0 and len(array) > 1 and array.strides[0] == 0


def taken(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return these examples; a view of one value stays one, however many there are."""
    if one_value(array):
        return np.broadcast_to(array[:1], (len(rows), *array.shape[1:]))
    return np.ascontiguousarray(array[rows])


def same_for_all(array: np.ndarray) -> bool:
    """Tell whether every example has the first one's value. Shapes: array (count, ...)."""
    if len(array) < 2 or one_value(array):
        return True
    return all(np.array_equal(row, array[0], equal_nan=array.dtype.kind == "f") for row in array[1:])


def seen_axis(one: np.ndarray, other: np.ndarray, both: np.ndarray) -> int | None:
    """Return where an output has its examples, by its answers to one example, to another, and to both.

    None: nowhere, it is the same whatever is asked. ALONE: it cannot be told.
    """
    shapes = [np.shape(array) for array in (one, other, both)]
    if shapes[0] != shapes[1] or len(shapes[0]) != len(shapes[2]):
        return ALONE
    grown = [axis for axis, (a, b) in enumerate(zip(shapes[0], shapes[2], strict=True)) if a != b]
    if not grown:
        alike = all(np.array_equal(one, array, equal_nan=one.dtype.kind == "f") for array in (other, both))
        return None if alike else ALONE
    axis = grown[0]
    return axis if len(grown) == 1 and (shapes[0][axis], shapes[2][axis]) == (1, 2) else ALONE
