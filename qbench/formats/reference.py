"""What the float source answers for a few fixed inputs, kept beside the artifact made from it.

An engine whose float outputs do not meet these is wrong, however fast it is: openvino 2026.4.1 answers with
errors of 5 on one chain of matrix multiplications (see docs/methodology.md), and nobody would know.
"""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qbench.errors import BadFile

if TYPE_CHECKING:
    from qbench.formats.artifact import Artifact, TensorSpec

NAME = "artifact.reference.npz"
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


def write_reference(folder: Path, inputs: dict[str, np.ndarray], outputs: np.ndarray) -> None:
    """Keep inputs with the outputs that belong to them."""
    arrays: dict[str, Any] = {f"in_{name}": array for name, array in inputs.items()}
    np.savez(folder / NAME, outputs=outputs, **arrays)


def pass_on_reference(before: Path, folder: Path) -> None:
    """Copy the float source's answers along to the product of a further hop."""
    if (before / NAME).is_file():  # over whatever a technique may have left under this name
        shutil.copyfile(before / NAME, folder / NAME)


def read_reference(folder: Path) -> tuple[dict[str, np.ndarray], np.ndarray] | None:
    """Return inputs and the float source's outputs, or None where the source could not be asked.

    Raises:
        BadFile: the file is torn.
    """
    if not (folder / NAME).is_file():
        return None
    try:
        with (folder / NAME).open("rb") as file, np.load(file) as kept:  # numpy leaves a torn file open
            inputs = {name[3:]: kept[name] for name in kept.files if name.startswith("in_")}
            return inputs, kept["outputs"]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise BadFile(
            f"{folder / NAME} cannot be read: {error}", fix="delete that folder and run again"
        ) from error


def relative_error(outputs: np.ndarray, reference: np.ndarray) -> float:
    """Return the largest difference over the reference's range; infinite if shapes or numbers are broken."""
    if outputs.shape != reference.shape or not outputs.size:
        return float("inf")
    if not (np.isfinite(outputs).all() and np.isfinite(reference).all()):
        return float("inf")
    span = float(np.ptp(reference)) or 1.0
    return float(np.abs(outputs.astype(np.float64) - reference).max()) / span
