"""Energy per inference. No meter is read yet: what is here says so, and what it saw on this machine."""

from __future__ import annotations

from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


def why_unavailable() -> str:
    """Return the reason that stands in the place of joules."""
    counters = sorted(path.name for path in POWERCAP.glob("*rapl*")) if POWERCAP.is_dir() else []
    if counters:
        return f"unavailable: {counters[0]} is here, but this version of qbench reads no energy counter yet"
    return "unavailable: this machine offers no energy counter (nothing under /sys/class/powercap)"
