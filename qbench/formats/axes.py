"""Along which axis a network has its examples, read from what its file says of its inputs and outputs.

The rules, in this order:

1. An input of rank 0 has none: it is one value for every example.
2. A dimension whose name says batch is the batch axis (`batch`, `batch_size`; failing such, `N`, `B`, `bs`).
3. Without such a name it is the first free axis that is not named as a length (`time`, `sequence`, `height`);
   the same name in another input is the same axis. Only lengths being free, it is the first of them.
4. But with none free except lengths, or none of the first axes, an axis of length 1 is a batch of one,
   exported with free lengths: `1 x 3 x height x width`, `time x 1 x 80`.
5. Some inputs having a free batch axis, an input without any is the same for every example.
6. All inputs being fixed, the first axis of the first input is the batch, and of those that begin alike.

An output has its examples where it carries the batch's name. Otherwise the file does not say, and what stands
here is a guess that the first calls check (`formats/answers.py`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from qbench.formats.artifact import TensorSpec

BATCH = re.compile(r"(^|[^a-z])(batch|batchsize)([^a-z]|$)|^batch|batch$", re.IGNORECASE)
PERHAPS = re.compile(r"^(n|b|bs|bsz|nb|num_?examples|num_?samples|examples|samples)$", re.IGNORECASE)
LENGTH = re.compile(r"time|seq|len|height|width|frame|step|token|^[thwsl]$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Batch:
    """What is known of the network's batch: the names that it has, and whether it is a fixed one."""

    names: frozenset[str]
    others: frozenset[str]  # names of axes that are something else
    fixed: bool = False


def placed(
    inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Return the same inputs and outputs with their batch axes; `axes` names every dimension, if by ""."""
    if all(None not in spec.shape for spec in inputs):
        known = _all_fixed(inputs)
        return known, tuple(_fixed_output(spec, known) for spec in outputs)
    batch = _batch_of(inputs)
    if batch.fixed:
        known = tuple(replace(spec, batch_axis=_of_one(spec)) for spec in inputs)
        return known, tuple(_fixed_output(spec, known) for spec in outputs)
    known = tuple(replace(spec, batch_axis=_axis(spec, batch)) for spec in inputs)
    names = batch.names | {spec.axes[spec.batch_axis] for spec in known if spec.batch_axis is not None}
    return known, tuple(_output(spec, names - {""}) for spec in outputs)


def _batch_of(inputs: Sequence[TensorSpec]) -> _Batch:
    """Return the names that say batch anywhere; failing such, that of the first free axis."""
    names = [name for spec in inputs for name in spec.axes if name]
    for pattern in (BATCH, PERHAPS):
        if said := frozenset(name for name in names if pattern.search(name)):
            beside = [spec for spec in inputs if said & set(spec.axes)]
            return _Batch(said, frozenset(name for spec in beside for name in spec.axes) - said - {""})
    free = [spec for spec in inputs if None in spec.shape]
    if _of_ones(free):
        return _Batch(frozenset(), frozenset(), fixed=True)
    first = next((spec for spec in free if spec.shape[0] is None), free[0])
    said = frozenset({first.axes[_first_free(first)]} - {""})
    return _Batch(said, frozenset(first.axes) - said - {""})


def _of_ones(free: Sequence[TensorSpec]) -> bool:
    """Tell whether inputs with free axes are of a batch of one, and what is free are lengths."""
    lengths = all(LENGTH.search(name) for spec in free for name, size in _dims(spec) if size is None)
    later = not any(spec.shape[0] is None for spec in free) and any(spec.shape[0] == 1 for spec in free)
    return later or (lengths and any(1 in spec.shape for spec in free))


def _of_one(spec: TensorSpec) -> int | None:
    """Return where an input has its batch of one: where the 1 is, an input without free axes in front."""
    if None in spec.shape:
        return spec.shape.index(1) if 1 in spec.shape else None
    return 0 if spec.shape[:1] == (1,) else None


def _axis(spec: TensorSpec, batch: _Batch) -> int | None:
    """Return an input's batch axis in a network that has one somewhere, None where it is a constant."""
    named = [axis for axis, name in enumerate(spec.axes) if name in batch.names]
    if named:
        return named[0]
    free = [
        axis for axis, (name, size) in enumerate(_dims(spec)) if size is None and name not in batch.others
    ]
    return next((axis for axis in free if not LENGTH.search(spec.axes[axis])), free[0] if free else None)


def _dims(spec: TensorSpec) -> list[tuple[str, int | None]]:
    return list(zip(spec.axes, spec.shape, strict=True))


def _first_free(spec: TensorSpec) -> int:
    free = [axis for axis, size in enumerate(spec.shape) if size is None]
    return next((axis for axis in free if not LENGTH.search(spec.axes[axis])), free[0])


def _all_fixed(inputs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    size = next((spec.shape[0] for spec in inputs if spec.shape), None)
    return tuple(
        replace(spec, batch_axis=0 if spec.shape and spec.shape[0] == size else None) for spec in inputs
    )


def _fixed_output(spec: TensorSpec, inputs: Sequence[TensorSpec]) -> TensorSpec:
    """Return an output of a network that takes one number of examples: it lies where that number stands."""
    size = next((known.shape[0] for known in inputs if known.batch_axis == 0), 1)
    if spec.shape and spec.shape[0] not in (size, None):
        axis = spec.shape.index(size) if size != 1 and size in spec.shape else None
        return replace(spec, batch_axis=axis, batch_told=False)
    return replace(spec, batch_axis=0, batch_told=False)


def _output(spec: TensorSpec, names: frozenset[str]) -> TensorSpec:
    for axis, name in enumerate(spec.axes):
        if name in names:
            return replace(spec, batch_axis=axis, batch_told=True)
    guess = _first_free(spec) if None in spec.shape else (0 if spec.shape else None)
    return replace(spec, batch_axis=guess, batch_told=False)
