"""The worker: a fork server that speaks JSON lines. Every request runs in a fresh child process.

    python -m qbench.run.worker [--preload BACKEND|MODULE ...]

With engines preloaded, a child starts in tens of milliseconds; with none, it is a fresh interpreter that
imports its own engine only. The server itself never runs a model: it has one thread and no device context,
so that every fork is clean. It stops a child that takes too long or too much memory, and it dies, child and
all, when its parent does. Ctrl-C is the parent's business: it closes stdin, and the server ends its child.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: a pool of threads would not survive a fork

import argparse
import ctypes
import faulthandler
import gc
import importlib
import json
import select
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from qbench.backends.base import BACKENDS
from qbench.records import Failed
from qbench.run.perform import perform
from qbench.run.protocol import About, Limits, ProbeRequest, Reply, Request, SelfRequest, StepRequest
from qbench.wire import from_plain, to_plain

TICK_S = 0.25  # how often a running child's memory is looked at: every look takes a core from what is timed
LOG_CHARACTERS = 4000  # what is kept of a failed child's own words
PR_SET_PDEATHSIG = 1  # Linux: the signal that a process gets when its parent dies


def main() -> None:
    """Serve until the parent closes stdin."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preload", nargs="*", default=[], metavar="BACKEND|MODULE")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # engines print to stdout; what the parent reads there is ours alone
    preload(parser.parse_args().preload)
    lines = _Lines(0)
    out.write(json.dumps({"ready": os.getpid()}) + "\n")
    while (line := lines.next()) is not None:
        request: Any = from_plain(Request, json.loads(line))  # type: ignore[arg-type]
        reply = (
            Reply(about(request)) if isinstance(request, SelfRequest) else serve(request, lines, out.fileno())
        )
        if reply is None:
            break
        out.write(json.dumps(to_plain(reply)) + "\n")


def preload(names: list[str]) -> None:
    """Import engines (by their backend's own rule) and modules; freeze them: forks share the pages."""
    # engines first: a library that stands on one would start its telemetry, which is a thread
    for name in sorted(names, key=lambda name: name not in BACKENDS):
        if name in BACKENDS:
            BACKENDS[name]().preload()
        else:
            importlib.import_module(name)
    gc.collect()
    gc.freeze()


def about(request: SelfRequest) -> About:
    """Say what this server is: the proof that its forks are clean."""
    torch = sys.modules.get("torch")
    threads = len(os.listdir("/proc/self/task")) if Path("/proc/self/task").is_dir() else 1
    loaded = tuple(name for name in request.modules if name in sys.modules)
    return About(os.getpid(), threads, bool(torch and torch.cuda.is_initialized()), loaded)


def serve(request: StepRequest | ProbeRequest, lines: _Lines, out: int) -> Reply | None:
    """Run the request in a child, which does not get `out`; None when the parent went away meanwhile."""
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as log:
        start = time.perf_counter()
        server, pid = os.getpid(), os.fork()
        if pid == 0:
            os.close(reading)
            os.close(out)
            _child(request, writing, log.fileno(), server)
        os.close(writing)
        watched = _Watched(pid, reading, request.limits)
        said = watched.collect(lines)
        busy_s = time.perf_counter() - start
        if said is None:
            return None
        failed = watched.why(said, request)
        if failed is None:
            reply = json.loads(said)
            result: Any = from_plain(Reply, {"result": reply, "busy_s": busy_s}).result
            return Reply(result, busy_s, _tail(log) if isinstance(result, Failed) else "")
        return Reply(failed, busy_s, _tail(log))


def _child(request: StepRequest | ProbeRequest, writing: int, log: int, server: int) -> NoReturn:
    """Do the request in a process group of its own, and leave without running the server's clean-up."""
    os.setpgid(0, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    _die_with(server)
    faulthandler.enable()  # where an engine crashes, its Python stack goes to the log
    code = 1
    try:
        said = json.dumps(to_plain(perform(request)), allow_nan=False).encode()
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(said)
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:  # it is on its way out: its words belong into the log, its process ends in any case
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def _die_with(server: int) -> None:
    """End this child when its server is killed, so that nothing goes on using the device unseen."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server:  # it was killed before this child could ask for that
        os._exit(1)


class _Watched:
    """A running child: what it said so far, and why it had to be stopped, if it had to."""

    def __init__(self, pid: int, reading: int, limits: Limits) -> None:
        self._pid, self._reading, self._limits = pid, reading, limits
        self._stopped: str | None = None
        self._status = 0

    def collect(self, lines: _Lines) -> bytes | None:
        """Read until the child is done or has to be stopped; None when the parent went away.

        A process that the child started may hold the pipe open after it: the child's own end counts, and
        whatever it left behind is ended with it.
        """
        said, end = bytearray(), time.monotonic() + self._limits.time_s
        while True:
            ended = self._ended()  # asked first: what it wrote before its end is in the pipe by now
            ready, _, _ = select.select([self._reading, 0], [], [], 0 if ended else TICK_S)
            if 0 in ready and lines.parent_left():
                self._kill()
                return None
            if self._reading in ready:
                block = os.read(self._reading, 1 << 16)
                if not block:
                    break
                said += block
            elif ended:
                break
            if self._over_limit(end):
                break
        os.close(self._reading)
        if self._stopped is None:
            os.waitid(
                os.P_PID, self._pid, os.WEXITED | os.WNOWAIT
            )  # not yet collected: its group keeps its name
        self._kill()
        return bytes(said)

    def _ended(self) -> bool:
        return os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _over_limit(self, end: float) -> bool:
        if time.monotonic() > end:
            self._stopped = f"it took longer than its limit of {self._limits.time_s:g} s"
        elif _resident_bytes(self._pid) > self._limits.memory_bytes:
            self._stopped = (
                f"it took more memory than its limit of {self._limits.memory_bytes / (1 << 30):.3g} GiB"
            )
        return self._stopped is not None

    def _kill(self) -> None:
        for kill in (os.killpg, os.kill):  # the group, and the child itself if it has none yet
            try:
                kill(self._pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        _, self._status = os.waitpid(self._pid, 0)

    def why(self, said: bytes, request: StepRequest | ProbeRequest) -> Failed | None:
        """Return the failure that the child could not report itself."""
        stage = request.step.kind if isinstance(request, StepRequest) else "probe"
        if self._stopped:
            return Failed(stage, f"stopped: {self._stopped}")
        if os.WIFSIGNALED(self._status):
            name = signal.Signals(os.WTERMSIG(self._status)).name
            hint = " (the system may have been out of memory)" if name == "SIGKILL" else ""
            return Failed(stage, f"the process was killed by {name}{hint}")
        if os.WEXITSTATUS(self._status) or not said:
            return Failed(
                stage, f"the process ended with exit code {os.WEXITSTATUS(self._status)} and no result"
            )
        return None


class _Lines:
    """Lines from a file descriptor, read without a buffer that `select` cannot see."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._buffer = descriptor, b""

    def next(self) -> bytes | None:
        """Return the next line, or None at the end."""
        while b"\n" not in self._buffer:
            if not self._read():
                return None
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def parent_left(self) -> bool:
        """Tell whether the parent has closed its end; called when there is something to read."""
        return not self._read()

    def _read(self) -> bool:
        block = os.read(self._descriptor, 1 << 16)
        self._buffer += block
        return bool(block)


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):  # it ended in this moment, or there is no /proc
        return 0


def _tail(log: BinaryIO) -> str:
    size = log.seek(0, os.SEEK_END)
    log.seek(
        max(0, size - 4 * LOG_CHARACTERS)
    )  # a character has four bytes at most, a log may have gigabytes
    return log.read().decode(errors="replace")[-LOG_CHARACTERS:].strip()


if __name__ == "__main__":
    main()
