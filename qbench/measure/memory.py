"""Peak resident memory of this process, from the kernel's own counter.

`VmHWM` is the peak of the whole life of a process: a cell measured after another inherits its peak (seen in
the field, vortex issue 9640). So every cell has a process of its own, and the counter is reset before use.
"""

from __future__ import annotations

from pathlib import Path

STATUS = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")


def reset_peak() -> bool:
    """Set the kernel's peak counter back to what is resident now; False where there is no such thing."""
    try:
        RESET.write_text("5")
    except OSError:
        return False
    return True


def peak_bytes() -> int | None:
    """Return the peak resident bytes since the last reset, or None where there is no counter."""
    return _field("VmHWM")


def resident_bytes() -> int | None:
    """Return the bytes resident now, or None where there is no counter."""
    return _field("VmRSS")


def _field(name: str) -> int | None:
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return None
    found = next((line for line in lines if line.startswith(name + ":")), None)
    return int(found.split()[1]) * 1024 if found else None
