"""Starting workers and talking to them: one fork server per engine, or a fresh interpreter for one step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

from qbench.errors import QbenchError
from qbench.records import Failed
from qbench.run.protocol import Reply, Request, StepRequest
from qbench.wire import from_plain, to_plain


class WorkerDied(QbenchError):
    """A fork server ended by itself; its own words are in the message."""


class Worker:
    """A running fork server. `prefix` is a command in front of the worker: `armpy`, `ssh pi5`, `srun`."""

    def __init__(self, preload: tuple[str, ...] = (), *, prefix: tuple[str, ...] = ()) -> None:
        """Start it; it imports while the caller goes on, and the first `ask` waits for it."""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
        interpreter = prefix or (sys.executable,)
        self._process = subprocess.Popen(
            [*interpreter, "-m", "qbench.run.worker", "--preload", *preload],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            encoding="utf-8",
            errors="replace",
            env={
                **os.environ,
                "PYTHONHASHSEED": "0",
                "PYTHONUNBUFFERED": "1",
                "TOKENIZERS_PARALLELISM": "false",
            },
        )
        self._ready = False

    def wait_until_ready(self) -> None:
        """Return when everything is imported.

        Raises:
            WorkerDied: an import broke the interpreter.
        """
        if not self._ready:
            self._read("ready")
            self._ready = True

    def ask(self, request: Any) -> Reply:
        """Send one request and wait for its reply; a server that dies gives a failed reply."""
        try:
            self.wait_until_ready()
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(to_plain(request)) + "\n")
            self._process.stdin.flush()
            return from_plain(Reply, self._read("result"))
        except (WorkerDied, BrokenPipeError) as error:
            stage = request.step.kind if isinstance(request, StepRequest) else request.kind
            words = error.problem if isinstance(error, WorkerDied) else str(error)
            return Reply(Failed(stage, f"the worker itself ended: {words}"), log=self._said())

    @property
    def alive(self) -> bool:
        """Tell whether it can take a request."""
        return self._process.poll() is None

    def _read(self, wanted: str) -> dict[str, Any]:
        """Return the next line that holds `wanted`; others are a banner or a print, and no words of ours."""
        assert self._process.stdout is not None
        for line in iter(self._process.stdout.readline, ""):
            try:
                said = json.loads(line)
            except ValueError:
                continue
            if isinstance(said, dict) and wanted in said:
                return said
        self._process.wait()
        raise WorkerDied(
            f"the worker ended with exit code {self._process.returncode}: {self._said()[-400:]}",
            fix="run `qbench doctor`: it says which package is missing or broken",
        )

    def _said(self) -> str:
        """Return the server's own last words."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace").strip()[-2000:]

    def close(self) -> None:
        """End it; a running child ends with it, and one that is still importing has none."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if not self._ready:
            self._process.kill()
        with suppress(BrokenPipeError):  # it is gone already
            self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Workers:
    """The fork servers of a run, one per set of preloaded modules, started when first needed."""

    def __init__(self) -> None:
        """Start none."""
        self._running: dict[tuple[str, ...], Worker] = {}

    def get(self, preload: tuple[str, ...]) -> Worker:
        """Return the server that has these preloaded; a dead one is replaced."""
        worker = self._running.get(preload)
        if worker is None or not worker.alive:
            if worker is not None:
                worker.close()
            worker = self._running[preload] = Worker(preload)
        return worker

    def restart(self, wanted: list[tuple[str, ...]]) -> None:
        """Replace all servers by the wanted ones: all children of one share its address layout."""
        self.close()
        for preload in wanted:
            self.get(preload)
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


def ask_fresh(request: Request) -> Reply:
    """Do one request in a fresh interpreter that imports nothing but what the request itself needs."""
    with Worker() as worker:
        return worker.ask(request)
