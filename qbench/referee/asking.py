"""Asking voices: each in a process of its own, with a bound on its memory and on its time.

Resident memory is watched, and not limited by the system: an engine reserves many times the address space
that it ever uses, and a limit on that (RLIMIT_AS) breaks it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qbench.reasons import reason_of
from qbench.referee.calls import REASON, answer_file, call_files, read_answer, write_calls

if TYPE_CHECKING:
    import numpy as np

    from qbench.formats.calls import Call
    from qbench.referee.voices.base import Voice

TICK_S = 0.02
GIB = 1 << 30
OWN_BYTES = 2 * GIB  # of a library and of a small network's values
COPIES = 12  # of the file, beside that: weights as read, as packed, and what they make
QUICK_S, SLOW_S = 60.0, 10.0  # for an engine; for what is asked only if there is time for it
SAID = 300  # characters of a reason that are kept


@dataclass(frozen=True, slots=True)
class Limits:
    """What one voice may take."""

    time_s: float
    memory_bytes: int


@dataclass(frozen=True)
class Answer:
    """What a voice said: all outputs of the first calls, of all of them unless its time was over."""

    voice: type[Voice]
    calls: tuple[tuple[np.ndarray, ...], ...]


@dataclass(frozen=True, slots=True)
class Silent:
    """A voice that gave no answer, and why."""

    voice: type[Voice]
    reason: str


def limits_for(voice: type[Voice], path: Path) -> Limits:
    """Return what this voice may take for this file: never more than a third of the memory that is free."""
    import psutil

    size = sum(beside.stat().st_size for beside in path.parent.iterdir() if beside.is_file())
    wanted = OWN_BYTES + COPIES * size
    return Limits(SLOW_S if voice.slow else QUICK_S, min(wanted, psutil.virtual_memory().available // 3))


def ask(
    voices: Sequence[type[Voice]], path: Path, calls: Sequence[Call], limits: Limits | None = None
) -> list[Answer | Silent]:
    """Ask all of them, as many at once as there are cores; each answers or is silent, and nothing is raised.

    `limits`: for each of them, instead of what limits_for says.
    """
    found: dict[type[Voice], Answer | Silent] = {}
    waiting, running = list(voices), list[_Asked]()
    with tempfile.TemporaryDirectory() as home:
        try:
            while waiting or running:
                while waiting and len(running) < _cores():
                    voice = waiting.pop(0)
                    folder = Path(home) / str(len(waiting))
                    running.append(_Asked(voice, path, calls, folder, limits or limits_for(voice, path)))
                for asked in [asked for asked in running if asked.ended()]:
                    running.remove(asked)
                    found[asked.voice] = asked.result()
                time.sleep(TICK_S)
        finally:
            for asked in running:
                asked.stop("it was interrupted")
    return [found[voice] for voice in voices]


class _Asked:
    """A voice at work."""

    def __init__(
        self, voice: type[Voice], path: Path, calls: Sequence[Call], folder: Path, limits: Limits
    ) -> None:
        import psutil

        self.voice, self._folder, self._limits = voice, folder, limits
        folder.mkdir()
        write_calls(folder, calls)
        self._stopped = ""
        command = [sys.executable, "-m", "qbench.referee", _place(voice), str(path.resolve()), str(folder)]
        self._log = (folder / "log.txt").open("wb")
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, env=_environment()
        )
        self._seen, self._end = psutil.Process(self._process.pid), time.monotonic() + limits.time_s

    def ended(self) -> bool:
        """Tell whether it is done; end it if it has taken too much."""
        if self._process.poll() is not None:
            return True
        if time.monotonic() > self._end:
            self.stop(f"no answer within {self._limits.time_s:g} s")
        elif self._resident_bytes() > self._limits.memory_bytes:
            self.stop(f"it took more than {self._limits.memory_bytes / GIB:.3g} GiB of memory")
        return bool(self._stopped)

    def _resident_bytes(self) -> int:
        import psutil

        try:
            return int(self._seen.memory_info().rss)
        except psutil.Error:  # it ended in this moment
            return 0

    def stop(self, reason: str) -> None:
        """End it."""
        self._stopped = reason
        self._process.kill()
        self._process.wait()

    def result(self) -> Answer | Silent:
        """Return what it has answered by now, or why it is silent."""
        self._log.close()
        asked = len(call_files(self._folder))
        said = [answer_file(self._folder, number) for number in range(asked)]
        outputs = tuple(read_answer(path) for path in said if path.is_file())
        return Answer(self.voice, outputs) if outputs else Silent(self.voice, self._reason())

    def _reason(self) -> str:
        written, code = self._folder / REASON, self._process.returncode
        if self._stopped:
            return self._stopped
        if written.is_file():
            return reason_of(written.read_text())[:SAID]
        if code < 0:
            return f"its process was killed by {signal.Signals(-code).name}"
        tail = (self._folder / "log.txt").read_text(errors="replace").strip().rpartition("\n")[2]
        return f"its process ended with exit code {code}{': ' * bool(tail)}{tail[-SAID:]}"


def _place(voice: type[Voice]) -> str:
    return f"{voice.__module__}:{voice.__qualname__}"


def _environment() -> dict[str, str]:
    """Return the environment of a voice: one thread, and the same modules as here."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **one, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
