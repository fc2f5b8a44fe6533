"""Quantization-aware training: the weights learn to live with their rounding, and end in a deployed file."""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from qbench.cases import FakeQuant, Quantized, Scheme, State
from qbench.errors import BadParameter, DoesNotFit
from qbench.quant.affine import WeightGrid
from qbench.quant.compact import compact
from qbench.quant.ends import kept, with_ends
from qbench.quant.learning import Schedule, checkpoint_key
from qbench.quant.onnx_layers import quietly, read_network
from qbench.quant.ptq import Ptq
from qbench.quant.qat import trained
from qbench.quant.ranges import finite_or_raise, shaped_or_raise
from qbench.quant.recipe import STORED, Recipe
from qbench.quant.refine import check_schedule
from qbench.strategies.base import STRATEGIES, Calibration, Route, Strategy, takes_fp32

if TYPE_CHECKING:
    from qbench.formats.artifact import Artifact

COVERS = ("Conv", "Gemm", "MatMul", "ConvTranspose")
BATCH = 32  # calibration examples at a time: bounds memory
CHOICES: dict[str, tuple[str | int, ...]] = {
    "weight_bits": (8, 4, 3, 2),
    "activation_bits": (8, 4),
    "gradients": ("float", "int8"),
}


@STRATEGIES.register("qat")
@dataclass(frozen=True, slots=True)
class QuantizationAwareTraining(Strategy):
    """Train with every weight and activation rounded where the file rounds it.

    It begins at the post-training result, learns from the answers of the float network on training examples
    (no labels are asked for), and ends in the same file with better integers: deployed for weights of 8 or 4
    bits beside activations of 8, simulated otherwise. A run that was killed goes on after its last epoch.

    learned_steps: scales are learned with the weights (LSQ).
    gradients: int8 rounds them stochastically on their way back, as low-precision training would; in float
    arithmetic, so it costs time here and shows what such training is worth.
    minutes: no further epoch is begun when it would end later; 0: no limit. A faster machine gets further.
    activation_bits: below 8 the network's inputs and outputs stay at 8, and what shares a scale with them; a
    note has the count.
    keep_ends: the first and the last layer stay in 8 bits, and what these read; the state is then mixed.
    """

    about: ClassVar[str] = "quantization-aware training that ends in a deployed file"
    source: ClassVar[str] = (
        "Jacob et al. 2018, arXiv:1712.05877; LSQ: arXiv:1902.08153; int8 gradients: arXiv:1805.11046"
    )
    routes: ClassVar[tuple[Route, ...]] = (
        Route("onnx", "onnx", "torch onnxruntime-gpu onnxruntime onnx numpy"),
    )
    needs_calibration: ClassVar[bool] = True
    needs_training: ClassVar[bool] = True

    weight_bits: Literal[8, 4, 3, 2] = 8
    activation_bits: Literal[8, 4] = 8
    learned_steps: bool = False
    gradients: Literal["float", "int8"] = "float"
    epochs: int = 2
    batch: int = 64
    learning_rate: float = 5e-4
    seed: int = 0
    minutes: float = 0.0
    keep_ends: bool = False

    def __post_init__(self) -> None:
        """Check the parameters."""
        for name, known in CHOICES.items():
            value = getattr(self, name)
            if value not in known:
                words = " or ".join(repr(word).replace("'", '"') for word in known)
                raise BadParameter(f"qat has no {name} {value!r}", fix=f"write {name} = {words}")
        check_schedule("qat", self._schedule(None), least=1)

    @property
    def deployed(self) -> bool:
        """Tell whether a file's types and an engine's kernels can hold what is asked for."""
        return self.weight_bits in STORED and self.activation_bits == 8

    def state(self, before: State) -> State:
        """Return the bits asked for, deployed or simulated; see Strategy.state."""
        takes_fp32("qat", before)
        scheme = Scheme(self.weight_bits, self.activation_bits, "per_channel")
        scheme = with_ends(scheme) if self.keep_ends else scheme
        return Quantized(scheme) if self.deployed else FakeQuant(scheme)

    def apply(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Artifact:
        """Train and write the file; see Strategy.apply.

        Raises:
            DoesNotFit: also where there is nothing to learn from, an operator that training does not know, or
                no layer that keep_ends leaves to the bits asked for.
            Diverged: the loss left the numbers, or came to many times what it was.
        """
        import onnx

        from qbench.formats.artifact import Note

        training = calibration.training
        if training is None or not training.count:
            raise DoesNotFit(
                "qat learns from training examples, and there are none", fix="take ptq, which needs none"
            )
        with quietly():
            network = read_network(artifact.path, COVERS, "qat")
            finite_or_raise(calibration.inputs, "qat")
            shaped_or_raise(calibration.inputs, artifact.inputs, "qat")
            ptq = Ptq(network, lambda: calibration.in_batches(BATCH), "qat")
            grid = WeightGrid(self.weight_bits, observer="mse")
            recipe = Recipe(grid, self.activation_bits, keep_ends=self.keep_ends)
            source = sha256(ptq.network.SerializeToString(deterministic=True))
            source.update(Path(__file__).read_bytes())  # what is trained for is decided here
            product, told = trained(
                ptq,
                recipe,
                training.take,
                training.count,
                self._schedule(calibration.fixed_batch),
                key=checkpoint_key(astuple(self), source.hexdigest(), training.data_id, calibration.data_id),
                learned_steps=self.learned_steps,
                coarse=self.gradients == "int8",
            )
        path = folder / "model.onnx"
        onnx.save(compact(product.model) if self.deployed else product.simulated(), path)
        told_of = Note("training", str(told), warns=False)
        notes = (*artifact.notes, told_of, *(Note(what, found) for what, found in kept(product, "qat")))
        state = self.state(artifact.state)
        return replace(artifact, path=path, state=state, notes=notes, earlier_s=told.earlier_s)

    def about_s(self, examples: int) -> float:
        """Return about how long it takes: some 250 examples a second; see Strategy.about_s."""
        return 10.0 + self.epochs * examples / 250

    def _schedule(self, fixed_batch: int | None) -> Schedule:
        return Schedule(self.epochs, self.learning_rate, fixed_batch or self.batch, self.seed, self.minutes)
