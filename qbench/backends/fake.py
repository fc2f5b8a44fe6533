"""The fake engine: a device whose every number is known beforehand, so that the whole program can be tested.

Its artifact is a small JSON file that says how the "network" behaves: which share of the answers is right,
what a call costs on its own clock and in real time, and how it misbehaves. Inputs are one-hot rows; a right
answer is the row.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from qbench.backends.base import BACKENDS, Backend, DeviceProbe, KernelProof, Placement, Probe, Session
from qbench.cases import State
from qbench.records import Evidence

if TYPE_CHECKING:
    from qbench.formats.artifact import Artifact

IMPORT_BYTES = 400_000_000  # more than any fake network holds


@BACKENDS.register("fake")
class Fake(Backend):
    """Plays a network from a JSON file."""

    about: ClassVar[str] = "for tests: every number is known beforehand"
    runs: ClassVar[frozenset[str]] = frozenset({"fake"})
    distribution: ClassVar[str] = "qbench-suite"
    for_tests: ClassVar[bool] = True

    def engine(self) -> object:
        """Return itself, after taking memory and giving it back as imports do: no peak may inherit that."""
        np.ones(IMPORT_BYTES, dtype=np.uint8)
        return self

    def preload(self) -> None:
        """Do nothing: there is nothing to import."""

    def probe(self) -> Probe:
        """Return one device that can do anything."""
        return Probe("fake", "1", (DeviceProbe("cpu", None, ("fp32", "bf16", "int8")),))

    def refuses(self, state: State, probe: DeviceProbe) -> str | None:  # noqa: ARG002
        """Refuse nothing."""
        return None

    def simulates(self, state: State, device: str) -> str | None:  # noqa: ARG002
        """Simulate nothing."""
        return None

    def load(self, artifact: Artifact, placement: Placement) -> Session:  # noqa: ARG002
        """Read the file."""
        return FakeSession(json.loads(Path(artifact.path or "").read_text()))


class FakeSession(Session):
    """Answers as the file says, on a clock that moves only when it is called."""

    def __init__(self, behaviour: dict[str, Any]) -> None:
        """Keep the file's words.

        `accuracy`, `latency_s`, `sleep_s`, `loaded_bytes`, `called_bytes`, `low_bit`, `other`, `misbehaves`.
        """
        self._behaviour = behaviour
        self._now_ns = 0
        self._kept = [np.ones(behaviour.get("loaded_bytes", 0), np.uint8)]

    def run(self, inputs: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        """Answer; every k-th row wrongly, so that the asked share is right."""
        self._now_ns += round(self._behaviour["latency_s"] * 1e9)
        time.sleep(self._behaviour.get("sleep_s", 0))
        _ = np.ones(self._behaviour.get("called_bytes", 0), np.uint8)  # gone when the call ends
        rows = next(iter(inputs.values())).astype(np.float32)
        misbehaves = self._behaviour.get("misbehaves")
        if misbehaves == "crash":
            os.abort()
        if misbehaves == "hang":
            time.sleep(3600)
        while misbehaves == "allocate":
            self._kept.append(np.ones(1 << 25, dtype=np.uint8))
            time.sleep(0.005)
        if misbehaves == "empty":
            return (rows[:0],)
        if misbehaves == "nan":
            return (np.full_like(rows, np.nan),)
        wrong = (rows.argmax(axis=1) * 0.61803399) % 1 >= self._behaviour["accuracy"]  # a fixed, even spread
        return (np.where(wrong[:, None], np.roll(rows, 1, axis=1), rows),)

    def prove(self, inputs: dict[str, np.ndarray]) -> KernelProof:  # noqa: ARG002
        """Return the counts that the file names."""
        low, other = self._behaviour.get("low_bit", 0), self._behaviour.get("other", 0)
        return KernelProof(low, other, (Evidence("kernel of the fake engine", str(low + other)),))

    def spend(self, time_ns: float) -> None:
        """Move the clock."""
        self._now_ns += max(0, round(time_ns))

    @property
    def clock_ns(self) -> Callable[[], int]:
        """Return the clock of its own: it stands still between calls, so that durations are exact."""
        return lambda: self._now_ns
