"""What the engines here or on another device can do: asked once by a child each, kept until that changes."""

from __future__ import annotations

import json
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from qbench.backends.base import BACKENDS, Probe
from qbench.cases import key
from qbench.folders import cache_folder
from qbench.records import Failed
from qbench.run.launch import ask_fresh
from qbench.run.protocol import ProbeRequest
from qbench.run.way import digest_of
from qbench.wire import from_plain, to_plain

SIDE_BY_SIDE = 4  # children that import an engine at once


def probe_all(names: list[str], *, again: bool = False) -> dict[str, Probe]:
    """Return this machine's probes by backend; from the cache where nothing changed since, else asked."""
    return _probes({name: _file(name) for name in names}, (), again=again)


def probe_on(
    prefix: tuple[str, ...], names: list[str], identity: str, *, again: bool = False
) -> dict[str, Probe]:
    """Return the probes of the device that `prefix` leads to; its engines answer there.

    `identity` is whatever changes when the device does (its libraries, its emulator): answers are kept by it.
    """
    return _probes({name: _file_on(prefix, name, identity) for name in names}, prefix, again=again)


def _probes(files: dict[str, Path], prefix: tuple[str, ...], *, again: bool) -> dict[str, Probe]:
    """Return what is kept, and ask for the rest, side by side; that nobody answered is not kept."""
    kept = {} if again else {name: probe for name, path in files.items() if (probe := _read(path))}
    missing = [name for name in files if name not in kept]
    with ThreadPoolExecutor(max_workers=SIDE_BY_SIDE) as pool:
        for name, said in zip(missing, pool.map(lambda name: _ask(name, prefix), missing), strict=True):
            if isinstance(said, Probe):
                _write(files[name], said)
            kept[name] = said if isinstance(said, Probe) else Probe(name, "", (), said.error)
    return {name: kept[name] for name in files}


def _ask(name: str, prefix: tuple[str, ...]) -> Probe | Failed:
    result = ask_fresh(ProbeRequest(name), prefix).result
    return result if isinstance(result, (Probe, Failed)) else Failed("probe", "the probe gave no answer")


def _file(name: str) -> Path:
    """Return where the answer is kept: by code, versions, devices, compiler and this boot."""
    devices = tuple(sorted(path.name for path in Path("/dev").glob("nvidia*")))
    compiler = shutil.which(os.environ.get("CXX", "g++")) or ""
    return _kept(name, (_code(name, BACKENDS[name].distribution), devices, compiler, _boot()))


def _file_on(prefix: tuple[str, ...], name: str, identity: str) -> Path:
    """Return where a device's answer is kept: by the backend's code and the device, versions included."""
    own = BACKENDS[name].distribution if sys.executable in prefix else ""  # this very Python, emulated
    return _kept(name, (_code(name, own), prefix, identity))


def _kept(name: str, why: tuple[object, ...]) -> Path:
    return cache_folder() / "probes" / f"{name}-{key(why)}.json"


def _code(name: str, distribution: str) -> str:
    module = __import__(BACKENDS[name].__module__, fromlist=["_"])
    return digest_of(Path(module.__file__ or ""), distribution)


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


def _read(path: Path) -> Probe | None:
    try:
        return from_plain(Probe, json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None  # not asked yet, or torn: ask again


def _write(path: Path, probe: Probe) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(to_plain(probe)))
        os.replace(temporary, path)
    except OSError:
        return  # the cache is a convenience: without it, every plan asks anew
