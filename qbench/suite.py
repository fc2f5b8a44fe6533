"""A suite is data: which models, which techniques, which engines, how much is scored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from qbench.cases import Choice

CAPS = {"avx2": "avx512f", "avx512": "avx512_vnni"}  # a cap, and the least that it takes away
STAGES = ("load", "check", "proof of kernel", "score", "count", "first call", "measure")  # of a cell's steps


@dataclass(frozen=True, slots=True)
class SuiteModel:
    """A model to measure; `task` where it is not the one that the model was trained for."""

    use: str
    task: dict[str, Any] | None = None
    priority: int = 1
    state: str = ""  # of a user's recurrent network, what is carried from call to call: "h=hn, c=cn"
    sizes: str = ""  # of a user's network with free axes, a call with one example: "mel=1x40x50"


@dataclass(frozen=True, slots=True)
class SuiteTechnique:
    """A technique: a name to show, and the chain that it is."""

    name: str
    chain: list[dict[str, Any]]
    role: Literal["fp32", "float", "technique"] = "technique"
    timed: bool = True  # False: only its accuracy and size are asked for; its speed is that of another
    models: list[str] = field(default_factory=list)  # only these; empty: all
    backends: list[str] = field(default_factory=list)  # only these; empty: all of the suite
    priority: int = 1
    against: str = ""  # a technique that it is held against, besides fp32: its accuracy, pair by pair
    simulated: bool = False  # True: its integers are also simulated in float, and the two compared
    options: dict[str, str] = field(default_factory=dict)  # what the engine is told: precision = "bf16"
    after: list[str] = field(default_factory=list)  # only if none of these holds its limit; empty: always
    when: str = ""  # `qbench try`: only for networks that this rule is for (run/pool.py); "": for all


@dataclass(frozen=True, slots=True)
class SuiteScenario:
    """How requests arrive. `counted` is what emulated devices do in the place of the others."""

    name: Literal["single", "saturated", "counted"] = "single"
    batch: int = 1
    threads: int = 0  # 0: all that the device has
    isa: str = ""  # cap the engine's vector instructions: avx2, avx512 (without VNNI)
    models: list[str] = field(default_factory=list)  # only these; empty: all
    backends: list[str] = field(default_factory=list)  # only these; empty: all of the suite
    techniques: list[str] = field(default_factory=list)  # only these and fp32; empty: all
    priority: int = 1

    def wants(self, model: str, technique: str, backend: str, *, baseline: bool) -> bool:
        """Tell whether this cell is asked for; the baseline is, wherever its model is."""
        named = baseline or not self.techniques or technique in self.techniques
        placed = not self.backends or backend in self.backends
        return named and placed and (not self.models or model in self.models)


@dataclass(frozen=True, slots=True)
class SuiteCalibration:
    """How many calibration examples, and by which seeds they are drawn."""

    count: int = 256
    seeds: list[int] = field(default_factory=lambda: [0])


@dataclass(frozen=True, slots=True)
class SuiteExpectation:
    """A collapse or failure that is known and has a reason: shown as ever, and not counted as one."""

    technique: str
    reason: str
    model: str = "*"
    backend: str = "*"
    hardware: str = "*"
    stage: str = ""  # of the one failure that is known, as its record names it; "": a collapse


@dataclass(frozen=True, slots=True)
class Suite:
    """The file, as written."""

    name: str
    about: str
    backends: list[str]
    technique: list[SuiteTechnique]
    scenario: list[SuiteScenario]
    model: list[SuiteModel] = field(default_factory=list)
    scored: int = 10_000
    training: int = 10_000  # examples that a technique learns from, where it does
    selection: int = 2_000  # examples that a technique chooses by, where it does
    calibration: SuiteCalibration = SuiteCalibration()
    expect: list[SuiteExpectation] = field(default_factory=list)
    # what one example takes, about, and how long it should all take: `qbench try` knows both; 0: not known
    call_s: float = field(default=0.0, metadata={"written": False})
    budget_s: float = field(default=0.0, metadata={"written": False})
    file: str = field(default="", metadata={"written": False})  # where it was read from, for errors


@dataclass(frozen=True, slots=True)
class Technique:
    """One technique with every sweep resolved: each parameter has one value."""

    name: str
    role: Literal["fp32", "float", "technique"]
    chain: tuple[Choice, ...]
    timed: bool = True
    models: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    priority: int = 1
    against: str = ""
    options: tuple[tuple[str, str], ...] = ()
    after: tuple[str, ...] = ()
