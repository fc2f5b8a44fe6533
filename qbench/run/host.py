"""What machine this is, with which code and which libraries: the session line of a results file."""

from __future__ import annotations

import os
import platform
import re
import secrets
import subprocess
import time
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path

from qbench import __version__
from qbench.records import Session

# the instruction sets that decide which integer kernels an engine can choose
ISA = (
    "avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16",
    "asimd", "asimddp", "i8mm", "bf16", "sve",
)  # fmt: skip
TOLD = (
    "torch", "torchao", "onnx", "onnxruntime", "onnxruntime-gpu", "onnxscript", "openvino", "nncf", "numpy",
    "transformers", "scikit-learn", "pillow", "matplotlib",
)  # fmt: skip
READINGS = 1_000  # of the clock, to know what one costs


def host_name() -> str:
    """Return this machine's name as a folder is called: lower case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", platform.node().lower()).strip("-") or "host"


def new_session(suite: str, profile: str, command: str, narrowed: str = "") -> Session:
    """Describe this machine and this code, now."""
    commit, dirty = code_commit()
    return Session(
        id=secrets.token_hex(6),
        suite=suite,
        profile=profile,
        host=host_name(),
        facts=host_facts(),
        versions=versions(),
        commit=commit,
        dirty=dirty,
        started_utc=now_utc(),
        command=command,
        narrowed=narrowed,
    )


def now_utc() -> str:
    """Return the time, to the second, in ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def host_facts() -> tuple[tuple[str, str], ...]:
    """Return what decides speed here; a fact that this system does not tell is left out."""
    info = _cpuinfo()
    flags = set((info.get("flags") or info.get("Features") or "").split())
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    memory = re.search(r"MemTotal:\s+(\d+) kB", _read("/proc/meminfo"))
    facts = {
        "processor": info.get("model name") or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "instruction sets": " ".join(name for name in ISA if name in flags),
        "cores": str(os.cpu_count()),
        "cores usable": str(affinity) if affinity else "",
        "memory": f"{int(memory[1]) * 1024} B" if memory else "",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip(),
        "hypervisor": "yes" if "hypervisor" in flags else "",
        "clock": _clock(),
    }
    return tuple((name, value) for name, value in facts.items() if value)


def _clock() -> str:
    """Return what calls are timed with: its source and its resolution."""
    source = _read("/sys/devices/system/clocksource/clocksource0/current_clocksource").strip()
    tick_ns = time.get_clock_info("perf_counter").resolution * 1e9
    return f"{source}, {tick_ns:g} ns" if source else f"{tick_ns:g} ns"


def clock_reading_ns() -> float:
    """Return what one reading of the clock costs: every timed call holds about one of them."""
    readings = [time.perf_counter_ns() for _ in range(READINGS + 1)]
    return (readings[-1] - readings[0]) / READINGS


def versions() -> tuple[tuple[str, str], ...]:
    """Return the versions of qbench and of every library that can change a number."""
    installed = {(d.metadata["Name"] or "").lower(): d.version for d in distributions()}
    return (("qbench-suite", __version__), *((name, installed[name]) for name in TOLD if name in installed))


def code_commit() -> tuple[str, bool]:
    """Return the commit that this package stands at, and whether it was changed since; no commit: "none"."""
    folder = Path(__file__).parents[2]  # where qbench/ lies: the checkout, or site-packages

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, check=False, timeout=10
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        own = git(
            "ls-files", "qbench/__init__.py"
        )  # empty where the package lies inside somebody else's checkout
        return (
            (git("rev-parse", "HEAD") or "none", bool(git("status", "--porcelain", "qbench")))
            if own
            else ("none", False)
        )
    except (OSError, subprocess.TimeoutExpired):
        return "none", False


def _cpuinfo() -> dict[str, str]:
    first = _read("/proc/cpuinfo").split("\n\n")[0]
    return {
        name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())
    }


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
