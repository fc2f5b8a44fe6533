"""What a task is: examples, and a score for the answers. Numpy only; no task knows an engine."""

from __future__ import annotations

import abc
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from qbench.errors import BadFile, CannotWrite
from qbench.folders import cache_folder
from qbench.formats.signature import one_value, taken
from qbench.registry import Registry

if TYPE_CHECKING:
    from qbench.cases import DataSpec, Split
    from qbench.records import Measurement, Withheld

TASKS: Registry[type[Task]] = Registry("task", "qbench.tasks")


@dataclass(frozen=True, slots=True)
class Examples:
    """Stored examples of a task: raw arrays by input name, labels where there are any, and the id of both."""

    data_id: str
    raw: dict[str, np.ndarray]
    labels: np.ndarray | None

    def __len__(self) -> int:
        """Return how many examples there are."""
        return len(next(iter(self.raw.values())))


class Task(abc.ABC):
    """A question put to a network. Leaves are frozen dataclasses; their fields are parameters of a suite."""

    about: ClassVar[str]
    undecided: ClassVar[str] = ""  # why no output can be judged, whatever is measured of it; "": they can

    @abc.abstractmethod
    def sizes(self) -> dict[Split, int]:
        """Return how many examples each split has, without rendering or loading any."""

    @abc.abstractmethod
    def recipe(self) -> str:
        """Return a digest of all that decides the examples, without rendering or loading any."""

    @abc.abstractmethod
    def examples(self, spec: DataSpec) -> Examples:
        """Make the examples: the first `count` of the split, or a draw by `seed`."""

    @abc.abstractmethod
    def prepare(self, raw: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return raw examples as the network's inputs: float32, contiguous, batch first."""

    @abc.abstractmethod
    def chance(self, examples: Examples) -> float | None:
        """Return what always giving the commonest answer scores; None where nothing is right or wrong."""

    @abc.abstractmethod
    def score(
        self, outputs: np.ndarray, examples: Examples
    ) -> tuple[tuple[Measurement, ...], tuple[Withheld, ...]]:
        """Return per-sample measurements of outputs (count, ...), finite or not, and what is withheld."""

    def kinds(self) -> Mapping[str, str]:
        """Return how the user says that outputs are read, by output's name; the others are recognised."""
        return {}

    def vary(self, raw: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:  # noqa: ARG002
        """Return raw examples changed at random in a way that keeps what they mean; here: as they are."""
        return raw

    def answers(self, outputs: np.ndarray) -> np.ndarray:
        """Return what a caller is told of outputs (count, ...): the first answer. It is timed as such."""
        return np.asarray(outputs.argmax(axis=-1))


def batch_of(
    task: Task, examples: Examples, start: int, size: int, *, whole: bool = False
) -> dict[str, np.ndarray]:
    """Return the network's inputs for `size` examples from `start` on; the last batch may be smaller.

    With `whole`, a batch that runs over the end is filled up with the last example, for a network that takes
    batches of one size only; the caller cuts the answers.
    """
    rows = np.arange(start, start + size)
    rows = np.minimum(rows, len(examples) - 1) if whole else rows[rows < len(examples)]
    return task.prepare({name: taken(array, rows) for name, array in examples.raw.items()})


# --- stored examples: rendered once on the host, read by content id wherever they are needed --------


def folder_of(data_id: str) -> Path:
    """Return where the examples with this id are kept."""
    return cache_folder() / "inputs" / data_id


def store(examples: Examples) -> Path:
    """Keep the examples under their id, whole or not at all.

    Raises:
        CannotWrite: no room, or no right to write.
    """
    folder = folder_of(examples.data_id)
    if (folder / "examples.json").is_file():
        return folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, array in enumerate(examples.raw.values()):
            _save(folder / f"raw-{number}.npy", array[:1] if one_value(array) else array)
        if examples.labels is not None:
            _save(folder / "labels.npy", examples.labels)
        note = {
            "inputs": list(examples.raw),
            "labels": examples.labels is not None,
            "count": len(examples),
        }
        temporary = folder / f"examples.{os.getpid()}"
        temporary.write_text(json.dumps(note))
        os.replace(temporary, folder / "examples.json")
    except OSError as error:
        raise CannotWrite(
            f"examples cannot be kept in {folder}: {error.strerror or error}",
            fix="make room, or set QBENCH_CACHE to a folder on another disk",
        ) from error
    return folder


def _save(path: Path, array: np.ndarray) -> None:
    """Write under another name first: another process may have the file mapped already."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        np.save(file, array)
    os.replace(temporary, path)


def fetch(data_id: str) -> Examples:
    """Return stored examples, mapped from disk.

    Raises:
        BadFile: they are not there or torn.
    """
    folder = folder_of(data_id)
    try:
        note = json.loads((folder / "examples.json").read_text())
        raw = {
            name: _all_of(folder / f"raw-{number}.npy", note.get("count", 0))  # a name may hold a slash
            for number, name in enumerate(note["inputs"])
        }
        labels = np.load(folder / "labels.npy") if note["labels"] else None
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise BadFile(
            f"the examples {data_id} cannot be read from {folder}: {error}",
            fix="delete that folder and run again: they are made anew",
        ) from error
    return Examples(data_id, raw, labels)


def _all_of(path: Path, count: int) -> np.ndarray:
    """Return one input's examples, mapped; what is the same for all was kept once."""
    array: np.ndarray = np.load(path, mmap_mode="r")
    return array if len(array) >= count else np.broadcast_to(array, (count, *array.shape[1:]))
