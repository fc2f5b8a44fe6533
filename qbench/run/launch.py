"""Starting workers and talking to them: one fork server per engine and device, or a fresh one for a step."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from qbench.cases import key
from qbench.errors import QbenchError
from qbench.folders import cache_folder
from qbench.measure.instructions import KINDS
from qbench.records import Failed, Measured, Withheld
from qbench.run.protocol import Reply, Request, StepRequest
from qbench.wire import from_plain, to_plain

START_S = 120.0  # to be ready: engines import in 1 to 8 s, and in a minute on a cold disk
GRACE_S = 60.0  # beyond the limit of a request, which the server itself keeps: by then it must have said so

# What the environment says of this machine's processor, libraries and interpreter. On another device a name
# of an x86 kernel or a library of this host is wrong at best.
OF_THIS_MACHINE = re.compile(
    r"LD_|DYLD_|PYTHON|\w*BLAS_|OMP_|GOMP_|KMP_|MKL_|NPY_|DNNL_|ONEDNN_|GLIBC_|MALLOC_|VIRTUAL_ENV|CONDA_"
)
FILES = re.compile(
    r"(PATH|HOME|TMPDIR|QBENCH_\w+|XDG_CACHE_HOME)$"
)  # what the environment says of files alone

OURS = {"PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false"}


class WorkerDied(QbenchError):
    """A fork server ended by itself, or had to be ended; its own words are in the message."""


class Worker:
    """A running fork server. `prefix` is a command that runs Python on a device: `ssh pi5 python3`."""

    def __init__(
        self,
        preload: tuple[str, ...] = (),
        *,
        prefix: tuple[str, ...] = (),
        start_s: float = START_S,
        repeats: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it; it imports while the caller goes on, and the first `ask` waits for it.

        A command that cannot be started is told by `ask`, as the failure of whatever was asked. With
        `repeats`, a device is told nothing that differs between two terminals.
        """
        self._prefix = prefix
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
        self._command = [*(prefix or (sys.executable,)), "-m", "qbench.run.worker", "--preload", *preload]
        self._end, self._start_s = time.monotonic() + start_s, start_s
        self._ready, self._buffer, self._never = False, b"", ""
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env=(_for_a_device(repeats=repeats) if prefix else {**os.environ, **OURS})
                | dict(environment or {}),
            )
        except OSError as error:
            self._never = f"{self._command[0]} cannot be started: {error.strerror or error}"

    def wait_until_ready(self) -> None:
        """Return when everything is imported.

        Raises:
            WorkerDied: it cannot be started, an import broke the interpreter, or it takes too long.
        """
        if not self._ready:
            end = max(self._end, time.monotonic() + 1)  # it may have said so while nobody was listening
            self._read("ready", end, f"it was not ready within {self._start_s:g} s")
            self._ready = True

    def ask(self, request: Any) -> Reply:
        """Send one request and wait for its reply; a server that dies or hangs gives a failed reply."""
        try:
            self.wait_until_ready()
            assert self._process is not None
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(to_plain(request)).encode() + b"\n")
            self._process.stdin.flush()
            limit_s = request.limits.time_s + GRACE_S
            said = self._read("result", time.monotonic() + limit_s, f"it did not answer within {limit_s:g} s")
            return from_plain(Reply, said)
        except (WorkerDied, BrokenPipeError) as error:
            stage = request.step.kind if isinstance(request, StepRequest) else request.kind
            words = error.problem if isinstance(error, WorkerDied) else str(error)
            return Reply(Failed(stage, f"the worker itself ended: {words}"), log=self._said())

    @property
    def alive(self) -> bool:
        """Tell whether it can take a request."""
        return self._process is not None and self._process.poll() is None

    def _read(self, wanted: str, end: float, late: str) -> dict[str, Any]:
        """Return the next line that holds `wanted`; others are a banner or a print, and no words of ours."""
        if self._process is None:
            raise self._died(self._never)
        while (line := self._line(self._process, end, late)) is not None:
            with suppress(ValueError):
                said = json.loads(line)
                if isinstance(said, dict) and wanted in said:
                    return said
        self._process.wait()
        raise self._died(f"the worker ended with exit code {self._process.returncode}: {self._said()[-400:]}")

    def _line(self, process: subprocess.Popen[bytes], end: float, late: str) -> bytes | None:
        """Return the next line, or None at the end; whoever says nothing for too long is ended."""
        assert process.stdout is not None
        while b"\n" not in self._buffer:
            left_s = end - time.monotonic()
            if left_s <= 0 or not select.select([process.stdout], [], [], left_s)[0]:
                process.kill()
                process.wait()
                raise self._died(f"{late}: {self._said()[-400:] or 'it said nothing'}")
            block = os.read(process.stdout.fileno(), 1 << 16)
            if not block:
                return None
            self._buffer += block
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _died(self, problem: str) -> WorkerDied:
        if not self._prefix:
            return WorkerDied(problem, fix="run `qbench doctor`: it says which package is missing or broken")
        tried = f"{' '.join(self._prefix)} -c 'import numpy'"
        return WorkerDied(problem, fix=f"run `{tried}`: it must start Python on the device")

    def _said(self) -> str:
        """Return the server's own last words."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace").strip()[-2000:]

    def close(self) -> None:
        """End it; a running child ends with it, and one that is still importing has none."""
        if self._process is not None:
            self._end_it(self._process)
        self._log.close()

    def _end_it(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        if not self._ready:
            process.kill()
        with suppress(BrokenPipeError):  # it is gone already
            process.stdin.close()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _for_a_device(*, repeats: bool) -> dict[str, str]:
    """Return the environment of a command that leads to a device.

    A device has an interpreter and libraries of its own. Of this host's packages it is shown `qbench` alone,
    through a link: what is built for this processor lies beside it, and would be imported first. A plug-in
    that a device needs must be installed there.

    Counts of instructions repeat exactly only where all this does, to its length: it lies on the stack, and
    what is below moves with it. So the link has one name for good, and with `repeats` little else is told.
    """
    package = Path(__file__).resolve().parents[1]
    beside = cache_folder() / "shown" / key((str(package),))
    beside.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        (beside / "qbench").symlink_to(package)
    kept = {
        name: value
        for name, value in os.environ.items()
        if (FILES.match(name) if repeats else not OF_THIS_MACHINE.match(name))
    }
    return {**kept, **OURS, "PYTHONPATH": str(beside), "PYTHONSAFEPATH": "1"}


Kind = tuple[tuple[str, ...], tuple[str, ...]]  # the command that leads to the device, and what is preloaded


class Workers:
    """The fork servers of a run, one per device and set of preloaded modules, started when first needed."""

    def __init__(self) -> None:
        """Start none."""
        self._running: dict[Kind, Worker] = {}

    def get(self, preload: tuple[str, ...], prefix: tuple[str, ...] = ()) -> Worker:
        """Return the server that has these preloaded, on the device that `prefix` leads to.

        A dead one is replaced.
        """
        worker = self._running.get((prefix, preload))
        if worker is None or not worker.alive:
            if worker is not None:
                worker.close()
            worker = self._running[prefix, preload] = Worker(preload, prefix=prefix)
        return worker

    def restart(self, wanted: list[tuple[str, ...]], prefix: tuple[str, ...] = ()) -> None:
        """Replace all servers by the wanted ones: all children of one share its address layout."""
        self.close()
        for preload in wanted:
            self.get(preload, prefix)
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Return when every server has imported everything, or has ended: `ask` tells which."""
        for worker in self._running.values():
            with suppress(WorkerDied):
                worker.wait_until_ready()

    def close(self) -> None:
        """End all servers."""
        for worker in self._running.values():
            worker.close()
        self._running.clear()


@contextmanager
def workers() -> Iterator[Workers]:
    """Give a run its fork servers and end them with it."""
    running = Workers()
    try:
        yield running
    finally:
        running.close()


def ask_fresh(
    request: Request, prefix: tuple[str, ...] = (), environment: Mapping[str, str] | None = None
) -> Reply:
    """Do one request in a fresh interpreter that imports nothing but what the request itself needs.

    `environment` is added to it: what binds when an engine is loaded can be set in no other way.
    """
    with Worker(prefix=prefix, environment=environment) as worker:
        return worker.ask(request)


def ask_counting(request: StepRequest, counter: tuple[str, ...]) -> Reply:
    """Do one step in a fresh interpreter whose instructions are counted; withheld where nothing counts.

    `counter` is the command that leads to the device and counts; `{out}` in it is the file for the counts.
    Fresh, because what a fork server has translated and grown would depend on the steps before.
    """
    if not counter:
        return _not_counted("nothing counts instructions on this device")
    out = cache_folder() / "counting" / "counts.jsonl"  # one name for good, as for what a device is shown
    out.parent.mkdir(parents=True, exist_ok=True)
    out.unlink(missing_ok=True)
    command = tuple(word.replace("{out}", str(out)) for word in counter)
    with Worker(prefix=command, repeats=True) as worker:
        try:
            worker.wait_until_ready()
        except WorkerDied as error:  # the device itself answers: its score came before
            return _not_counted(f"what counts instructions does not start: {error.problem}")
        return worker.ask(replace(request, counts=str(out)))


def _not_counted(reason: str) -> Reply:
    return Reply(Measured((), tuple(Withheld(metric, reason) for metric in KINDS.values())))
