"""Where qbench keeps things. The environment is read here and nowhere else below the command line."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from qbench.errors import CannotWrite

DATA_VARIABLE = "QBENCH_DATA_"
TOLD = "now.txt"


def cache_folder() -> Path:
    """Return the folder of rendered data, prepared artifacts and probe answers; made on demand.

    `QBENCH_CACHE` wins, then `XDG_CACHE_HOME`, then `~/.cache`. It is always safe to delete.

    Raises:
        CannotWrite: none of them is set and there is no home.
    """
    chosen = os.environ.get("QBENCH_CACHE")
    if chosen:
        return Path(chosen)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qbench"
    except RuntimeError as error:  # no HOME, and the system knows no home of this user
        raise CannotWrite(
            f"there is no home folder to keep a cache in: {error}",
            fix="set QBENCH_CACHE to a folder that can be written",
        ) from error


def data_path(name: str) -> Path | None:
    """Return where the user says that a data set's files are; None where nothing is said.

    `--data NAME=PATH` sets `QBENCH_DATA_NAME`, so that every worker that is started finds it too.
    """
    chosen = os.environ.get(data_variable(name))
    return Path(chosen).expanduser() if chosen else None


def data_variable(name: str) -> str:
    """Return the environment variable that carries a data set's path: cifar10 gives QBENCH_DATA_CIFAR10."""
    return DATA_VARIABLE + name.upper().replace("-", "_")


def data_files(kind: str) -> list[Path]:
    """Return the folders in which `suites` or `hardware_profiles` are looked for, first wins.

    The user's working folder comes first, then the checkout that this package lies in, then the copy
    inside an installed wheel.
    """
    package = Path(__file__).parent
    found: list[Path] = []
    for folder in (Path.cwd() / kind, package.parent / kind, package / "shipped" / kind):
        if folder.is_dir() and folder.resolve() not in [f.resolve() for f in found]:
            found.append(folder)
    return found


def without_folders(text: str) -> str:
    """Return words whose files are named from their package or data set on, and no folder of this machine.

    Results are shown to others: where a library was installed helps nobody there.
    """
    data = (path for name, path in os.environ.items() if name.startswith(DATA_VARIABLE))
    named = [str(Path(path).expanduser().absolute().parent) for path in data]
    here = [str(Path(__file__).parents[1]), str(Path.cwd())]  # an editable install is on no search path
    roots = {str(cache_folder()), *sys.path, *named, *here} - {"", os.sep}
    for root in sorted(roots, key=len, reverse=True):
        text = text.replace(root.rstrip(os.sep) + os.sep, "")
    return text


def tell(line: str) -> None:
    """Say how far a long step is, for the bar of the process that waits for it; an empty line ends it.

    A file, because the step runs in a process of its own whose output is a log. A folder that cannot be
    written costs the words alone.
    """
    path = cache_folder() / TOLD
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{TOLD}.{os.getpid()}")
        temporary.write_text(line)
        os.replace(temporary, path)
    except OSError:
        return


def told(within_s: float = 30.0) -> str:
    """Return what the step that runs now said last; nothing where that is older than `within_s` seconds."""
    path = cache_folder() / TOLD
    try:
        return path.read_text() if time.time() - path.stat().st_mtime < within_s else ""
    except OSError:
        return ""
