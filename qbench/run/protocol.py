"""What parent and worker say to each other: one JSON object a line, on the worker's stdin and stdout."""

from __future__ import annotations

from dataclasses import dataclass, field

from qbench.backends.base import Probe
from qbench.cases import Step
from qbench.records import Failed, Measured, Measurement


@dataclass(frozen=True, slots=True)
class Limits:
    """What one step may take before it is stopped."""

    time_s: float = 600.0
    memory_bytes: int = 8 << 30


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one window is, and how long its warm-up may be."""

    window_s: float = 1.0
    warmup_cap_s: float = 2.0
    energy_s: float = 10.0  # of a window of energy, at least


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the float deployment of the same model on the same engine said, for a paired comparison."""

    answers: str  # the .npz file with all its outputs (steps/kept.py)
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class StepRequest:
    """Do this step. `data_ids` tells, by the key of a DataSpec, which stored examples it means."""

    step: Step
    data_ids: tuple[tuple[str, str], ...] = ()
    baseline: Baseline | None = None
    timing: Timing = Timing()
    limits: Limits = Limits()
    session: str = ""
    twin: str = ""  # the .npz file with the same file's outputs on the host's own processor; "": none
    metered: bool = False  # whether this run measures energy in steps of its own
    counts: str = ""  # where the emulator writes instruction counts; "": nothing counts
    kind: str = "step"


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """Ask this backend what is here."""

    backend: str
    limits: Limits = Limits(time_s=60.0)
    kind: str = "probe"


@dataclass(frozen=True, slots=True)
class SelfRequest:
    """Ask the fork server about itself: threads, device contexts, modules loaded."""

    modules: tuple[str, ...] = ()
    limits: Limits = Limits(time_s=10.0)
    kind: str = "self"


Request = StepRequest | ProbeRequest | SelfRequest


@dataclass(frozen=True, slots=True)
class About:
    """What a fork server says of itself, before it has forked anything."""

    pid: int
    threads: int
    cuda_context: bool
    loaded: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """How a step went."""

    result: Measured | Failed | Probe | About
    busy_s: float = 0.0  # inside the child: the rest of the wall is the harness's own
    log: str = ""


@dataclass(slots=True)
class Trace:
    """Where a step is and what it has so far, so that a failure can say both."""

    stage: str = "start"
    measurements: list[Measurement] = field(default_factory=list)
