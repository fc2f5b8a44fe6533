"""A busy neighbour: a process that keeps one core loaded while something is measured beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from qbench.errors import NotAvailable

# It goes on while the one who started it lives: a neighbour that is left behind disturbs all that follows.
BUSY = """
import os, sys
while os.getppid() == int(sys.argv[1]):
    for _ in range(1_000_000):
        pass
"""


@contextmanager
def busy_neighbour() -> Iterator[int]:
    """Keep one core busy until the end of the block; gives the process's number."""
    process = subprocess.Popen([sys.executable, "-S", "-E", "-c", BUSY, str(os.getpid())])
    try:
        yield process.pid
        if process.poll() is not None:
            raise NotAvailable(
                f"the busy neighbour ended by itself with code {process.returncode}: what was measured "
                "meanwhile was measured beside nothing",
                fix="measure again; a limit on processor time (ulimit -t) ends such a program",
            )
    finally:
        process.kill()
        process.wait()
