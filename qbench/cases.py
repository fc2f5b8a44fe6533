"""What is measured: the words for a model's way, its deployment and its case, and their content keys.

Three keys, one inside the other: an `ArtifactSpec` is prepared once, a `Deployment` is scored once, a `Case`
is timed in rounds. None of them holds a result, so all are hashable and `key` names them by content.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Literal

Param = bool | int | float | str
Split = Literal["train", "calibration", "selection", "test"]
SGEMM, COPY = "sgemm-384-one-thread", "copy-128-MiB-all-threads"  # the fixed kernels
AGAIN = "fp32 again"  # the technique's name of a float file that is measured against itself
BUILD = ", build "  # the same: compiled once more, from the same program
SIMULATED = ", simulated"  # the same: its integers simulated in float
FILE_SUFFIX = ".onnx"  # of a model's name: it is the path of a user's own file
SEED = ", calibration seed "  # in a technique's name: scored with further calibration data


@dataclass(frozen=True, slots=True)
class Choice:
    """A plug-in's name and the parameters asked of it: enough to build it again."""

    name: str
    params: tuple[tuple[str, Param], ...] = ()

    def __str__(self) -> str:
        """Write it as a suite would: `static_int8(observer=minmax)`."""
        inner = ", ".join(f"{name}={value}" for name, value in self.params)
        return f"{self.name}({inner})" if inner else self.name


# --- what a model's numbers are -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scheme:
    """How weights and activations are written as integers (Jacob et al. 2018, arXiv:1712.05877, eq. 1)."""

    weight_bits: int
    activation_bits: int | None  # None: activations stay in float
    granularity: Literal["per_tensor", "per_channel", "per_group"]
    dynamic: bool = False  # True: activation scales are computed from every input as it comes
    mixed: bool = False  # True: the bits are the widest of several, and some layers may be in float


@dataclass(frozen=True, slots=True)
class Float:
    """Weights and arithmetic in this floating format."""

    dtype: Literal["fp32", "bf16", "fp16"] = "fp32"
    kind: Literal["float"] = "float"


@dataclass(frozen=True, slots=True)
class FakeQuant:
    """Weights on the integer grid, arithmetic in float: it has an accuracy and no speed."""

    scheme: Scheme
    kind: Literal["fake_quant"] = "fake_quant"


@dataclass(frozen=True, slots=True)
class Quantized:
    """Weights stored and multiplied as integers."""

    scheme: Scheme
    kind: Literal["quantized"] = "quantized"


State = Float | FakeQuant | Quantized


# --- the three keys -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DataSpec:
    """Which examples: the first `count` of a split, or `count` drawn from it by `seed`."""

    task: Choice
    split: Split
    count: int
    seed: int | None = None  # None: the first ones; a number: a seeded draw without replacement
    recipe: str = ""  # digest of everything that decides the pixels; the id of the pixels is in the record


@dataclass(frozen=True, slots=True)
class Hop:
    """One step on an artifact's way: the source model, a conversion between formats, or a chain's link."""

    kind: Literal["source", "edge", "technique"]
    use: Choice
    gives: str  # format afterwards
    state: State  # state afterwards
    source: str  # digest: of weights and architecture, or of the code and the library versions that do it
    calibration: DataSpec | None = None  # what this hop looks at, where it needs data
    training: DataSpec | None = None  # what it learns from
    selection: DataSpec | None = None  # what it chooses by
    checked: DataSpec | None = None  # of a source that is a file: what its answers are asked about

    @property
    def data(self) -> tuple[DataSpec, ...]:
        """Return all examples that this hop needs."""
        needs = (self.calibration, self.training, self.selection, self.checked)
        return tuple(spec for spec in needs if spec)

    def __str__(self) -> str:
        """Write it as `qbench plan` shows it."""
        return f"to {self.gives}" if self.kind == "edge" else str(self.use)


@dataclass(frozen=True, slots=True)
class ArtifactSpec:
    """What is prepared once: a model, and the way it goes through techniques and formats."""

    model: Choice
    way: tuple[Hop, ...]  # never empty: the source model is the first hop

    @property
    def users_own(self) -> bool:
        """Tell whether it is made from a user's own file: those have their path for a name."""
        return self.model.name.endswith(FILE_SUFFIX)

    @property
    def chain(self) -> tuple[Choice, ...]:
        """Return the technique's links, without the conversions between them."""
        return tuple(hop.use for hop in self.way if hop.kind == "technique")

    @property
    def format(self) -> str:
        """Return the format at the end of the way."""
        return self.way[-1].gives

    @property
    def state(self) -> State:
        """Return the state at the end of the way."""
        return self.way[-1].state

    @property
    def calibration(self) -> DataSpec | None:
        """Return the calibration data of the last hop that has any."""
        return next((hop.calibration for hop in reversed(self.way) if hop.calibration), None)


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is scored once: an artifact on an engine on a device, with the engine's options."""

    artifact: ArtifactSpec
    backend: str
    device: str  # the engine's word: cpu, cuda
    threads: int
    environment: str  # digest of the interpreter's and the engine's versions
    streams: int = 1  # callers at once; the threads are shared out among them
    hardware: str = ""  # the hardware profile; "" in records older than these
    reached: Literal["native", "emulated"] = "native"
    isa: str = ""  # the widest vector instructions that the engine may use; "": all that there are
    # what the engine is told besides the file, (option, value); a backend names what it knows
    options: tuple[tuple[str, str], ...] = ()

    @property
    def computes(self) -> State:
        """Return what the engine computes in: the file's own numbers, unless an option says otherwise."""
        precision = dict(self.options).get("precision")
        state = self.artifact.state
        return Float(precision) if precision and isinstance(state, Float) else state  # type: ignore[arg-type]

    def same_but_for_technique(self, other: Deployment) -> bool:
        """Tell whether the two differ in what a technique sets alone: the file, the engine's options."""
        same = replace(self, artifact=other.artifact, options=other.options)
        return self.artifact.model == other.artifact.model and same == other


@dataclass(frozen=True, slots=True)
class Scenario:
    """How requests arrive, in batches of this size.

    `single`: one after the other, what a user waits for. `saturated`: from all streams of the deployment at
    once, without a pause, what a server can do. `scored`: not timed at all. `counted`: not timed, but its
    instructions are counted, on a device that is emulated.
    """

    name: Literal["single", "saturated", "scored", "counted"] = "single"
    batch: int = 1
    slowed: float = 0.0  # every call is made to take this share longer: how a detector of slow-downs is tried


@dataclass(frozen=True, slots=True)
class Case:
    """One cell of the matrix: what is timed, in rounds."""

    suite: str
    technique: str
    role: Literal["fp32", "float", "technique"]
    deployment: Deployment
    evaluation: DataSpec
    scenario: Scenario
    against: str = ""  # a technique of the same place that this one is held against, besides fp32
    after: tuple[str, ...] = ()  # measured only if none of these techniques holds its limit at the same place

    @property
    def depends_on_batch(self) -> bool:
        """Tell whether an answer changes with its neighbours in a call, so that it is scored as it is timed.

        Scales that are computed from every input as it comes are those of a whole batch.
        """
        scheme = getattr(self.deployment.artifact.state, "scheme", None)
        return scheme is not None and scheme.dynamic

    @property
    def scored(self) -> tuple[Deployment | DataSpec | int, ...]:
        """What one score is of: deployment and examples, and the batch where answers depend on it."""
        batch = (self.scenario.batch,) if self.depends_on_batch else ()
        return (self.deployment, self.evaluation, *batch)

    @property
    def variant_of(self) -> str | None:
        """Return the technique that this is another seed or build of, or None."""
        for mark in (BUILD, SEED):
            base, found, _ = self.technique.partition(mark)
            if found:
                return base
        return None


@dataclass(frozen=True, slots=True)
class Anchor:
    """The fixed kernel that no code under test can change; it tells a slow machine from a slow library."""

    device: str
    kernel: str = SGEMM


@dataclass(frozen=True, slots=True)
class Hardware:
    """A hardware profile as a whole: the subject of the line that says why it is not here."""

    name: str
    title: str


@dataclass(frozen=True, slots=True)
class Explained:
    """A quantized network whose loss is traced to its layers, on examples to choose by."""

    technique: str
    artifact: ArtifactSpec
    selection: DataSpec


Subject = DataSpec | ArtifactSpec | Case | Anchor | Hardware | Explained
StepKind = Literal[
    "plan", "data", "prepare", "score", "explain", "deploy", "time", "anchor", "count", "energy"
]


@dataclass(frozen=True, slots=True)
class Step:
    """A unit of work in a process of its own. Its result is one line."""

    kind: StepKind
    subject: Subject
    round: int = 0

    @property
    def key(self) -> str:
        """Name the work by content: `score` by what is scored, `deploy` by case, `time` by case and round."""
        subject: object = self.subject
        if isinstance(subject, Case) and self.kind == "score":
            subject = subject.scored
        return f"{self.kind}-{key(subject)}-{self.round}"


def key(value: object) -> str:
    """Return the content key (16 hex digits of SHA-256) of a frozen dataclass or a tuple of them."""
    return hashlib.sha256(json.dumps(_plain(value), sort_keys=True).encode()).hexdigest()[:16]


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        return [type(value).__name__, asdict(value)]  # type: ignore[call-overload]
    return value
