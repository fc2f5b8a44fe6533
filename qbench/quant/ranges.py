"""What activations were on calibration data: their extents, then their histograms, one batch at a time.

Two passes over the data: the first fixes the histograms' edges, so that batches merge by addition and memory
does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

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


class Spec(Protocol):
    """An input of the network (formats.artifact.TensorSpec); named here because imports point down."""

    @property
    def name(self) -> str:
        """Return its name."""

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Return its shape, None where a dimension is free."""

    @property
    def batch_axis(self) -> int | None:
        """Return along which axis its examples lie, None where it has one value for all."""


def shaped_or_raise(inputs: Batch, wanted: Iterable[Spec], technique: str) -> None:
    """Check that calibration inputs, each (count, ...), are those that the network takes.

    Raises:
        DoesNotFit: one is missing, of another shape or unknown, or they hold differently many examples.
    """
    specs = {spec.name: _examples_first(spec) for spec in wanted}
    if not specs:
        return  # the artifact says nothing of its inputs
    found = {name: array.shape for name, array in inputs.items()}
    for name in dict.fromkeys([*specs, *found]):
        takes, gets = specs.get(name), found.get(name)
        if takes is not None and gets is not None and _alike(takes, gets):
            continue
        raise DoesNotFit(
            f"{technique}: the network takes {_told(specs)}, and the calibration data has {_told(found)}",
            fix=f"give {name!r} of shape {_dims(takes)}, N examples" if takes else f"leave {name!r} out",
        )
    if len({shape[0] for shape in found.values() if shape}) > 1:
        raise DoesNotFit(
            f"{technique}: the calibration data has differently many examples of its inputs: {_told(found)}",
            fix="give every input of every example",
        )


def _examples_first(spec: Spec) -> tuple[int | None, ...]:
    """Return the shape of an input's examples: their number, then what each is."""
    axis = spec.batch_axis
    if axis is None or not spec.shape:
        return (None, *spec.shape)
    return (spec.shape[axis], *spec.shape[:axis], *spec.shape[axis + 1 :])


def _alike(takes: tuple[int | None, ...], gets: tuple[int, ...]) -> bool:
    """Compare shapes but for the first dimension: of examples there may be any number."""
    pairs = list(zip(takes, gets, strict=False))[1:]
    return len(takes) == len(gets) and all(own in (None, other) for own, other in pairs)


def _told(shapes: Mapping[str, tuple[int | None, ...]]) -> str:
    return ", ".join(f"{name!r} of shape {_dims(shape)}" for name, shape in shapes.items()) or "nothing"


def _dims(shape: tuple[int | None, ...]) -> str:
    return f"({', '.join('N' if size is None else str(size) for size in shape)})"


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
