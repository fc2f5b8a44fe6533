"""What the report knows about one cell of the matrix. Built by `qbench.report.select`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from qbench.cases import SEED, ArtifactSpec, Case, Choice, DataSpec, Scenario
from qbench.quality.judge import Judgement, worst
from qbench.records import Evidence, OutputQuality, Verdict, Withheld
from qbench.report.figures import Figure, Value, typical_latency
from qbench.report.outputs import FIGURE_OF, WORST
from qbench.units import Unit

Status = Literal["measured", "skipped", "failed", "collapsed"]
# which figure stands in the place of another, because here that one is never measured
WITHOUT_LABELS = {"accuracy": "agreement", "accuracy_difference": "kl_divergence", "flips": "sqnr"}
# the same by the figure that the verdict rests on; what is not named here is accompanied by the noise
BESIDE = {"agreement": ("kl_divergence", "sqnr"), "sqnr": ("sqnr_worst_channel", "cosine")}
SATURATED = {"latency": "throughput"}
EMULATED = {
    "latency": "instructions",
    "speedup": "instructions_ratio",
    "speedup_over_float": "native_agreement",
    "peak_memory": "native_difference",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a cell is not simply measured: the words, the step's stage, the line, and the traceback if any."""

    text: str
    stage: str
    line: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Round:
    """One round of a cell beside its baseline, with the witnesses of a noisy minute."""

    number: int
    middle: float  # the median (of mixed calls the mean) of its latencies in s, or throughputs in 1/s
    unit: Unit
    line: int
    ratio: float | None  # None: fp32 has no such round, or the cell is fp32
    witnesses: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Group:
    """What cells share if a reader would choose between them: all but technique and engine."""

    model: Choice
    hardware: str  # the profile's name; "" in records older than these
    reached: Literal["native", "emulated"]
    device: str
    threads: int
    streams: int
    scenario: Scenario
    evaluation: DataSpec
    isa: str = ""  # what the engine's vector instructions are capped at

    @property
    def emulated(self) -> bool:
        """Tell whether the device is emulated: its answers and instructions count, its times do not."""
        return self.reached == "emulated"

    @property
    def site(self) -> str:
        """Write where: `cpu (x86-avx512-vnni), 2 threads`, `neoverse-n1, emulated`."""
        if self.emulated:
            return f"{(self.hardware or self.device).removeprefix('emulated-')}, emulated"
        profile = f" ({self.hardware})" if self.hardware not in ("", self.device) else ""
        capped = f", capped at {self.isa}" if self.isa else ""
        return f"{self.device}{profile}{capped}, {counted(self.threads, 'thread')}"

    @property
    def asked(self) -> str:
        """Write how requests arrive: `batch 8`, `2 streams saturated, batch 8`."""
        if self.emulated:
            return f"{counted(self.evaluation.count, 'example')}, instructions instead of latency"
        if self.scenario.name == "saturated":
            return f"{counted(self.streams, 'stream')} saturated, batch {self.scenario.batch}"
        return f"batch {self.scenario.batch}" if self.scenario.name == "single" else "scored only"

    def __str__(self) -> str:
        """Write it as a heading: `resnet-glyphs on cpu (x86-avx512-vnni), 2 threads, batch 8`."""
        return f"{self.model} on {self.site}{':' if self.emulated else ','} {self.asked}"


def counted(n: int, what: str) -> str:
    """Return `1 thread`, `2 threads`."""
    return f"{n:,} {what}" + "s" * (n != 1)


@dataclass(frozen=True, slots=True)
class Cell:
    """One case of the matrix with everything that the report says about it."""

    number: int  # from 1, in the order of the run: its place on the page
    artifact: ArtifactSpec
    case: Case | None  # None: the file was never made, and no step behind it left a line
    profile: str
    status: Status
    reasons: tuple[Reason, ...]
    figures: Mapping[str, Value]  # by every name in figures.FIGURES, none left out
    judgement: Judgement
    rounds: tuple[Round, ...]
    verdicts: tuple[Verdict, ...]
    withheld: tuple[tuple[Withheld, int], ...]  # with its line
    evidence: tuple[tuple[Evidence, int], ...]
    group: Group | None  # None: no case is known
    baseline: Cell | None  # fp32: same model, engine, device, threads, scenario, examples
    best_float: str | None  # name of the fastest float cell of any engine; None: there is none
    outputs: tuple[OutputQuality, ...] = ()  # every output beside fp32's, and every part of unlike range

    @property
    def model(self) -> str:
        """The model with its parameters."""
        return str(self.artifact.model)

    @property
    def technique(self) -> str:
        """The technique's name in the suite; the chain where no case is known."""
        return self.case.technique if self.case else " + ".join(map(str, self.artifact.chain)) or "float"

    @property
    def variant_of(self) -> str | None:
        """Return the technique that this is a further seed or a further build of, or None."""
        return self.case.variant_of if self.case else None

    @property
    def seed_of(self) -> str | None:
        """The technique that this is a further calibration seed of, or None where it is no such cell."""
        base, found, _ = self.technique.partition(SEED)
        return base if found else None

    @property
    def name(self) -> str:
        """Technique and engine: enough to tell it from the others of its group."""
        return f"{self.technique} on {self.engine}"

    @property
    def role(self) -> str:
        """`fp32`, `float` or `technique`."""
        if self.case:
            return self.case.role
        return "technique" if self.artifact.chain else "float"

    @property
    def engine(self) -> str:
        """The backend; `any engine` where the file was never made."""
        return self.case.deployment.backend if self.case else "any engine"

    @property
    def device(self) -> str:
        """The device; `any device` where the file was never made."""
        return self.case.deployment.device if self.case else "any device"

    @property
    def place(self) -> str:
        """The words for `group`; the model alone where no case is known."""
        return str(self.group) if self.group else self.model

    @property
    def filled(self) -> str | None:
        """How a call is made larger than was asked, because the network takes no other size, or None."""
        return next((fact.found for fact, _ in self.evidence if fact.what == "batch"), None)

    @property
    def rests_on(self) -> str | None:
        """The figure by which the output that decides is judged; None where labels judge, or nothing does."""
        if isinstance(self.figures["accuracy"], Figure):
            return None
        least = worst(self.outputs)
        return FIGURE_OF[least.decides] if least else None

    @property
    def unstable(self) -> str | None:
        """Why its timing must not win anything, or None."""
        return next((v.text for v in self.verdicts if v.kind == "unstable"), None)


def pace_of(cell: Cell) -> float | None:
    """Return what ranks cells of one place by speed, the least first; None where it was not timed."""
    for value, sign in ((typical_latency(cell.figures), 1.0), (cell.figures["throughput"], -1.0)):
        if isinstance(value, Figure):
            return sign * value.value
    return None


def told_here(name: str, cells: Sequence[Cell]) -> str:
    """Return which figure stands in the place of this one among the cells of one place.

    Agreement with float where no cell has labels, throughput where the streams are saturated, instructions
    where the device is emulated.
    """
    places = {cell.group for cell in cells if cell.group}
    if places and all(place.emulated for place in places):
        name = EMULATED.get(name, name)
    elif places and all(place.scenario.name == "saturated" for place in places):
        name = SATURATED.get(name, name)
    if name not in WITHOUT_LABELS or any(isinstance(cell.figures["accuracy"], Figure) for cell in cells):
        return name
    if rests := _rests_on(cells):
        beside = BESIDE.get(rests, ("sqnr", "sqnr_worst_channel"))
        known = [one for one in beside if any(isinstance(cell.figures[one], Figure) for cell in cells)]
        beside = known[0] if known else beside[0], beside[1]
        return {"accuracy": rests, "accuracy_difference": beside[0], "flips": beside[1]}[name]
    agreeing = any(isinstance(cell.figures["agreement"], Figure) for cell in cells)
    return WITHOUT_LABELS[name] if agreeing else name


def _rests_on(cells: Sequence[Cell]) -> str | None:
    """Return the figure that all verdicts rest on: `worst_output` where on several, None where on none."""
    deciding = {cell.rests_on for cell in cells} - {None}
    return WORST if len(deciding) > 1 else next(iter(deciding), None)
