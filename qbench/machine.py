"""What this machine is, as its kernel writes it down, and whether a device that a profile describes is here.

No engine is imported or started: that keeps listing quick, and a device that is not here costs nothing.
"""

from __future__ import annotations

import platform
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Recognise:
    """How a device is told: every condition that is given must hold."""

    architecture: str = ""  # as platform.machine() says: x86_64, aarch64, arm64
    system: str = ""  # as platform.system() says: Linux, Darwin
    features: list[str] = field(default_factory=list)  # flags that /proc/cpuinfo must list
    without: list[str] = field(default_factory=list)  # flags that it must not list: a better class fits then
    midr: list[str] = field(default_factory=list)  # "implementer:part"; every core must be one of them
    processor: str = ""  # pattern on the board's or the processor's name
    gpu: str = ""  # pattern on the names of graphics devices; every one must match
    files: dict[str, str] = field(default_factory=dict)  # path, may hold *: pattern on its text ("": none)
    otherwise: bool = False  # only where no other profile of the same device fits


@dataclass(frozen=True, slots=True)
class Machine:
    """What this machine says of itself."""

    architecture: str
    system: str
    features: frozenset[str] = frozenset()
    midr: frozenset[str] = frozenset()  # "implementer:part" of every core
    processor: str = ""  # the board's name where there is one, else the processor's
    gpus: tuple[str, ...] = ()  # names, as the driver writes them down
    root: Path = Path("/")


def machine(root: Path = Path("/"), architecture: str = "", system: str = "") -> Machine:
    """Return what the files under `root` say; tests give a folder of their own and the two other words."""
    system = system or platform.system()
    cores = _text(root / "proc/cpuinfo")
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", cores, re.MULTILINE)
    parts = re.findall(
        r"^CPU implementer\s*:\s*(\w+)$.*?^CPU part\s*:\s*(\w+)$", cores, re.MULTILINE | re.DOTALL
    )
    model = re.search(r"^model name\s*:\s*(.+)$", cores, re.MULTILINE)
    board = _text(root / "proc/device-tree/model").rstrip("\0\n")
    sheets = [_text(path) for path in sorted(root.glob("proc/driver/*/gpus/*/information"))]  # one a GPU
    names = [re.search(r"^Model:\s*(.+)$", sheet, re.MULTILINE) for sheet in sheets]
    return Machine(
        architecture=architecture or platform.machine(),
        system=system,
        features=frozenset(flags[1].split() if flags else ()),
        midr=frozenset(f"{maker}:{part}".lower() for maker, part in parts),
        processor=board or (model[1].strip() if model else "") or _told_by_the_system(system),
        gpus=tuple(name[1].strip() for name in names if name),
        root=root,
    )


def misfit(asked: Recognise, here: Machine) -> str:
    """Return the first condition that does not hold, in words; nothing where all do."""
    if asked.architecture and asked.architecture != here.architecture:
        return f"this is {here.architecture}, not {asked.architecture}"
    if asked.system and asked.system != here.system:
        return f"this is {here.system}, not {asked.system}"
    return _no_such_device(asked, here) or _no_such_cores(asked, here)


def _no_such_device(asked: Recognise, here: Machine) -> str:
    for path, pattern in asked.files.items():
        found = sorted(here.root.glob(path.lstrip("/")))
        if not found:
            return f"no such device here: there is no {path}"
        if pattern and not any(re.search(pattern, _text(file)) for file in found):
            return f"no such device here: no {path} says {pattern}"
    if asked.processor and not re.search(asked.processor, here.processor):
        return f"this is {here.processor or 'a processor without a name'}"
    others = [name for name in here.gpus if not re.search(asked.gpu, name)]
    if asked.gpu and (others or not here.gpus):
        return f"this machine has {', '.join(others)}" if others else "the driver names no device"
    return ""


def _no_such_cores(asked: Recognise, here: Machine) -> str:
    lacking = [flag for flag in asked.features if flag not in here.features]
    if lacking:
        return f"this processor has no {', '.join(lacking)}"
    better = [flag for flag in asked.without if flag in here.features]
    if better:
        return f"this processor has {', '.join(better)}: it is of a better class"
    if asked.midr and not (here.midr and here.midr <= set(asked.midr)):
        return f"its cores are {', '.join(sorted(here.midr)) or 'not told'}"
    return ""


def _told_by_the_system(system: str) -> str:
    """Return the processor's name where no file tells it."""
    if system != "Darwin":
        return ""
    try:
        asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
