"""What the engines here can do: asked once by a child process each, kept until something changes."""

from __future__ import annotations

import json
import os
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


def probe_all(names: list[str], *, again: bool = False) -> dict[str, Probe]:
    """Return the probes by backend; from the cache where nothing changed since, else asked side by side."""
    missing = [name for name in names if again or _read(name) is None]
    with ThreadPoolExecutor(max_workers=4) as pool:
        for name, probe in zip(missing, pool.map(_ask, missing), strict=True):
            _write(name, probe)
    return {name: _read(name) or _ask(name) for name in names}


def _ask(name: str) -> Probe:
    result = ask_fresh(ProbeRequest(name)).result
    if isinstance(result, Probe):
        return result
    return Probe(name, "", (), result.error if isinstance(result, Failed) else "the probe gave no answer")


def _file(name: str) -> Path:
    """Return where the answer is kept: by the backend's code, its versions, the devices and this boot."""
    backend = BACKENDS[name]
    code = digest_of(
        Path(__import__(backend.__module__, fromlist=["_"]).__file__ or ""), backend.distribution
    )
    devices = tuple(sorted(path.name for path in Path("/dev").glob("nvidia*")))
    return cache_folder() / "probes" / f"{name}-{key((code, devices, _boot()))}.json"


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


def _read(name: str) -> Probe | None:
    try:
        return from_plain(Probe, json.loads(_file(name).read_text()))
    except (OSError, ValueError, TypeError):
        return None  # not asked yet, or torn: ask again


def _write(name: str, probe: Probe) -> None:
    path = _file(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(to_plain(probe)))
        os.replace(temporary, path)
    except OSError:
        return  # the cache is a convenience: without it, every plan asks anew
