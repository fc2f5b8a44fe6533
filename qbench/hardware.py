"""Hardware profiles are data: what a device is, how to tell it, which engines it offers. Read from TOML.

What an engine can do on a device is asked elsewhere: nothing here imports or starts one.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import dataclass, field
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from qbench.errors import BadSuite, UnknownName
from qbench.folders import cache_folder
from qbench.machine import Machine, Recognise, machine, misfit
from qbench.registry import did_you_mean
from qbench.toml_file import find_file, names_of, read_toml

# what a figure may be of, and its unit; power is drawn under full load (or is the limit), idle is without any
UNITS = {
    "power": "W", "idle": "W", "price": "USD", "battery": "J",
    "peak": "op/s", "bandwidth": "B/s", "memory": "B",
}  # fmt: skip
OLDEST_EMULATOR = (7, 2)  # qemu; older ones do not know the server cores


@dataclass(frozen=True, slots=True)
class Fact:
    """One figure with its source."""

    what: str  # a key of UNITS
    value: float
    unit: str
    source: str  # an address, or a document with its page
    of: str = ""  # a peak's number format (fp32, bf16, int8, ...); else under which conditions
    device: str = ""  # pattern on the device's own name, where a profile covers several; "" is all of them
    kind: Literal["quoted", "measured"] = "quoted"


@dataclass(frozen=True, slots=True)
class HardwareProfile:
    """One device that a plan may use."""

    name: str
    title: str
    device: str  # the word that backends know it by
    backends: list[str]
    recognise: Recognise | None = None  # none: whoever names the profile says that the device is here
    kernels: list[str] = field(default_factory=list)  # number formats that the device itself multiplies in
    fact: list[Fact] = field(default_factory=list)
    emulated: bool = False
    family: str = ""  # a word that means all profiles of this kind: `--hw arm`
    prefix: list[str] = field(default_factory=list)  # a command in front of the worker
    counter: list[str] = field(default_factory=list)  # the same, counting instructions into {out}
    threads: int = 0  # 0: all that the device has
    scored: int = 0  # at most so many examples there; 0: as many as the suite says

    @property
    def named(self) -> bool:
        """Tell whether the profile knows the device by name: that says more than what its cores can do."""
        return self.recognise is not None and bool(self.recognise.processor or self.recognise.gpu)


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a device can be used from here: as this machine, attached by a command, or not, and why."""

    kind: Literal["here", "attached", "missing"]
    reason: str


def load_profiles(wanted: str, here: Machine | None = None) -> list[HardwareProfile]:
    """Return the profiles for `--hw all` or `--hw cpu,raspberry-pi-4`.

    A device's word (`cpu`, `cuda`) means the one profile that fits the device of this machine, or the
    general one where none does, so that the reason can be told; a family (`arm`) means all of its own.

    Raises:
        UnknownName: no profile and no device of that name.
        BadSuite: a profile cannot be read.
    """
    known = names_of("hardware_profiles")
    words = [word.strip() for word in wanted.split(",") if word.strip()]
    if not words:
        raise UnknownName(f"--hw {wanted!r} names no device", fix=did_you_mean("all", ["all", *known]))
    chosen: dict[str, HardwareProfile] = {}
    for word in sorted(known) if wanted.strip() == "all" else words:
        for profile in _meant(word, known, here):
            chosen.setdefault(profile.name, profile)
    return list(chosen.values())


def standing(profile: HardwareProfile, here: Machine, arm_device: Path | None = None) -> Standing:
    """Return whether this profile's device can be used from this machine, and why or why not.

    `arm_device` is the folder of the emulated device; where it is not given, it is the program's own.

    Raises:
        BadSuite: a profile cannot be read.
    """
    if profile.prefix:
        return _attached(profile, arm_device)
    if profile.recognise is None:
        return Standing("here", "")
    reason = misfit(profile.recognise, here)
    if reason:
        return Standing("missing", reason)
    best = recognised(profile.device, here)
    if best is not None and best.name != profile.name:
        return Standing("missing", f"told more exactly by {best.name}")
    return Standing("here", ", ".join(here.gpus) if profile.recognise.gpu else here.processor)


def recognised(device: str, here: Machine) -> HardwareProfile | None:
    """Return the profile that fits this machine's device best: a name first, the general one last."""
    fits = [
        profile
        for profile in _all()
        if profile.device == device
        and not profile.prefix
        and profile.recognise is not None
        and not misfit(profile.recognise, here)
    ]
    fits.sort(
        key=lambda profile: (bool(profile.recognise and profile.recognise.otherwise), not profile.named)
    )
    return fits[0] if fits else None


def figures(profile: HardwareProfile, here: Machine) -> list[Fact]:
    """Return the figures that hold for the very device of this machine."""
    by_driver = profile.recognise is not None and profile.recognise.gpu
    names = here.gpus if by_driver else (here.processor,)
    return [fact for fact in profile.fact if all(re.search(fact.device, name) for name in names)]


def in_front(words: list[str], out: Path | None = None) -> list[str]:
    """Return a `prefix` or a `counter` as a command: {cache}, {python} and {out} are paths now."""
    paths = {"{cache}": str(cache_folder()), "{python}": sys.executable}
    filled = list(words)
    for name, path in paths.items():
        filled = [word.replace(name, path) for word in filled]
    return [word.replace("{out}", str(out)) for word in filled] if out else filled


# --- which profiles a word means --------------------------------------------------------------------


def _meant(word: str, known: dict[str, Path], here: Machine | None) -> list[HardwareProfile]:
    own = _profile(known.get(word) or find_file("hardware_profiles", word)) if _is_file(word, known) else None
    if own is not None and not (own.recognise and own.recognise.otherwise and own.name == own.device):
        return [own]
    every = _all()
    family = [profile for profile in every if profile.family == word]
    if family:
        return family
    same = [profile for profile in every if profile.device == word and not profile.prefix]
    if not same:
        words = sorted({word for p in every for word in (p.device, p.family) if word} | {"all", *known})
        raise UnknownName(f"no hardware profile is called {word!r}", fix=did_you_mean(word, words))
    fits = recognised(word, here or machine())
    general = [profile for profile in same if profile.recognise and profile.recognise.otherwise]
    return [fits] if fits else general or same


def _is_file(word: str, known: dict[str, Path]) -> bool:
    return word in known or word.endswith(".toml")


def _all() -> list[HardwareProfile]:
    """Return every profile, the user's own folder first."""
    return [_profile(path) for path in names_of("hardware_profiles").values()]


def _profile(path: Path) -> HardwareProfile:
    return _read(path.resolve(), path.stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _read(path: Path, changed_ns: int) -> HardwareProfile:  # noqa: ARG001  # an edited file is read again
    profile = read_toml(path, HardwareProfile)
    for number, fact in enumerate(profile.fact, start=1):
        where = f"{path}: fact[{number}]"
        if UNITS.get(fact.what) != fact.unit:
            pairs = ", ".join(f"{what} in {unit}" for what, unit in UNITS.items())
            raise BadSuite(f"{where}: {fact.what!r} in {fact.unit!r}", fix=f"write one of: {pairs}")
        if not fact.source.strip() or not isfinite(fact.value) or fact.value <= 0:
            raise BadSuite(
                f"{where}: value = {fact.value}, source = {fact.source!r}",
                fix="write a number above 0, and where it was read: an address, or a document and its page",
            )
    asked = profile.recognise or Recognise()
    for pattern in (
        asked.processor,
        asked.gpu,
        *asked.files.values(),
        *(fact.device for fact in profile.fact),
    ):
        try:
            re.compile(pattern)
        except re.error as error:
            raise BadSuite(
                f"{path}: {pattern!r} is no pattern: {error}", fix="mend it, as re says"
            ) from error
    return profile


# --- whether a device is here -----------------------------------------------------------------------


def _attached(profile: HardwareProfile, arm_device: Path | None) -> Standing:
    command = in_front(profile.prefix)
    program = (
        arm_device / Path(command[0]).name if arm_device else Path(shutil.which(command[0]) or command[0])
    )
    if not profile.emulated:
        there = shutil.which(program)
        return Standing("attached", command[0]) if there else Standing("missing", f"there is no {command[0]}")
    try:
        told: Any = json.loads((program.parent / "device.json").read_text(encoding="utf-8"))
        layout, cores, version = told["format"], list(told["cpus"]), str(told["qemu"])
    except (OSError, ValueError, KeyError, TypeError):
        return Standing("missing", "no emulated ARM set up: run tools/setup_arm.sh")
    if layout != 1 or not shutil.which(program):
        return Standing("missing", "the emulated ARM is of another version: run tools/setup_arm.sh again")
    if profile.family == "arm" and not set(cores) & set(command[1:]):
        return Standing("missing", f"the emulated ARM here can be {', '.join(cores)}, not {command[1]}")
    number = re.search(r"(\d+)\.(\d+)", version)
    if not number or (int(number[1]), int(number[2])) < OLDEST_EMULATOR:
        needed = ".".join(map(str, OLDEST_EMULATOR))
        return Standing("missing", f"the emulator is too old: qemu {version}, needs {needed}")
    return Standing("attached", f"qemu {version}")
