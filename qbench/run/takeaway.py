"""The recommended file, taken out of the cache to where its user finds it, with the code that loads it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qbench.backends.base import BACKENDS, Placement
from qbench.cases import Case
from qbench.errors import CannotWrite, QbenchError
from qbench.formats import cache
from qbench.formats.artifact import Artifact, files, load
from qbench.formats.signature import at_most, fed, fixed_batch
from qbench.run.choose import task_of
from qbench.run.host import versions
from qbench.tasks.base import batch_of, fetch

if TYPE_CHECKING:
    import numpy as np

FOLDER = "recommended"


@dataclass(frozen=True, slots=True)
class Taken:
    """Where the file went, and Python that loads it there and asks it once as it was measured."""

    path: Path
    code: str


def take_away(case: Case, data_id: str, folder: Path, told: Mapping[str, str]) -> Taken:
    """Copy the case's file into `folder/recommended` with what it needs beside it, and note what it is.

    `data_id` names the examples whose shapes the code shows; `told` goes into the note, `<name>.json`, which
    has the verdict's words, how it was measured, and a digest of every file.

    Raises:
        BadFile: the file, or the examples, are no longer in the cache.
        CannotWrite: no room, or no right to write.
    """
    artifact = load(cache.folder_of(case.deployment.artifact))
    one_call = _one_call(case, artifact, data_id)
    try:
        shutil.rmtree(
            folder / FOLDER, ignore_errors=True
        )  # what an earlier run recommended is not this one's
        path = _copied(artifact, cache.folder_of(case.deployment.artifact), folder / FOLDER, _stem(case))
        code = _code(case, artifact, path, one_call)
        _note(case, artifact, path, one_call, told)
    except OSError as error:
        raise CannotWrite(
            f"the recommended file cannot be copied to {folder / FOLDER}: {error.strerror or error}",
            fix="choose another folder with --reports DIR, or make room",
        ) from error
    return Taken(path, code)


def _stem(case: Case) -> str:
    """Return the file's name: the model's and the technique's, in letters that every system takes."""
    model = Path(case.deployment.artifact.model.name).stem
    untold = (value for _, value in case.deployment.options if value not in case.technique)
    words = (model, case.technique, *untold)
    return "-".join(re.sub(r"[^A-Za-z0-9_]+", "-", word).strip("-") for word in words)


def _copied(artifact: Artifact, home: Path, into: Path, stem: str) -> Path:
    """Copy what the deployment carries, each file under its final name when it is whole.

    A file alone, and an IR with its weights, get the new name; one that names others by theirs has a folder.
    """
    assert artifact.path is not None
    carried = files(home)
    alike = all(path.stem == artifact.path.stem and path.parent == home for path in carried)
    named = {path: into / f"{stem}{path.suffix}" for path in carried}
    if not alike or len(set(named.values())) < len(carried):
        main = into / stem / f"{stem}{artifact.path.suffix}"
        named = {path: into / stem / path.relative_to(home) for path in carried} | {artifact.path: main}
    for source, target in named.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            shutil.copyfile(source, temporary)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    return named[artifact.path]


def _one_call(case: Case, artifact: Artifact, data_id: str) -> dict[str, np.ndarray]:
    """Return what one call was given when it was timed."""
    examples, task = fetch(data_id), task_of(case.evaluation.task)
    wanted = fixed_batch(artifact.inputs) or case.scenario.batch
    size = at_most(artifact.inputs, examples.raw, wanted)
    return fed(artifact.inputs, batch_of(task, examples, 0, size, whole=True))


def _code(case: Case, artifact: Artifact, path: Path, one_call: Mapping[str, np.ndarray]) -> str:
    """Return the engine's own lines, with the inputs' names, types and shapes; nothing where it has none."""
    at = case.deployment
    placement = Placement(at.device, at.threads, at.streams, at.options)
    shown = path if path.is_absolute() else Path(os.path.relpath(path))
    loading = BACKENDS[at.backend]().loading(artifact, placement, shown.as_posix())
    if not loading:
        return ""
    engine = loading.pop(0).removeprefix("import ")
    once = dict(artifact.carried)
    fixed = {spec.name for spec in artifact.inputs if spec.batch_axis is None} - once.keys()
    entries = [f"{name!r}: {_value(array, real=name in fixed)}" for name, array in one_call.items()]
    given = ["inputs = {" + entries[0] + "}"] if len(entries) == 1 else _braced(entries)
    order = [spec.name for spec in artifact.outputs]
    after = [f"inputs[{into!r}] = outputs[{order.index(out)}]  # carried on" for into, out in once.items()]
    lines = [f"import numpy, {engine}", *loading[:-1], *given, loading[-1], *after]
    return "\n".join(_quoted(line) for line in lines)


def _braced(entries: list[str]) -> list[str]:
    return ["inputs = {", *(f"    {entry}," for entry in entries), "}"]


def _quoted(line: str) -> str:
    """Return a line with double quotes, as Python is mostly written."""
    return line if '"' in line else line.replace("'", '"')


def _value(array: np.ndarray, *, real: bool) -> str:
    """Return Python for an input: zeros to be replaced, or the very value where it is the same for all."""
    if real and array.size <= 4:
        return f"numpy.array({array.tolist()!r}, '{array.dtype}')"
    return f"numpy.zeros({tuple(array.shape)!r}, '{array.dtype}')"


def _note(
    case: Case, artifact: Artifact, path: Path, one_call: Mapping[str, np.ndarray], told: Mapping[str, str]
) -> None:
    at = case.deployment
    beside = [path] if path.parent.name == FOLDER else sorted(path.parent.rglob("*"))
    beside += [path.with_suffix(".bin")] if path.suffix == ".xml" else []
    raw: dict[str, Any] = {
        **told,
        "technique": case.technique,
        "steps": [str(link) for link in at.artifact.chain],
        "engine": at.backend,
        "versions": dict(versions()),
        "device": at.device,
        "threads": at.threads,
        "streams": at.streams,
        "options": dict(at.options),
        "inputs": {name: [str(array.dtype), *array.shape] for name, array in one_call.items()},
        "outputs": [spec.name for spec in artifact.outputs],
        "carried": dict(artifact.carried),
        "sha256": {file.name: _digest(file) for file in dict.fromkeys(beside) if _carried(file)},
    }
    note = path.with_suffix(".json")
    temporary = note.with_name(f".{note.name}.{os.getpid()}")
    temporary.write_text(json.dumps(raw, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(temporary, note)


def _carried(file: Path) -> bool:
    return file.is_file() and file.suffix != ".json"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def why_absent(error: QbenchError) -> str:
    """Return in one sentence why there is no file to take away."""
    return f"not copied: {error.problem} (fix: {error.fix})"
