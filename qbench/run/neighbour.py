"""A busy neighbour: a process that keeps one core loaded while something is measured beside it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

BUSY = "while True: pass"


@contextmanager
def busy_neighbour() -> Iterator[int]:
    """Keep one core busy until the end of the block; gives the process's number."""
    process = subprocess.Popen([sys.executable, "-S", "-E", "-c", BUSY])
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()
