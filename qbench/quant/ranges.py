"""What activations were on calibration data: their extents, then their histograms, one batch at a time.

Two passes over the data: the first fixes the histograms' edges, so that batches merge by addition and memory
does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from qbench.errors import DoesNotFit
from qbench.quant.observers import Histogram, Range

Batch = dict[str, np.ndarray]
Run = Callable[[Batch], Iterable[tuple[str, np.ndarray]]]  # a batch to the named activations on it


def finite_or_raise(inputs: Batch, technique: str) -> None:
    """Check calibration inputs, each (count, ...), before anything is computed from them.

    Raises:
        DoesNotFit: there is none, or one holds NaN or infinity; the input and the example are named.
    """
    if not inputs or not min(len(array) for array in inputs.values()):
        raise DoesNotFit(
            f"{technique} takes the scales of activations from calibration data, and there is none",
            fix="give one calibration example at least; a few hundred are usual",
        )
    for name, array in inputs.items():
        if array.dtype.kind != "f" or np.isfinite(array).all():
            continue
        bad = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
        raise DoesNotFit(
            f"{technique} cannot take scales from calibration input {name!r}: {bad.sum()} of its "
            f"{len(array)} examples hold NaN or an infinite number, the first is number {int(bad.argmax())}",
            fix="repair those examples or take them out of the calibration split",
        )


def extents(run: Run, batches: Iterable[Batch], technique: str) -> dict[str, Range]:
    """Return the least and the greatest value of every activation, in the order in which they came.

    Raises:
        DoesNotFit: the network makes NaN or an infinite number of finite inputs; the first such is named.
    """
    found: dict[str, Range] = {}
    for batch in batches:
        for name, values in run(batch):
            low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
            if not np.isfinite([low, high]).all():
                raise DoesNotFit(
                    f"{technique} cannot take a scale from {name!r}: on finite calibration data it is NaN or "
                    "infinite in the 32-bit float network already",
                    fix="check that the calibration data is preprocessed as the network expects",
                )
            before = found.get(name, (low, high))
            found[name] = min(low, before[0]), max(high, before[1])
    return found


def histograms(run: Run, batches: Iterable[Batch], within: dict[str, Range]) -> dict[str, Histogram]:
    """Return every activation's histogram between the extents that were found on the same data."""
    found = {name: Histogram.over(*extent) for name, extent in within.items()}
    for batch in batches:
        for name, values in run(batch):
            found[name] = found[name].plus(values)
    return found
