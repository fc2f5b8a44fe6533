"""All outputs of a deployment on disk, for what is compared with them later: one .npz file."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from qbench.cases import Case, key
from qbench.errors import BadFile
from qbench.folders import cache_folder
from qbench.formats.answers import Answer


def answers_file(case: Case, data_id: str) -> Path:
    """Return where a deployment's outputs for these examples are kept for the comparisons with it."""
    return cache_folder() / "answers" / f"{key(case.scored)}-{data_id}.npz"


def keep(path: Path, outputs: Sequence[Answer]) -> None:
    """Write all outputs, whole or not at all; of unlike lengths as a row of numbers and their shapes."""
    arrays: dict[str, np.ndarray] = {"count": np.array(len(outputs))}
    for number, output in enumerate(outputs):
        if isinstance(output, np.ndarray):
            arrays[f"{number}"] = output.astype(str) if output.dtype.kind == "O" else output
        else:
            arrays[f"{number}.values"] = np.concatenate([np.ravel(part) for part in output])
            arrays[f"{number}.shapes"] = np.array([np.shape(part) for part in output])
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    os.replace(temporary, path)


def kept(path: str | Path) -> list[Answer]:
    """Return the outputs that `keep` wrote, in its order.

    Raises:
        BadFile: the file is not there or torn.
    """
    try:
        with Path(path).open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return [_output(file, number) for number in range(int(file["count"]))]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise BadFile(
            f"the float network's answers in {path} cannot be read: {error}",
            fix="run again without --resume: they are asked for anew",
        ) from error


def _output(file: np.lib.npyio.NpzFile, number: int) -> Answer:
    if f"{number}" in file.files:
        return np.asarray(file[f"{number}"])
    values, shapes = file[f"{number}.values"], file[f"{number}.shapes"]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]
    return [part.reshape(shape) for part, shape in zip(np.split(values, ends), shapes, strict=True)]
