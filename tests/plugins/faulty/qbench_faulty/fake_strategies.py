# ruff: noqa: ARG002 - what a plug-in is given and does not need
"""Techniques for the fake engine: one honest one, and one for every way to go wrong."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from qbench.cases import FakeQuant, Float, Quantized, Scheme, State
from qbench.errors import BadParameter, DoesNotFit
from qbench.formats.artifact import Artifact
from qbench.formats.fake import write_fake
from qbench.strategies.base import STRATEGIES, Calibration, Route, Strategy

INT8 = Scheme(8, 8, "per_tensor")
IN_INT8 = {"low_bit": 2, "other": 0, "weights": [[1000, 8], [4000, 8]]}
IN_FLOAT = {"low_bit": 0, "other": 2, "weights": [[1000, 8], [4000, 8]]}


class OnFake(Strategy):
    """Change what the file says, and claim eight bits."""

    about: ClassVar[str] = "for tests, on the fake engine"
    source: ClassVar[str] = "tests/plugins/faulty"
    routes: ClassVar[tuple[Route, ...]] = (Route("fake", "fake", "qbench-suite"),)
    needs_calibration: ClassVar[bool] = False
    changes: ClassVar[dict[str, Any]] = {}

    def state(self, before: State) -> State:
        if before != Float():
            raise DoesNotFit(
                f"this step takes a 32-bit float network, and this one is {before.kind} already",
                fix="put it first",
            )
        return Quantized(INT8)

    def apply(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Artifact:
        behaviour = json.loads(Path(artifact.path or "").read_text()) | self.changes
        path = write_fake(folder / "network.fake", behaviour | self.more())
        return replace(artifact, path=path, state=self.state(artifact.state))

    def more(self) -> dict[str, Any]:
        """Return what the parameters change."""
        return {}


@STRATEGIES.register("fake_int8")
@dataclass(frozen=True, slots=True)
class Honest(OnFake):
    """Twice as fast, and one answer in ten more is wrong."""

    changes: ClassVar[dict[str, Any]] = IN_INT8 | {"accuracy": 0.8}
    speedup: float = 2.0

    def __post_init__(self) -> None:
        if self.speedup <= 0:
            raise BadParameter(
                f"fake_int8: speedup = {self.speedup} is not above 0", fix="write speedup = 2.0"
            )

    def more(self) -> dict[str, Any]:
        return {"latency_s": 0.02 / self.speedup}


@STRATEGIES.register("fake_calibrated")
@dataclass(frozen=True, slots=True)
class Calibrated(OnFake):
    """Honest, and it looks at calibration data."""

    changes: ClassVar[dict[str, Any]] = IN_INT8
    needs_calibration: ClassVar[bool] = True


@STRATEGIES.register("fake_slow")
@dataclass(frozen=True, slots=True)
class Slow(OnFake):
    """Every call really takes this long: time to be killed in."""

    changes: ClassVar[dict[str, Any]] = IN_INT8
    sleep_s: float = 0.1

    def more(self) -> dict[str, Any]:
        return {"sleep_s": self.sleep_s}


@STRATEGIES.register("fake_holds")
@dataclass(frozen=True, slots=True)
class Holds(OnFake):
    """Holds 200 MB from when it is loaded, and 100 MB more for the time of a call."""

    changes: ClassVar[dict[str, Any]] = IN_INT8 | {"loaded_bytes": 200_000_000, "called_bytes": 100_000_000}


@STRATEGIES.register("fake_lying")
@dataclass(frozen=True, slots=True)
class Lying(OnFake):
    """Claims eight bits and changes nothing."""


@STRATEGIES.register("fake_collapse")
@dataclass(frozen=True, slots=True)
class Collapsing(OnFake):
    """Really eight bits, and what the network knew is gone."""

    changes: ClassVar[dict[str, Any]] = IN_INT8 | {"accuracy": 0.1}


@STRATEGIES.register("fake_nan")
@dataclass(frozen=True, slots=True)
class NotANumber(OnFake):
    """Answers with NaN."""

    changes: ClassVar[dict[str, Any]] = IN_INT8 | {"misbehaves": "nan"}


@STRATEGIES.register("fake_crash")
@dataclass(frozen=True, slots=True)
class Crashing(OnFake):
    """The engine aborts, and takes its process with it."""

    changes: ClassVar[dict[str, Any]] = IN_INT8 | {"misbehaves": "crash"}


@STRATEGIES.register("fake_hang")
@dataclass(frozen=True, slots=True)
class Hanging(OnFake):
    """The engine never answers."""

    changes: ClassVar[dict[str, Any]] = IN_INT8 | {"misbehaves": "hang"}


@STRATEGIES.register("fake_allocate")
@dataclass(frozen=True, slots=True)
class Allocating(OnFake):
    """The engine takes all the memory there is."""

    changes: ClassVar[dict[str, Any]] = IN_INT8 | {"misbehaves": "allocate"}


@STRATEGIES.register("fake_empty")
@dataclass(frozen=True, slots=True)
class Empty(OnFake):
    """The engine answers with nothing."""

    changes: ClassVar[dict[str, Any]] = IN_INT8 | {"misbehaves": "empty"}


@STRATEGIES.register("fake_float_kernels")
@dataclass(frozen=True, slots=True)
class FloatKernels(OnFake):
    """Eight bits in the file, float in the kernels."""

    changes: ClassVar[dict[str, Any]] = IN_FLOAT


@STRATEGIES.register("fake_simulated")
@dataclass(frozen=True, slots=True)
class Simulated(OnFake):
    """Fake quantization: it has an accuracy and no speed."""

    changes: ClassVar[dict[str, Any]] = {"accuracy": 0.8}

    def state(self, before: State) -> State:
        return FakeQuant(INT8)


@STRATEGIES.register("fake_raises")
@dataclass(frozen=True, slots=True)
class Raising(OnFake):
    """Breaks while it is applied, with words of its own."""

    def apply(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Artifact:
        raise RuntimeError("this technique is broken")


@STRATEGIES.register("fake_exits")
@dataclass(frozen=True, slots=True)
class Exiting(OnFake):
    """Leaves the process with a code, after some words that are no UTF-8."""

    def apply(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Artifact:
        sys.stdout.buffer.write(b"last words: \xff\xfe\n")
        sys.stdout.flush()
        sys.exit(7)


@STRATEGIES.register("fake_contradicts")
@dataclass(frozen=True, slots=True)
class Contradicting(OnFake):
    """Announces eight bits and gives back a float."""

    def apply(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Artifact:
        return replace(artifact, path=write_fake(folder / "network.fake", {}), state=Float())
