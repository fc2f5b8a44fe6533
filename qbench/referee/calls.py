"""What the voices are asked and what they answer, as files that pass between processes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qbench.formats.calls import Call

REASON = "reason.txt"
MARK = "of "  # before every name: an input may be called as a parameter of numpy.savez is


def write_calls(folder: Path, calls: Sequence[Call]) -> None:
    """Write the calls for a voice."""
    for number, call in enumerate(calls):
        _write(folder / f"call-{number}.npz", call)


def call_files(folder: Path) -> list[Path]:
    """Return the calls' files in order."""
    return [folder / f"call-{number}.npz" for number in range(len(list(folder.glob("call-*.npz"))))]


def answer_file(folder: Path, number: int) -> Path:
    """Return where the answer to a call is or will be."""
    return folder / f"answer-{number}.npz"


def write_answer(path: Path, outputs: Sequence[Any]) -> None:
    """Write all outputs of one call, whole or not at all.

    Raises:
        TypeError: an output is no array of numbers: a sequence, a map, strings.
    """
    arrays = {}
    for number, output in enumerate(outputs):
        array = np.asarray(output)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"output {number} is no tensor of numbers, but {type(output).__name__}")
        arrays[str(number)] = array
    _write(path, arrays)


def read_arrays(path: Path) -> Call:
    """Return the arrays of a file by name."""
    with np.load(path) as kept:
        return {name[len(MARK) :]: kept[name] for name in kept.files}


def read_answer(path: Path) -> tuple[np.ndarray, ...]:
    """Return all outputs of one call, in the file's order."""
    arrays = read_arrays(path)
    return tuple(arrays[str(number)] for number in range(len(arrays)))


def _write(path: Path, arrays: Call) -> None:
    temporary = path.with_suffix(".part")
    marked: Any = {MARK + name: array for name, array in arrays.items()}
    with temporary.open("wb") as written:
        np.savez(written, **marked)
    os.replace(temporary, path)
