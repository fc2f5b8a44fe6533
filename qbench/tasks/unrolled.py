"""What a recurrent float network's state really is before each of its calls, over a stream of samples.

Calibration, checks and timing then see states as they come up in use, not zeros, and each call stands for
itself. The file runs as written, without optimization, in the process that makes the examples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from qbench.errors import DoesNotFit
from qbench.formats.artifact import TensorSpec
from qbench.formats.signature import fed
from qbench.formats.state import Pairs
from qbench.quant.onnx_session import session_of

Run = Callable[[list[str], dict[str, np.ndarray]], list[Any]]


def unrolled(
    path: Path, inputs: tuple[TensorSpec, ...], carried: Pairs, examples: Mapping[str, np.ndarray], count: int
) -> dict[str, np.ndarray]:
    """Return each carried input before each of the first `count` calls, (count, ...), the first as given.

    Raises:
        DoesNotFit: nothing here can run the file, or a state changes its shape.
    """
    run, outputs = _runner(path), [out for _, out in carried]
    specs = {spec.name: spec for spec in inputs}
    told: dict[str, list[np.ndarray]] = {name: [] for name, _ in carried}
    state: dict[str, np.ndarray] = {}
    for row in range(count):
        call = fed(inputs, {name: array[row : row + 1] for name, array in examples.items()}) | state
        for name, values in told.items():
            axis = specs[name].batch_axis
            values.append(call[name] if axis is None else np.moveaxis(call[name], axis, 0)[0])
        try:
            found = run(outputs, call)
        except Exception as error:  # the engine's own kinds
            reason = str(error).strip().splitlines()[-1]
            raise DoesNotFit(
                f"the state of {path.name} cannot be followed; call {row + 1} stopped: {reason}",
                fix="check with onnxruntime that the network takes these samples, one call after the other",
            ) from error
        state = {name: np.asarray(value) for (name, _), value in zip(carried, found, strict=True)}
        for name, value in state.items():
            if value.shape != call[name].shape:
                raise DoesNotFit(
                    f"{name} is {_shape(call[name])} and the output that it is carried from {_shape(value)}",
                    fix="name the right pair with --state INPUT=OUTPUT, or give its first value as an array",
                )
    return {name: np.stack(values) for name, values in told.items()}


def _shape(array: np.ndarray) -> str:
    return " x ".join(map(str, array.shape)) or "a scalar"


def _runner(path: Path) -> Run:
    try:
        session = session_of(path)
    except ImportError:
        from onnx.reference import ReferenceEvaluator

        evaluator: Any = ReferenceEvaluator(str(path))
        return lambda outputs, call: list(evaluator.run(outputs, call))
    return lambda outputs, call: list(session.run(outputs, call))
