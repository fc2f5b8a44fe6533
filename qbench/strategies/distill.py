"""Distillation: a narrower student that learns to answer as the network given."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from qbench.cases import Float, State
from qbench.errors import BadParameter
from qbench.quant.channels import narrow, work_in_words
from qbench.quant.fold import fold_batch_norm
from qbench.quant.learning import Schedule
from qbench.quant.onnx_layers import read_network
from qbench.quant.qdq_graph import copied
from qbench.quant.refine import check_schedule, refined
from qbench.strategies.base import STRATEGIES, Calibration, Route, Strategy, in_float, takes_fp32

if TYPE_CHECKING:
    from qbench.formats.artifact import Artifact

COVERS = ("Conv", "Gemm", "MatMul", "ConvTranspose")
MULTIPLE = 8  # channels: engines take them in blocks


@STRATEGIES.register("distill")
@dataclass(frozen=True, slots=True)
class Distill(Strategy):
    """Train a student of a share of the channels to answer as the network given; no labels are asked for.

    The student begins with the strongest channels of its teacher, as channel_prune would leave it.

    width: the share of the channels that the student has, in multiples of 8.
    minutes: no further epoch is begun when it would end later; 0: no limit.
    """

    about: ClassVar[str] = "a narrower student learns to answer as the network given"
    source: ClassVar[str] = "Hinton et al. 2015, arXiv:1503.02531; the student: arXiv:1608.08710"
    routes: ClassVar[tuple[Route, ...]] = (Route("onnx", "onnx", "onnx numpy torch"),)
    needs_calibration: ClassVar[bool] = False
    needs_training: ClassVar[bool] = True

    width: float = 0.5
    epochs: int = 4
    batch: int = 64
    learning_rate: float = 1e-3
    seed: int = 0
    minutes: float = 0.0

    def __post_init__(self) -> None:
        """Check the parameters."""
        if not 0 < self.width < 1:
            raise BadParameter(
                f"distill: width = {self.width:g} is not above 0 and below 1", fix="write width = 0.5"
            )
        check_schedule("distill", self._schedule(None), least=1)

    def state(self, before: State) -> State:
        """Return 32-bit float, as before; see Strategy.state."""
        takes_fp32("distill", before)
        return Float("fp32")

    def apply(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Artifact:
        """Make the student, train it, write the file; see Strategy.apply.

        Raises:
            DoesNotFit: also where no channel may go, a weight is not finite, or nothing to learn from.
            Diverged: training came to no good end.
        """
        from qbench.formats.artifact import Note

        teacher = read_network(artifact.path, COVERS, "distill")
        fold_batch_norm(teacher)
        student = copied(teacher)
        wish = f"width = {self.width:g}"
        found = narrow(student, 1 - self.width, norm="l1", multiple=MULTIPLE, technique="distill", wish=wish)
        schedule = self._schedule(calibration.fixed_batch)
        student, told = refined("distill", student, teacher, calibration.training, schedule, astuple(self))
        notes = [Note("student", f"{found}; {work_in_words(teacher, student)}")]
        return in_float(artifact, student, folder, notes, told)

    def _schedule(self, fixed_batch: int | None) -> Schedule:
        return Schedule(self.epochs, self.learning_rate, fixed_batch or self.batch, self.seed, self.minutes)
