"""N:M pruning: of every m neighbouring weights n stay, the pattern that sparse matrix units take."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from qbench.cases import Float, State
from qbench.errors import BadParameter
from qbench.quant.fold import fold_batch_norm
from qbench.quant.learning import Schedule
from qbench.quant.onnx_layers import read_network
from qbench.quant.pruning import divided, masked, n_of_m, prunable, row_length, zero_share
from qbench.quant.qdq_graph import copied
from qbench.quant.refine import check_schedule, refined
from qbench.strategies.base import STRATEGIES, Calibration, Route, Strategy, in_float, takes_fp32

if TYPE_CHECKING:
    from qbench.formats.artifact import Artifact

COVERS = ("Conv", "Gemm", "MatMul")


@STRATEGIES.register("n_m_prune")
@dataclass(frozen=True, slots=True)
class NMPrune(Strategy):
    """Keep the n largest of every m neighbours along the axis that is summed over.

    Neighbours are input channels at one kernel position of a convolution, a row of a matrix product. A layer
    whose rows m does not divide is left alone and named: usually the first one, and depthwise ones always.

    epochs: above 0, what is left is trained toward the answers of the network given; zeros stay.
    minutes: no further epoch is begun when it would end later; 0: no limit.
    batch, learning_rate, seed and minutes say how to train: refused where epochs is 0.
    """

    about: ClassVar[str] = "of every m neighbouring weights n stay, for sparse kernels; trained if asked"
    source: ClassVar[str] = "Mishra et al. 2021, arXiv:2104.08378"
    routes: ClassVar[tuple[Route, ...]] = (Route("onnx", "onnx", "onnx numpy torch"),)
    needs_calibration: ClassVar[bool] = False
    needs_training: ClassVar[bool] = True

    n: int = 2
    m: int = 4
    epochs: int = 0
    batch: int = 64
    learning_rate: float = 5e-4
    seed: int = 0
    minutes: float = 0.0

    def __post_init__(self) -> None:
        """Check the parameters."""
        if not 1 <= self.n < self.m:
            raise BadParameter(
                f"n_m_prune: n = {self.n} of m = {self.m} is not at least 1 and below m",
                fix="write n = 2 and m = 4, or n = 1 and m = 4",
            )
        check_schedule("n_m_prune", self._schedule(None))

    def wants_training(self) -> bool:
        """Tell whether it trains; see Strategy.wants_training."""
        return self.epochs > 0

    def state(self, before: State) -> State:
        """Return 32-bit float, as before; see Strategy.state."""
        takes_fp32("n_m_prune", before)
        return Float("fp32")

    def apply(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Artifact:
        """Prune, train if asked, write the file; see Strategy.apply.

        Raises:
            DoesNotFit: also where m divides no layer's rows, a weight is not finite, or there is nothing to
                learn from though epochs > 0.
            Diverged: training came to no good end.
        """
        from qbench.formats.artifact import Note

        network = read_network(artifact.path, COVERS, "n_m_prune")
        fold_batch_norm(network)
        layers = prunable(network, COVERS, "n_m_prune")
        fits, others = divided(layers, self.n, self.m, "n_m_prune")
        pruned = copied(network)
        masked(pruned, {layer.name: n_of_m(layer, self.n, self.m) for layer in fits})
        schedule = self._schedule(calibration.fixed_batch)
        pruned, told = refined("n_m_prune", pruned, network, calibration.training, schedule, astuple(self))
        zeros, count, share = zero_share(pruned, {layer.name for layer in fits})
        text = f"{self.n} of every {self.m} neighbours stay in {len(fits)} layers: {zeros:,} of {count:,} "
        text += f"weights are 0 ({share:.1%} of all that is stored); "
        text += f"{network.ByteSize():,} bytes before, {pruned.ByteSize():,} after, as zeros are stored too"
        alone = ", ".join(f"{layer.name} ({row_length(layer)})" for layer in others) or "none"
        left = f"{layers.depthwise} depthwise layers; not divided by {self.m}: {alone}"
        notes = [Note("pruning", text), Note("left alone", left)]
        return in_float(artifact, pruned, folder, notes, told)

    def _schedule(self, fixed_batch: int | None) -> Schedule:
        return Schedule(self.epochs, self.learning_rate, fixed_batch or self.batch, self.seed, self.minutes)
