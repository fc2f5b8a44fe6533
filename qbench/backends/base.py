"""What a backend is: an engine that runs a format on a device. The only folder that names a vendor.

A leaf imports its engine inside `engine()` and nowhere else, so that listing stays quick, and so that a
worker holds one engine and no other.
"""

from __future__ import annotations

import abc
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from qbench.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from qbench.cases import State
    from qbench.formats.artifact import Artifact
    from qbench.records import Evidence

BACKENDS: Registry[type[Backend]] = Registry("backend", "qbench.backends")


@dataclass(frozen=True, slots=True)
class DeviceProbe:
    """What one device can do with this engine; `absent` says why where it cannot be used at all."""

    device: str
    absent: str | None = None
    abilities: tuple[str, ...] = ()  # number formats with kernels of their own: fp32, bf16, int8


@dataclass(frozen=True, slots=True)
class Probe:
    """What the engine here is and can do; made once by a child process and kept."""

    backend: str
    version: str
    devices: tuple[DeviceProbe, ...]
    absent: str | None = None  # why the whole engine is missing
    fix: str = "pip install -e . -c constraints.txt"  # what would bring it

    def on(self, device: str) -> DeviceProbe:
        """Return the answer for one device."""
        if self.absent:
            return DeviceProbe(device, self.absent)
        known = (probe for probe in self.devices if probe.device == device)
        return next(known, DeviceProbe(device, f"{self.backend} has no {device} device"))


@dataclass(frozen=True, slots=True)
class KernelProof:
    """Which kernels ran, counted in the engine and not in the file."""

    low_bit: int  # multiply-accumulate kernels in the format that the artifact's state names
    other: int  # multiply-accumulate kernels in 32-bit float
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and how a model is loaded: the device's word, and what of it the model may use."""

    device: str = "cpu"
    threads: int = 1  # for all streams together
    streams: int = 1  # callers at once; above one, the engine is set up for throughput
    options: tuple[tuple[str, str], ...] = ()  # (option, value), of those that the backend names

    @property
    def threads_each(self) -> int:
        """Return the threads of one stream, one at least."""
        return max(1, self.threads // self.streams)


class Session(abc.ABC):
    """A loaded model that answers."""

    @abc.abstractmethod
    def run(self, inputs: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        """Return the outputs, batch first, in the model's order. This is the timed call.

        As many threads as the placement has streams may call it at once.
        """

    @abc.abstractmethod
    def prove(self, inputs: dict[str, np.ndarray]) -> KernelProof:
        """Run once under the engine's own profiler and count the kernels that ran."""

    @property
    @abc.abstractmethod
    def clock_ns(self) -> Callable[[], int]:
        """Return the clock to time calls with; the real one everywhere but in the fake engine."""

    def device_peak_bytes(self) -> int | None:
        """Return the peak of the engine's allocator on a device with memory of its own, else None."""
        return None

    def spend(self, time_ns: float) -> None:
        """Let this much time go by on that clock, busily."""
        until = time.perf_counter_ns() + time_ns
        while time.perf_counter_ns() < until:
            pass


class Backend(abc.ABC):
    """An engine. Leaves are final and stateless."""

    about: ClassVar[str]
    runs: ClassVar[frozenset[str]]
    distribution: ClassVar[str]  # whose version identifies the engine
    # by cap (suite.CAPS), the environment under which a process of this engine stays within it
    caps: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    # by name, the values of what a suite may tell the engine beside a file: precision = ("bf16", ...)
    options: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    for_tests: ClassVar[bool] = False  # hidden from `--hw all`; a suite may still name it

    @abc.abstractmethod
    def engine(self) -> object:
        """Import the engine, with its telemetry switched off, and return it.

        Raises:
            ImportError: it is not installed.
        """

    def preload(self) -> None:
        """Import what every load will need, once in a server instead of in each of its forks.

        Never called where load time or memory are measured: there a load imports what it needs.

        Raises:
            ImportError: the engine is not installed.
        """
        self.engine()

    @abc.abstractmethod
    def probe(self) -> Probe:
        """Ask the engine what is here; called in a process of its own."""

    @abc.abstractmethod
    def refuses(self, state: State, probe: DeviceProbe) -> str | None:
        """Return why this state has no kernels on this device, or None where it can run."""

    @abc.abstractmethod
    def simulates(self, state: State, device: str) -> str | None:
        """Return why this state runs here, but in float kernels: it then has an accuracy and no speed.

        None where its kernels are meant to run as the state says; the proof of kernel holds them to it.
        """

    @abc.abstractmethod
    def load(self, artifact: Artifact, placement: Placement) -> Session:
        """Return a session on the device.

        Raises:
            NotAvailable: the engine took another device than was asked for.
            Exception: whatever the engine says of a model that it refuses.
        """

    def loading(self, artifact: Artifact, placement: Placement, path: str) -> list[str]:  # noqa: ARG002
        """Return lines of Python that load this file as `load` does and ask it once; none where unknown.

        The first one imports the engine; the last one calls it with `inputs`, a dict by name, and leaves a
        sequence in `outputs`.
        """
        return []
