"""All outputs of a network for examples, in the examples' form, from a function that runs it.

It is asked as often as the network demands: whole batches of a fixed size, one example at a time where an
input without a batch axis differs between examples, one call after the other where state is carried. Where
an output's examples lie is taken from the file if it says so, and observed otherwise: with one example, with
another and with both. What still cannot be told apart is asked for one example at a time.

Who scores a network on an engine and who chooses between networks read outputs by these rules alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from qbench.errors import QbenchError
from qbench.formats.signature import ALONE, at_most, fed, fixed_batch, seen_axis

if TYPE_CHECKING:
    from qbench.formats.artifact import Artifact, TensorSpec

Call = Callable[[dict[str, np.ndarray]], Sequence[np.ndarray]]  # what a call takes -> all outputs, in order
Answer = np.ndarray | list[np.ndarray]  # (count, ...), or one array an example where their lengths differ
Arrays = Mapping[str, np.ndarray]


class WrongOutputs(QbenchError):
    """An engine answered with something that cannot be the network's output."""


def answers(call: Call, artifact: Artifact, inputs: Arrays, size: int) -> tuple[Answer, ...]:
    """Return every output, in the file's order, for every example, in order.

    Up to `size` examples go into a call. A recurrent network is called once an example, and is fed its own
    state: its errors add up from call to call, as they do for its user.

    Shapes:
        inputs: (count, ...) each, in the examples' form.
        returns: (count, ...) each, or `count` arrays where an output's length differs between examples.

    Raises:
        WrongOutputs: as for `ask`.
    """
    if artifact.carried:
        return _carrying(call, artifact, inputs)
    return ask(call, artifact, inputs, size)


def ask(call: Call, artifact: Artifact, inputs: Arrays, size: int) -> tuple[Answer, ...]:
    """Return every output for these examples, (count, ...) each; state is what the examples say it is.

    Shapes:
        returns: as `answers` does.

    Raises:
        WrongOutputs: the engine gave another number of outputs than the file has, or, for a network that is
            no user's file, an output that has not one row for every example.
    """
    count, fixed = _count(inputs), fixed_batch(artifact.inputs)
    step = fixed or at_most(artifact.inputs, inputs, size)
    axes = _axes(call, artifact, inputs)
    found: list[list[np.ndarray] | None] = [None if axis == ALONE else [] for axis in axes]
    for start in range(0, count, step):
        rows = np.arange(start, start + step)
        rows = np.minimum(rows, count - 1) if fixed else rows[rows < count]
        outputs = _called(call, artifact, _rows(inputs, rows))
        for place, array in enumerate(outputs):
            parts = found[place]
            split = None if parts is None else _by_example(array, axes[place], len(rows))
            if parts is None or split is None:
                _refuse(artifact.outputs[place], array, len(rows))
                found[place] = None
            else:
                parts.extend(split[: count - start])
    if None not in found:
        return tuple(_joined(parts or []) for parts in found)
    alone = list(zip(*_one_by_one(call, artifact, inputs), strict=True))
    return tuple(_joined(list(alone[i]) if parts is None else parts) for i, parts in enumerate(found))


def _carrying(call: Call, artifact: Artifact, inputs: Arrays) -> tuple[Answer, ...]:
    """Ask for one example after the other, each call fed the state that the call before it answered."""
    names = [spec.name for spec in artifact.outputs]
    state: dict[str, np.ndarray] = {}
    told = []
    for row in range(_count(inputs)):
        taken = fed(artifact.inputs, _rows(inputs, np.array([row]))) | state
        outputs = _outputs(call, artifact, taken)
        state = {into: outputs[names.index(out)] for into, out in artifact.carried}
        told.append([_one(spec, array) for spec, array in zip(artifact.outputs, outputs, strict=True)])
    return tuple(_joined(list(parts)) for parts in zip(*told, strict=True))


def _one_by_one(call: Call, artifact: Artifact, inputs: Arrays) -> Iterator[list[np.ndarray]]:
    """Yield the outputs of each example, asked for alone.

    A network of a fixed batch gets the example as often as it takes; the answer of the call is then its own.
    """
    fixed = fixed_batch(artifact.inputs) or 1
    for row in range(_count(inputs)):
        outputs = _called(call, artifact, _rows(inputs, np.full(fixed, row)))
        yield [np.array(array) for array in outputs]


def _axes(call: Call, artifact: Artifact, inputs: Arrays) -> list[int | None]:
    """Return where each output has its examples: as the file says, or as three calls show."""
    specs, fixed = artifact.outputs, fixed_batch(artifact.inputs)
    if fixed:
        return [_axis_of_fixed(spec, fixed) for spec in specs]
    if all(spec.batch_told for spec in specs) or _count(inputs) < 2:
        return [spec.batch_axis for spec in specs]
    if at_most(artifact.inputs, inputs, 2) < 2:
        return [spec.batch_axis if spec.batch_told else None for spec in specs]
    asked = [_called(call, artifact, _rows(inputs, np.array(rows))) for rows in ([0], [1], [0, 1])]
    return [
        spec.batch_axis if spec.batch_told else seen_axis(one, other, both)
        for spec, one, other, both in zip(specs, *asked, strict=True)
    ]


def _axis_of_fixed(spec: TensorSpec, size: int) -> int | None:
    """Return where an output of a network of this fixed batch has its examples, None where nowhere."""
    axis, shape = spec.batch_axis, spec.shape
    if axis is None or (axis < len(shape) and shape[axis] in (size, None)):
        return axis
    return shape.index(size) if size > 1 and size in shape else None


def _called(call: Call, artifact: Artifact, inputs: Arrays) -> Sequence[np.ndarray]:
    return _outputs(call, artifact, fed(artifact.inputs, inputs))


def _outputs(call: Call, artifact: Artifact, taken: dict[str, np.ndarray]) -> Sequence[np.ndarray]:
    outputs = call(taken)
    if len(outputs) != len(artifact.outputs):
        raise WrongOutputs(
            f"the engine gave {len(outputs)} outputs, and the file has {len(artifact.outputs)}: "
            f"{', '.join(spec.name for spec in artifact.outputs)}",
            fix="leave this engine out for this network (--backend)",
        )
    return outputs


def _by_example(array: np.ndarray, axis: int | None, count: int) -> list[np.ndarray] | None:
    """Return each example's part of one call's output; None where it has no such axis of this length."""
    if axis is None:
        return [array] * count
    shape = np.shape(array)
    if axis >= len(shape) or shape[axis] != count:
        return None
    return list(np.moveaxis(array, axis, 0))


def _one(spec: TensorSpec, array: np.ndarray) -> np.ndarray:
    """Return the only example's part of a call's output: without its batch axis, where it has one."""
    split = _by_example(array, spec.batch_axis, 1)
    return np.array(array if split is None else split[0])  # a copy: an engine may reuse its buffers


def _refuse(spec: TensorSpec, array: np.ndarray, count: int) -> None:
    """Refuse an output without one row for every example, of a network that qbench itself describes."""
    if spec.batch_told and not spec.axes:
        raise WrongOutputs(
            f"the engine gave an output of shape {np.shape(array)} for {count} examples",
            fix="leave this engine out for this network (--backend), or export it with the batch first",
        )


def _joined(parts: list[np.ndarray]) -> Answer:
    return np.stack(parts) if len({np.shape(part) for part in parts}) == 1 else parts


def _count(inputs: Arrays) -> int:
    return len(next(iter(inputs.values())))


def _rows(inputs: Arrays, rows: np.ndarray) -> dict[str, np.ndarray]:
    return {name: array[rows] for name, array in inputs.items()}
