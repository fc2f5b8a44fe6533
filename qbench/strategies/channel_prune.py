"""Channel pruning: whole channels leave the network, which becomes smaller and faster on any engine."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

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


@STRATEGIES.register("channel_prune")
@dataclass(frozen=True, slots=True)
class ChannelPrune(Strategy):
    """Take the weakest channels out of every group of layers that share them.

    Residual additions couple channels and depthwise convolutions pass them on; what an operator that cannot
    be followed touches stays whole, and so do a network's inputs and outputs. In a transformer the hidden
    channels between two matrix products go, and nothing else.

    share: of the channels of every group, rounded so that a multiple stays.
    multiple: engines take channels in blocks; groups of fewer are counted one by one.
    epochs: above 0, what is left is trained toward the answers of the network given.
    minutes: no further epoch is begun when it would end later; 0: no limit.
    batch, learning_rate, seed and minutes say how to train: refused where epochs is 0.
    """

    about: ClassVar[str] = "the weakest channels leave the network, which becomes smaller and faster"
    source: ClassVar[str] = "Li et al. 2017, arXiv:1608.08710, sections 3.1 and 3.3"
    routes: ClassVar[tuple[Route, ...]] = (Route("onnx", "onnx", "onnx numpy torch"),)
    needs_calibration: ClassVar[bool] = False
    needs_training: ClassVar[bool] = True

    share: float = 0.25
    norm: Literal["l1", "l2"] = "l1"
    multiple: int = 8
    epochs: int = 0
    batch: int = 64
    learning_rate: float = 5e-4
    seed: int = 0
    minutes: float = 0.0

    def __post_init__(self) -> None:
        """Check the parameters."""
        if not 0 < self.share < 1:
            raise BadParameter(
                f"channel_prune: share = {self.share:g} is not above 0 and below 1", fix="write share = 0.25"
            )
        if self.norm not in ("l1", "l2"):
            raise BadParameter(f"channel_prune has no norm {self.norm!r}", fix='write norm = "l1" or "l2"')
        if self.multiple < 1:
            raise BadParameter(
                f"channel_prune: multiple = {self.multiple} is below 1", fix="write multiple = 8, or 1"
            )
        check_schedule("channel_prune", self._schedule(None))

    def wants_training(self) -> bool:
        """Tell whether it trains; see Strategy.wants_training."""
        return self.epochs > 0

    def state(self, before: State) -> State:
        """Return 32-bit float, as before; see Strategy.state."""
        takes_fp32("channel_prune", before)
        return Float("fp32")

    def apply(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Artifact:
        """Cut, train if asked, write the file; see Strategy.apply.

        Raises:
            DoesNotFit: also where no channel may go, a weight is not finite, or there is nothing to
                learn from though epochs > 0.
            Diverged: training came to no good end.
        """
        from qbench.formats.artifact import Note

        network = read_network(artifact.path, COVERS, "channel_prune")
        fold_batch_norm(network)
        narrower = copied(network)
        found = narrow(
            narrower, self.share, norm=self.norm, multiple=self.multiple, technique="channel_prune"
        )
        schedule = self._schedule(calibration.fixed_batch)
        narrower, told = refined(
            "channel_prune", narrower, network, calibration.training, schedule, astuple(self)
        )
        notes = [Note("pruning", f"{found}; {work_in_words(network, narrower)}")]
        return in_float(artifact, narrower, folder, notes, told)

    def _schedule(self, fixed_batch: int | None) -> Schedule:
        return Schedule(self.epochs, self.learning_rate, fixed_batch or self.batch, self.seed, self.minutes)
