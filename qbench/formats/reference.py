"""What the float source answers for a few fixed inputs, kept beside the artifact made from it.

An engine whose float outputs do not meet these is wrong, however fast it is, and nobody would know.

A quantized file has answers of its own: those of the same file with every integer simulated in float, kept
beside it and beside no other. An engine may be wrong although the file is right: openvino 2026.4.1 answers a
chain of integer matrix products of a fixed batch of 8 with errors larger than the outputs' range.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qbench.cases import Quantized
from qbench.errors import BadFile
from qbench.quant.cascade import ESCALATED, escalated_at
from qbench.quant.ir_graph import simulated_outputs
from qbench.quant.program import read_program

if TYPE_CHECKING:
    from qbench.formats.artifact import Artifact, TensorSpec

NAME = "artifact.reference.npz"
SIMULATED = "artifact.simulated.npz"
ASKED = "artifact.asked.npz"
NO_SIMULATION = "no simulated answers"  # the name of the artifact's note that says why
COUNT = 8  # inputs: enough to meet every code path of a batch, cheap enough for every score
COUNT_OF_FILE = 2  # for the source that is a file: its evaluator is plain numpy, and slow


def reference_inputs(specs: tuple[TensorSpec, ...], count: int = COUNT) -> dict[str, np.ndarray]:
    """Return fixed inputs: standard normal where floating, zeros elsewhere; free dimensions are the batch."""
    rng = np.random.default_rng(0)
    inputs = {}
    for spec in specs:
        shape = [count if size is None else size for size in spec.shape]
        values = rng.standard_normal(shape) if spec.dtype.startswith("float") else np.zeros(shape)
        inputs[spec.name] = values.astype(spec.dtype)
    return inputs


def keep_reference(artifact: Artifact, folder: Path) -> None:
    """Ask a live torch module, the source itself, before any technique has touched it; keep its answers."""
    import torch

    inputs = reference_inputs(artifact.inputs)
    with torch.no_grad():
        answers = artifact.module(*(torch.from_numpy(array) for array in inputs.values()))
    first = answers if isinstance(answers, torch.Tensor) else next(iter(answers))
    write_reference(folder, inputs, first.float().numpy())


def keep_reference_of_file(artifact: Artifact, folder: Path) -> None:
    """Ask an ONNX file through the standard's own evaluator, which shares no code with any engine.

    A network with an operator that it lacks goes without: `read_reference` then returns None, and the score
    says so.
    """
    from onnx.reference import ReferenceEvaluator

    inputs = reference_inputs(artifact.inputs, COUNT_OF_FILE)
    try:
        with np.errstate(all="ignore"):
            answers: Any = ReferenceEvaluator(str(artifact.path)).run(None, inputs)
            outputs = np.asarray(answers[0])
    except Exception:  # it raises what its operators raise: a missing one, a shape it does not expect
        return
    if outputs.size and np.isfinite(outputs).all():
        write_reference(folder, inputs, outputs)


def keep_simulated(artifact: Artifact, folder: Path, before: Path | None = None) -> str | None:
    """Keep a quantized file's own answers with simulated integers; return why there are none, if so.

    An ONNX file runs as written, without any optimization and on one thread: dequantize, operate in float,
    quantize; an IR with its rounding written out in float; an exported program operator by operator. No
    integer kernel takes part. A compiled package has no second reader: it answers as the program in `before`
    that it was made from. None too for a network that makes no claim about integers.
    """
    (folder / SIMULATED).unlink(missing_ok=True)  # whatever a technique may have left under this name
    if not isinstance(artifact.state, Quantized):
        return None
    if artifact.format in COMPILED and before and (before / SIMULATED).is_file():
        shutil.copyfile(before / SIMULATED, folder / SIMULATED)
        return None
    if artifact.format not in SIMULATORS:
        return f"a file in the format {artifact.format} has no second reader to compare an engine with"
    if artifact.state.scheme.dynamic or artifact.state.scheme.activation_bits is None:
        return "integers inside one operator of the file are not simulated: only fixed scales are"
    kept = read_reference(folder)
    inputs = _and_asked(folder, kept[0] if kept else reference_inputs(artifact.inputs))
    try:
        outputs, more = SIMULATORS[artifact.format](artifact.path or Path(), inputs), {}
        if at := escalated_at([spec.name for spec in artifact.outputs]):
            more[ESCALATED] = _all_as_written(artifact.path or Path(), inputs)[at]
    except ImportError as error:
        return f"the library that simulates them is missing where the file was made ({error})"
    except Exception as error:  # the library's own kinds; that the file is broken is for each engine to say
        return f"its simulation stopped: {str(error).strip().splitlines()[-1]}"
    if not np.isfinite(outputs).all():
        return "simulated, it answers with NaN or infinity"
    _write(folder / SIMULATED, inputs, outputs, more)
    return None


def keep_asked(folder: Path, inputs: dict[str, np.ndarray]) -> None:
    """Let a technique name inputs by which its file is to be compared too, where noise does not reach all."""
    arrays: dict[str, Any] = inputs
    np.savez(folder / ASKED, **arrays)


def _and_asked(folder: Path, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    if not (folder / ASKED).is_file():
        return inputs
    with np.load(folder / ASKED) as asked:
        return {name: np.concatenate([array, asked[name]]) for name, array in inputs.items()}


def _as_written(path: Path, inputs: dict[str, np.ndarray]) -> np.ndarray:
    return _all_as_written(path, inputs)[0]


def _all_as_written(path: Path, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Return every output, a file of a fixed batch asked as often as it takes."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before the import, which starts a thread otherwise
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    count = len(next(iter(inputs.values())))
    fixed = session.get_inputs()[0].shape[0]
    size = fixed if isinstance(fixed, int) else count
    parts = [
        session.run(None, {name: array[start : start + size] for name, array in inputs.items()})
        for start in range(0, count, size)
    ]
    return [np.concatenate([np.asarray(part) for part in output]) for output in zip(*parts, strict=True)]


def _operator_by_operator(path: Path, inputs: dict[str, np.ndarray]) -> np.ndarray:
    import torch

    module: Any = read_program(path).module()
    with torch.no_grad():
        answers = module(*(torch.from_numpy(array) for array in inputs.values()))
    first = answers if isinstance(answers, torch.Tensor) else next(iter(answers))
    return np.asarray(first.float().numpy())


COMPILED = ("pt2",)  # from a program, which is what they are held to
SIMULATORS: dict[str, Callable[[Path, dict[str, np.ndarray]], np.ndarray]] = {
    "onnx": _as_written,
    "openvino": simulated_outputs,
    "exported": _operator_by_operator,
}


def write_reference(folder: Path, inputs: dict[str, np.ndarray], outputs: np.ndarray) -> None:
    """Keep inputs with the outputs that belong to them."""
    _write(folder / NAME, inputs, outputs)


def _write(
    path: Path,
    inputs: dict[str, np.ndarray],
    outputs: np.ndarray,
    more: dict[str, np.ndarray] | None = None,
) -> None:
    arrays: dict[str, Any] = {f"in_{name}": array for name, array in inputs.items()}
    np.savez(path, outputs=outputs, **arrays | (more or {}))


def pass_on_reference(before: Path, folder: Path) -> None:
    """Copy the float source's answers along to the product of a further hop."""
    if (before / NAME).is_file():  # over whatever a technique may have left under this name
        shutil.copyfile(before / NAME, folder / NAME)


def read_reference(folder: Path) -> tuple[dict[str, np.ndarray], np.ndarray] | None:
    """Return inputs and the float source's outputs, or None where the source could not be asked.

    Raises:
        BadFile: the file is torn.
    """
    return _read(folder / NAME)


def read_simulated(folder: Path, what: str = "outputs") -> tuple[dict[str, np.ndarray], np.ndarray] | None:
    """Return inputs and this file's own outputs with simulated integers, or None where it has none.

    `what` may be ESCALATED, for a file with two networks: for which inputs the second one answered.

    Raises:
        BadFile: the file is torn.
    """
    return _read(folder / SIMULATED, what)


def _read(path: Path, what: str = "outputs") -> tuple[dict[str, np.ndarray], np.ndarray] | None:
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file) as kept:  # numpy leaves a torn file open
            inputs = {name[3:]: kept[name] for name in kept.files if name.startswith("in_")}
            return inputs, kept[what]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise BadFile(f"{path} cannot be read: {error}", fix="delete that folder and run again") from error


def relative_error(outputs: np.ndarray, reference: np.ndarray) -> float:
    """Return the largest difference over the reference's range; infinite if shapes or numbers are broken."""
    if outputs.shape != reference.shape or not outputs.size:
        return float("inf")
    if not (np.isfinite(outputs).all() and np.isfinite(reference).all()):
        return float("inf")
    span = float(np.ptp(reference)) or 1.0
    return float(np.abs(outputs.astype(np.float64) - reference).max()) / span
