"""Asking an engine what is kept beside its file: the same calls, and a crowd as large as a score's batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from qbench.formats.answers import WrongOutputs
from qbench.formats.calls import call_of
from qbench.formats.signature import at_most, fixed_batch, gathered
from qbench.referee.distance import range_of

if TYPE_CHECKING:
    from qbench.formats.artifact import TensorSpec
    from qbench.formats.reference import Kept, Outputs
    from qbench.run.steps.session import Opened

BATCH = 50  # of a score: accuracy does not depend on it, and it keeps a worker small
Pairs = list[tuple[str, np.ndarray, np.ndarray]]  # an output's name, what was found and what is wanted


def asked(opened: Opened, kept: Kept) -> list[Pairs]:
    """Return what the engine answers to every kept call beside what was kept, an entry an output.

    An output whose length the network chooses may have another one here: see `unlike`.

    Raises:
        WrongOutputs: another number of outputs, or another shape where the file leaves none open.
    """
    specs, found = opened.artifact.outputs, []
    for call, wanted in zip(kept.calls(opened.artifact.inputs), kept.answers, strict=True):
        outputs = opened.session.run(call)
        found.append(_paired(opened, specs, outputs, wanted))
    return found


def crowd(opened: Opened, kept: Kept) -> Pairs:
    """Ask for the kept inputs repeated to as many as a scoring batch has: kernels go by the size of a batch.

    Empty where the network's batch is fixed, or an output's examples cannot be told apart.
    """
    artifact = opened.artifact
    size = min(BATCH, len(opened.examples))
    count = max(stop for _, stop in kept.spans)
    if fixed_batch(artifact.inputs) or at_most(artifact.inputs, kept.inputs, count) < count:
        return []
    rows = np.arange(max(count, size)) % count
    inputs = {name: array[rows] for name, array in kept.inputs.items()}
    outputs = opened.session.run(call_of(artifact.inputs, inputs, (0, len(rows))))
    pairs = []
    every = kept.by_example(artifact.outputs)
    for spec, array, wanted in zip(artifact.outputs, outputs, every, strict=False):
        axis = spec.batch_axis
        if wanted is not None and (axis is None or np.shape(array)[axis : axis + 1] == (len(rows),)):
            pairs.append((spec.name, gathered([spec], [array], len(rows))[0], wanted[rows]))
        elif wanted is not None and spec.batch_told:
            assert axis is not None
            pairs.append((spec.name, np.asarray(array), np.moveaxis(wanted[rows], 0, axis)))
    return pairs


def alike(found: Sequence[Pairs]) -> list[Pairs]:
    """Return the pairs that can be compared: those of the same shape."""
    return [[pair for pair in pairs if pair[1].shape == pair[2].shape] for pairs in found]


def unlike(found: Sequence[Pairs]) -> str:
    """Return which output has another shape here, and which; "" where all can be compared."""
    for pairs in found:
        for name, array, wanted in pairs:
            if array.shape != wanted.shape:
                return f"output {name!r} has shape {array.shape} here, and {wanted.shape}"
    return ""


def ranges_of(found: Sequence[Pairs]) -> dict[str, float]:
    """Return the range of what is wanted of each output, over all calls."""
    wanted: dict[str, list[np.ndarray]] = {}
    for pairs in found:
        for name, _, array in pairs:
            wanted.setdefault(name, []).append(array)
    return {name: range_of(arrays) for name, arrays in wanted.items()}


def _paired(opened: Opened, specs: tuple[TensorSpec, ...], outputs: Outputs, wanted: Outputs) -> Pairs:
    if len(outputs) != len(specs):
        raise WrongOutputs(
            f"{opened.case.deployment.backend} gave {len(outputs)} outputs; the file has {len(specs)}",
            fix="leave this engine out for this network (--backend)",
        )
    pairs = []
    for spec, array, right in zip(specs, outputs, wanted, strict=False):  # a technique may add one
        pairs.append((spec.name, array, right))
        if array.shape != right.shape and not _is_open(spec, array.shape, right.shape):
            raise WrongOutputs(
                f"{opened.case.deployment.backend} gave outputs of shape {array.shape}; the source gives "
                f"{right.shape}",
                fix="leave this engine out for this network (--backend)",
            )
    return pairs


def _is_open(spec: TensorSpec, found: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Tell whether two shapes differ only where the network itself chooses a length."""
    if len(found) != len(wanted):
        return False
    unlike = [axis for axis, (a, b) in enumerate(zip(found, wanted, strict=True)) if a != b]
    fixed = {axis for axis, size in enumerate(spec.shape) if size is not None}
    if spec.batch_told and spec.batch_axis is not None:
        fixed.add(spec.batch_axis)
    return not fixed.intersection(unlike)
