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
