"""The parquet files of a hub data set: found, checked by their notes alone, digested, and read.

They may lie in a folder that the user names, or where `huggingface_hub` keeps what it has fetched; only
where neither has them is the network asked. All checks come before the first pixel is decoded, because a
plan that starts with half a data set wastes hours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qbench.errors import BadFile
from qbench.folders import data_path

if TYPE_CHECKING:
    import pyarrow

SUFFIX = ".parquet"


@dataclass(frozen=True, slots=True)
class ParquetFiles:
    """The files of every stored split, in order; found by `find`, which has checked them."""

    name: str  # the data set's, as a user types it
    folder: Path
    image_column: str
    files: tuple[tuple[str, tuple[Path, ...]], ...]  # (stored split, its files)

    @classmethod
    def find(
        cls, name: str, hub_id: str, rows: dict[str, int], image_columns: tuple[str, ...]
    ) -> ParquetFiles:
        """Return the files that hold `rows` of each stored split, with their image column's name.

        Args:
            name: of the data set; `--data NAME=PATH` decides where to look.
            hub_id: where the hub keeps it, OWNER/NAME.
            rows: how many each stored split must have.
            image_columns: the names that the column of images may have, a struct with a field `bytes`.

        Raises:
            BadFile: they are not there, torn, or hold something else.
        """
        folder = _folder(name, hub_id, tuple(rows))
        files = {split: _files(folder, split) for split in rows}
        fix = layouts(name, hub_id)
        for split, paths in files.items():
            if not paths:
                raise BadFile(
                    f"{folder} holds no parquet file of the split {split}: {_holds(folder)}", fix=fix
                )
        columns = {_check(path, image_columns, fix) for paths in files.values() for path in paths}
        if len(columns) > 1:
            raise BadFile(f"{folder}: its files name their images {' and '.join(sorted(columns))}", fix=fix)
        for split, paths in files.items():
            found = sum(_notes(path, fix).num_rows for path in paths)
            if found != rows[split]:
                many = f"{found:,} rows in {', '.join(path.name for path in paths)}"
                raise BadFile(f"{folder} has {many}, not the {rows[split]:,} of the split {split}", fix=fix)
        return cls(name, folder, columns.pop(), tuple(files.items()))

    def content(self) -> str:
        """Return 16 hexadecimal digits of every byte of the files; read once a process while they stay."""
        digests = [f"{split} {_digest(path, *_stamp(path))}" for split, path in self._every()]
        return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:16]

    def rows(self, split: str) -> pyarrow.Table:
        """Return a stored split as a table of `image`, a struct with a field `bytes`, and `label`.

        Raises:
            BadFile: a file is torn.
        """
        paths = dict(self.files)[split]
        return _table(paths, self.image_column, tuple(_stamp(path) for path in paths))

    def _every(self) -> Iterator[tuple[str, Path]]:
        for split, paths in self.files:
            for path in paths:
                yield split, path


def layouts(name: str, hub_id: str) -> str:
    """Return the words of a fix: where the files may lie."""
    cached = f"datasets--{hub_id.replace('/', '--')}"
    return (
        f"pass --data {name}=PATH, where PATH holds train.parquet and test.parquet, or the hub's "
        f"plain_text/train-00000-of-00001.parquet and plain_text/test-00000-of-00001.parquet, or is the "
        f"hub's cache folder {cached}; or run once where {hub_id} can be fetched from the Hugging Face hub"
    )


# --- finding: the user's folder, the hub's cache, the hub ----------------------------------------------


def _folder(name: str, hub_id: str, splits: tuple[str, ...]) -> Path:
    """Return the folder that has a file of the first of these splits; the user's choice wins."""
    chosen = data_path(name)
    if chosen is not None:
        for folder in _candidates(chosen, hub_id):
            if any(_files(folder, split) for split in splits):
                return folder
        problem = f"--data {name}={chosen} holds no parquet files of {hub_id}: {_holds(chosen)}"
        raise BadFile(problem, fix=layouts(name, hub_id))
    return _of_hub(name, hub_id, splits)


def _candidates(root: Path, hub_id: str) -> Iterator[Path]:
    """Yield where below the user's folder the files may lie, the likeliest first."""
    cached = root / f"datasets--{hub_id.replace('/', '--')}"
    for base in (root, *_snapshots(root), *_snapshots(cached), *_snapshots(root / "hub" / cached.name)):
        yield base
        yield base / "plain_text"
        yield base / "data"


def _snapshots(cached: Path) -> list[Path]:
    """Return the revisions that a cache folder of the hub holds: first the one that `main` names."""
    try:
        main = (cached / "refs" / "main").read_text().strip()
    except (OSError, ValueError):
        main = ""
    try:
        found = sorted((cached / "snapshots").iterdir())
    except OSError:
        return []
    return sorted(found, key=lambda folder: folder.name != main)


def _of_hub(name: str, hub_id: str, splits: tuple[str, ...]) -> Path:
    """Return the folder in the hub's own cache, which is filled first where it has no whole copy.

    Raises:
        BadFile: it has none and the hub does not answer.
    """
    from huggingface_hub import snapshot_download

    problems = []
    for offline in (True, False):
        try:
            fetched = snapshot_download(
                hub_id, repo_type="dataset", allow_patterns=f"*{SUFFIX}", local_files_only=offline
            )
        except Exception as error:  # its own errors, those of httpx, and the disk's: all mean "not here"
            problems.append(str(error).partition("\n")[0])
            continue
        for folder in (Path(fetched), Path(fetched) / "plain_text", Path(fetched) / "data"):
            if all(_files(folder, split) for split in splits):
                return folder
        problems.append(f"{fetched} lacks a split: {_holds(Path(fetched))}")
    raise BadFile(
        f"the data set {name} is not on this machine, nor given by the hub: {problems[-1]}",
        fix=layouts(name, hub_id),
    )


def _files(folder: Path, split: str) -> tuple[Path, ...]:
    """Return a split's one file, or the hub's numbered ones."""
    whole = folder / f"{split}{SUFFIX}"
    return (whole,) if whole.is_file() else tuple(sorted(folder.glob(f"{split}-*-of-*{SUFFIX}")))


def _holds(folder: Path) -> str:
    """Return what lies in a folder, in words."""
    if folder.is_file():
        return "it is a file, not a folder"
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        return f"{error.strerror or error}"
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"it has {', '.join(names[:5])}{more}" if names else "it is empty"


# --- checking and reading ------------------------------------------------------------------------------


def _check(path: Path, image_columns: tuple[str, ...], fix: str) -> str:
    """Return the name of a file's image column, having looked at the types of both columns."""
    import pyarrow as pa

    schema = _notes(path, fix).schema.to_arrow_schema()
    wanted = f"{' or '.join(image_columns)} (a struct with bytes) and label (an integer)"
    found = ", ".join(f"{field.name} ({field.type})" for field in schema)
    for name in image_columns:
        if name in schema.names and "label" in schema.names:
            kind = schema.field(name).type
            if (
                pa.types.is_struct(kind)
                and kind.get_field_index("bytes") >= 0
                and pa.types.is_integer(schema.field("label").type)
            ):
                return name
    raise BadFile(f"{path} has the columns {found or 'none'}, not {wanted}", fix=fix)


def _notes(path: Path, fix: str) -> Any:
    """Return what a parquet file says of itself at its end."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return parquet.read_metadata(path)
    except (OSError, pa.ArrowException) as error:
        raise BadFile(f"{path} is no parquet file, or a torn one: {error}", fix=fix) from error


def _stamp(path: Path) -> tuple[int, int]:
    """Return what changes when a file does: its size and the time of its last change."""
    try:
        state = path.stat()
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror}", fix="restore it") from error
    return state.st_size, state.st_mtime_ns


@lru_cache(maxsize=64)
def _digest(path: Path, size: int, changed_ns: int) -> str:  # noqa: ARG001  # they make the cache's key
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror}", fix="restore it") from error


@lru_cache(maxsize=1)  # a data set is rendered in chunks, split after split: 120 MB for the hub's own files
def _table(paths: tuple[Path, ...], image_column: str, stamps: object) -> pyarrow.Table:  # noqa: ARG001
    import pyarrow as pa
    from pyarrow import parquet

    try:
        parts = [parquet.read_table(path, columns=[image_column, "label"]) for path in paths]
        return pa.concat_tables(parts).rename_columns(["image", "label"])
    except (OSError, pa.ArrowException) as error:
        named = ", ".join(str(path) for path in paths)
        raise BadFile(f"{named} cannot be read: {error}", fix="get the file again: it is torn") from error
