"""Where qbench keeps things. The environment is read here and nowhere else below the command line."""

from __future__ import annotations

import os
from pathlib import Path

from qbench.errors import CannotWrite


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
