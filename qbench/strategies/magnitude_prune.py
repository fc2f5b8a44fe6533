"""Magnitude pruning: the smallest weights become 0; a quantizer may follow, and keeps them 0."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from qbench.cases import Float, State
from qbench.errors import BadParameter
from qbench.quant.fold import fold_batch_norm
from qbench.quant.learning import Schedule
from qbench.quant.onnx_layers import read_network
from qbench.quant.pruning import masked, prunable, smallest_go, zero_share
from qbench.quant.qdq_graph import copied
from qbench.quant.refine import check_schedule, refined
from qbench.strategies.base import STRATEGIES, Calibration, Route, Strategy, in_float, takes_fp32

if TYPE_CHECKING:
    from qbench.formats.artifact import Artifact

COVERS = ("Conv", "Gemm", "MatMul")


@STRATEGIES.register("magnitude_prune")
@dataclass(frozen=True, slots=True)
class MagnitudePrune(Strategy):
    """Set the smallest weights to 0; biases and depthwise convolutions are left alone.

    scope: the share is taken of every layer, or of the network, where a layer of small weights loses more.
    epochs: above 0, what is left is trained toward the answers of the network given; zeros stay.
    minutes: no further epoch is begun when it would end later; 0: no limit.
    batch, learning_rate, seed and minutes say how to train: refused where epochs is 0.
    """

    about: ClassVar[str] = "the smallest weights become 0, wherever they are; trained afterwards if asked"
    source: ClassVar[str] = "Han et al. 2015, arXiv:1506.02626; depthwise left out: arXiv:1710.01878"
    routes: ClassVar[tuple[Route, ...]] = (Route("onnx", "onnx", "onnx numpy torch"),)
    needs_calibration: ClassVar[bool] = False
    needs_training: ClassVar[bool] = True

    sparsity: float = 0.5
    scope: Literal["layer", "network"] = "layer"
    epochs: int = 0
    batch: int = 64
    learning_rate: float = 5e-4
    seed: int = 0
    minutes: float = 0.0

    def __post_init__(self) -> None:
        """Check the parameters."""
        if not 0 < self.sparsity < 1:
            raise BadParameter(
                f"magnitude_prune: sparsity = {self.sparsity:g} is not above 0 and below 1",
                fix="write sparsity = 0.5",
            )
        if self.scope not in ("layer", "network"):
            raise BadParameter(
                f"magnitude_prune has no scope {self.scope!r}", fix='write scope = "layer" or "network"'
            )
        check_schedule("magnitude_prune", self._schedule(None))

    def wants_training(self) -> bool:
        """Tell whether it trains; see Strategy.wants_training."""
        return self.epochs > 0

    def state(self, before: State) -> State:
        """Return 32-bit float, as before; see Strategy.state."""
        takes_fp32("magnitude_prune", before)
        return Float("fp32")

    def apply(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Artifact:
        """Prune, train if asked, write the file; see Strategy.apply.

        Raises:
            DoesNotFit: also where a weight is not finite, or nothing to learn from though epochs > 0.
            Diverged: training came to no good end.
        """
        from qbench.formats.artifact import Note

        network = read_network(artifact.path, COVERS, "magnitude_prune")
        fold_batch_norm(network)
        layers = prunable(network, COVERS, "magnitude_prune")
        pruned = copied(network)
        masked(pruned, smallest_go(layers.weights, self.sparsity, together=self.scope == "network"))
        schedule = self._schedule(calibration.fixed_batch)
        pruned, told = refined(
            "magnitude_prune", pruned, network, calibration.training, schedule, astuple(self)
        )
        zeros, count, share = zero_share(pruned, set(layers.weights))
        text = f"{zeros:,} of {count:,} weights in {len(layers.found)} layers are 0 ({zeros / count:.1%}; "
        text += f"{share:.1%} of all that is stored); {layers.depthwise} depthwise layers left alone; "
        text += f"{network.ByteSize():,} bytes before, {pruned.ByteSize():,} after, as zeros are stored too"
        notes = [Note("pruning", text)]
        return in_float(artifact, pruned, folder, notes, told)

    def _schedule(self, fixed_batch: int | None) -> Schedule:
        return Schedule(self.epochs, self.learning_rate, fixed_batch or self.batch, self.seed, self.minutes)
