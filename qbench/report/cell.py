"""What the report knows about one cell of the matrix. Built by `qbench.report.select`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from qbench.cases import ArtifactSpec, Case, Choice, DataSpec, Scenario
from qbench.records import Evidence, Verdict, Withheld
from qbench.report.compare import Judgement
from qbench.report.figures import Figure, Value

Status = Literal["measured", "skipped", "failed", "collapsed"]
WITHOUT_LABELS = {"accuracy": "agreement", "accuracy_difference": "kl_divergence", "flips": "sqnr"}


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
    latency: float  # s, median
    line: int
    ratio: float | None  # None: fp32 has no such round, or the cell is fp32
    witnesses: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Group:
    """What cells share if a reader would choose between them: all but technique and engine."""

    model: Choice
    device: str
    threads: int
    scenario: Scenario
    evaluation: DataSpec

    def __str__(self) -> str:
        """Write it as a heading: `resnet18 on cpu, 2 threads, batch 1`."""
        plural = "" if self.threads == 1 else "s"
        asked = f"batch {self.scenario.batch}" if self.scenario.name == "single" else "scored only"
        return f"{self.model} on {self.device}, {self.threads} thread{plural}, {asked}"


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

    @property
    def model(self) -> str:
        """The model with its parameters."""
        return str(self.artifact.model)

    @property
    def technique(self) -> str:
        """The technique's name in the suite; the chain where no case is known."""
        return self.case.technique if self.case else " + ".join(map(str, self.artifact.chain)) or "float"

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
    def unstable(self) -> str | None:
        """Why its timing must not win anything, or None."""
        return next((v.text for v in self.verdicts if v.kind == "unstable"), None)


def told_without_labels(name: str, cells: Sequence[Cell]) -> str:
    """Return which figure stands in the place of this one: where no cell has labels, agreement with float."""
    labelled = any(isinstance(cell.figures["accuracy"], Figure) for cell in cells)
    agreeing = any(isinstance(cell.figures["agreement"], Figure) for cell in cells)
    return WITHOUT_LABELS.get(name, name) if agreeing and not labelled else name
