"""Results on disk: `<folder>/<host>/<date>-<suite>.jsonl`, append-only, one line the moment a step ends.

A run begins with a `Session` line; its records follow and name it. A torn last line, as a killed run leaves
it, is set aside when the file is next written to, and is never read as a result.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from qbench.codec import decode, encode
from qbench.errors import BadFile, CannotWrite, OutOfRoom
from qbench.records import Failed, Line, Record, Session


@dataclass(frozen=True, slots=True)
class Run:
    """One session and all its records, in the order written; `path` is where they stand."""

    session: Session
    records: tuple[Record, ...]
    path: Path
    lines: tuple[int, ...]  # the number of each record's line in the file: every figure can be traced

    def done(self) -> set[str]:
        """Return the keys of the steps that ended; a failed step is tried again by a resumed run."""
        return {key for key, (record, _) in self.latest().items() if not isinstance(record.outcome, Failed)}

    def latest(self) -> dict[str, tuple[Record, int]]:
        """Return, by step key, the last record written and its line: a resumed run's second try counts."""
        return {
            record.step.key: (record, line) for record, line in zip(self.records, self.lines, strict=True)
        }


class Store:
    """An open results file. Make it before the first model is loaded: a bad folder fails in a second."""

    def __init__(self, path: Path) -> None:
        """Open (and make) the file.

        Raises:
            CannotWrite: the folder or the file cannot be written.
        """
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            set_torn_line_aside(path)
            self._file = path.open("ab", buffering=0)  # no buffer: what failed once is never written later
        except OSError as error:
            raise CannotWrite(
                f"results cannot be written to {path}: {error.strerror or error}",
                fix="choose another folder with --out DIR, or make this one writable",
            ) from error

    def append(self, line: Line) -> None:
        """Write one line and force it to disk before returning.

        Raises:
            OutOfRoom: the disk is full or the file went away; what was written before is intact.
        """
        left = memoryview((encode(line) + "\n").encode())
        start = os.fstat(self._file.fileno()).st_size
        try:
            while left:
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            self._cut_back_to(start)
            raise OutOfRoom(
                f"{self.path}: {error.strerror or error}; all earlier lines are intact",
                fix="make room on the disk, then run the same command with --resume",
            ) from error

    def _cut_back_to(self, size: int) -> None:
        """Take half a line off again, so that the file stays readable."""
        try:
            os.ftruncate(self._file.fileno(), size)
        except OSError:  # the disk is gone as well: the reader sets a torn line aside by itself
            return

    def close(self) -> None:
        """Close the file; every line is on disk already."""
        self._file.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def set_torn_line_aside(path: Path) -> None:
    """Move an unfinished last line to `<file>.torn`, so that appending cannot glue two lines together."""
    if not path.exists():
        return
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    if end < len(content):
        with path.with_suffix(".torn").open("ab") as torn:
            torn.write(content[end:] + b"\n")
        os.truncate(path, end)


def read_lines(path: Path) -> Iterator[tuple[int, Line]]:
    """Yield each line with its number; an unfinished last line is passed over, another bad line is an error.

    Raises:
        BadFile: the file is missing, or a finished line cannot be read.
    """
    try:
        content = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise BadFile(
            f"{path}: {error.strerror or error}", fix="name a file that `qbench run` wrote"
        ) from error
    except UnicodeDecodeError as error:
        raise BadFile(f"{path} is no text: {error}", fix="name a file that `qbench run` wrote") from error
    for number, text in enumerate(content.split("\n")[:-1], start=1):
        if text.strip():
            yield number, decode(text, f"{path}:{number}")


def read_runs(paths: Iterable[Path]) -> list[Run]:
    """Return the runs in these files, in the order in which they were begun.

    Inside a file its lines tell that order, whatever a clock that was set back says.

    Raises:
        BadFile: a file cannot be read, or a record names a session that its file does not hold.
    """
    runs: list[tuple[str, Run]] = []
    for path in paths:
        sessions: dict[str, Session] = {}
        records: dict[str, list[tuple[Record, int]]] = {}
        for number, line in read_lines(path):
            if isinstance(line, Session):
                sessions[line.id] = line
                records.setdefault(line.id, [])
            elif line.session in records:
                records[line.session].append((line, number))
            else:
                raise BadFile(
                    f"{path}: a record belongs to session {line.session}, which the file does not hold",
                    fix="restore the file's first lines: a session line stands before its records",
                )
        begun = ""
        for name, session in sessions.items():
            own, begun = records[name], max(begun, session.started_utc)
            run = Run(session, tuple(r for r, _ in own), path, tuple(line for _, line in own))
            runs.append((begun, run))
    return [run for _, run in sorted(runs, key=lambda pair: pair[0])]


def results_files(folder: Path) -> list[Path]:
    """Return every results file below a folder, oldest name first; a file is its own answer."""
    return [folder] if folder.is_file() else sorted(folder.rglob("*.jsonl"))
