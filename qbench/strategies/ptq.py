"""Post-training quantization with every choice of the textbook: from round-to-nearest to AdaRound."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from qbench.cases import FakeQuant, Quantized, Scheme, State
from qbench.errors import BadParameter, DoesNotFit
from qbench.quant.affine import WeightGrid
from qbench.quant.between import told as told_between
from qbench.quant.compact import compact
from qbench.quant.coverage import Coverage, some_left_or_raise, uncovered
from qbench.quant.ends import kept, with_ends
from qbench.quant.explanation import explained
from qbench.quant.onnx_layers import quietly, read_network
from qbench.quant.ptq import Ptq
from qbench.quant.ranges import finite_or_raise, shaped_or_raise
from qbench.quant.recipe import IN_FLOAT, STORED, Product, Recipe
from qbench.quant.weights_alone import WeightsAlone, divided_or_raise
from qbench.strategies.base import STRATEGIES, Calibration, Route, Strategy, takes_fp32

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qbench.formats.artifact import Artifact, Note
    from qbench.quant.sensitivity import Losses

COVERS = ("Conv", "Gemm", "MatMul", "ConvTranspose")
BATCH = 32  # calibration examples at a time: bounds memory
SHARE = 99.99
CHOICES: dict[str, tuple[str | int, ...]] = {
    "weight_bits": (8, 6, 4, 3, 2),
    "activation_bits": (32, 16, 8, 6, 4),
    "weight_observer": ("mse", "minmax"),
    "observer": ("mse", "minmax", "percentile", "entropy"),
    "granularity": ("per_channel", "per_tensor", "per_group"),
    "rounding": ("nearest", "adaround"),
}


@STRATEGIES.register("ptq")
@dataclass(frozen=True, slots=True)
class PostTraining(Strategy):
    """Weights and activations in few bits, from calibration data.

    Deployed where a file and kernels exist: symmetric weights of 8 or 4 bits, per tensor or channel, beside
    activations of 8 or 16. Weights of 4 bits are stored as such and widened to 8 when the file is loaded, so
    they gain size and no speed over 8. Everything else is simulated in float and has an accuracy alone.

    activation_bits: 32 leaves activations in float, and looks at data for AdaRound and biases alone. Below 8
    the network's inputs and outputs stay at 8, and what shares a scale with them; a note has the count.
    keep_ends: the first and the last layer stay in 8 bits, as is usual below 8 (Esser et al. 2020,
    arXiv:1902.08153, section 4), and what these read; the state is then mixed. Of no effect at 8 and more.
    bias_correction: what rounding moves of a layer's mean output is added to its bias.
    lean: biases as floats, which engines round as they load the file, and short names: see compact.py. Of
    deployed files alone.
    group_size: weights that share a scale, of granularity per_group.
    operators: the only kinds of operator that are quantized, with commas between ("Conv,MatMul,Gemm"); a Relu
        or Clip behind one goes with it. Empty: layers, and what the engine has integer kernels for.
    keep_float: layers that stay in float, with commas between: names of nodes, of outputs or of weights.
    """

    about: ClassVar[str] = "weights of 8 to 2 bits: round to nearest, AdaRound, corrected biases"
    source: ClassVar[str] = (
        "Nagel et al. 2021, arXiv:2106.08295; AdaRound: arXiv:2004.10568; bias correction: arXiv:1906.04721"
    )
    routes: ClassVar[tuple[Route, ...]] = (
        Route("onnx", "onnx", "onnxruntime-gpu onnxruntime onnx numpy torch"),
    )
    needs_calibration: ClassVar[bool] = True
    explains: ClassVar[bool] = True

    weight_bits: Literal[8, 6, 4, 3, 2] = 8
    activation_bits: Literal[32, 16, 8, 6, 4] = 8
    weight_observer: Literal["mse", "minmax"] = "mse"
    observer: Literal["mse", "minmax", "percentile", "entropy"] = "mse"
    percentile: float = SHARE
    granularity: Literal["per_channel", "per_tensor", "per_group"] = "per_channel"
    group_size: int = 0
    symmetric: bool = True
    rounding: Literal["nearest", "adaround"] = "nearest"
    bias_correction: bool = False
    keep_ends: bool = False
    lean: bool = False
    operators: str = ""
    keep_float: str = ""

    def __post_init__(self) -> None:
        """Check the parameters."""
        self._coverage()
        for name, known in CHOICES.items():
            value = getattr(self, name)
            if value not in known:
                words = " or ".join(repr(word).replace("'", '"') for word in known)
                raise BadParameter(f"ptq has no {name} {value!r}", fix=f"write {name} = {words}")
        if not 50 < self.percentile < 100:
            raise BadParameter(
                f"ptq: percentile = {self.percentile:g} is not above 50 and below 100",
                fix='write percentile = 99.99, or observer = "minmax" to clip nothing',
            )
        if self.percentile != SHARE and self.observer != "percentile":
            raise BadParameter(
                f"ptq: percentile = {self.percentile:g} says nothing to observer {self.observer!r}",
                fix='write observer = "percentile" beside it, or leave percentile out',
            )
        if self.observer == "entropy" and self.activation_bits == 16:
            raise BadParameter(
                "ptq: entropy compares a histogram with the levels of the grid, and 16 bits have more levels "
                "than the histogram has bins",
                fix='write observer = "minmax" or "mse"',
            )
        if (self.granularity == "per_group") != (self.group_size > 0) or self.group_size < 0:
            raise BadParameter(
                f'ptq: granularity = "{self.granularity}" with group_size = {self.group_size}',
                fix='leave both out; or write granularity = "per_group" and group_size = 32 together, for a '
                "network whose rows it divides",
            )
        self._refuse_idle()

    def _refuse_idle(self) -> None:
        """Refuse what would change no byte of the file, and only make a row that looks like another."""
        if self.activation_bits == IN_FLOAT and self.observer != "mse":
            raise BadParameter(
                f'ptq: observer = "{self.observer}" says nothing to activation_bits = 32, which leaves '
                "activations in float",
                fix="write activation_bits = 8 beside it, or leave observer out",
            )
        if self.lean and not self.deployed:
            raise BadParameter(
                "ptq: lean = true says nothing to what is simulated in float: no file of integers is kept "
                f"(weight_bits = {self.weight_bits}, activation_bits = {self.activation_bits}, granularity = "
                f'"{self.granularity}", symmetric = {str(self.symmetric).lower()})',
                fix="write weight_bits = 8 or 4, activation_bits = 8 or 16, and no per_group and no "
                "symmetric = false beside it, or leave lean out",
            )

    @property
    def deployed(self) -> bool:
        """Tell whether a file's types and an engine's kernels can hold what is asked for."""
        plain = self.symmetric and self.granularity != "per_group"
        return plain and self.weight_bits in STORED and self.activation_bits in (8, 16)

    def wants_calibration(self) -> bool:
        """Tell whether activations matter to the file; see Strategy.wants_calibration."""
        rounds = self.activation_bits != IN_FLOAT
        return rounds or self.rounding == "adaround" or self.bias_correction

    def state(self, before: State) -> State:
        """Return the bits asked for, deployed or simulated; see Strategy.state."""
        takes_fp32("ptq", before)
        activations = None if self.activation_bits == IN_FLOAT else self.activation_bits
        scheme = Scheme(self.weight_bits, activations, self.granularity)
        scheme = with_ends(scheme) if self.keep_ends else scheme
        return Quantized(scheme) if self.deployed else FakeQuant(scheme)

    def apply(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Artifact:
        """Quantize on all of the calibration data; see Strategy.apply.

        Raises:
            DoesNotFit: also where calibration data is needed and missing, or not finite, or the group size
                does not divide the rows of a weight.
        """
        import onnx

        with quietly():
            covers = self._coverage().layers(COVERS)
            network = read_network(artifact.path, covers, "ptq")
            if self.group_size:
                divided_or_raise(network, self.group_size, "ptq", self._coverage())
            opened = self._opened(network, artifact, calibration)
            some_left_or_raise(network, covers, opened.kept, "ptq")
            product = opened.quantized(self._recipe())
        path = folder / "model.onnx"
        onnx.save(
            compact(product.model, lean=self.lean) if self.deployed else product.simulated(),
            path,
        )
        state = self.state(artifact.state)
        return replace(
            artifact, path=path, state=state, notes=(*artifact.notes, *self._notes(opened, product))
        )

    def _notes(self, opened: Ptq, product: Product) -> Iterator[Note]:
        """Yield how many layers took what was asked, and what kept 8 bits.

        Raises:
            DoesNotFit: none did: the file would be that of a plainer technique under another name.
        """
        from qbench.formats.artifact import Note

        in_float = opened.kept | uncovered(opened.network, self._coverage().layers(COVERS))
        between = told_between(opened.between(self._recipe()))
        yield from (
            Note(*told)
            for told in (
                *in_float.notes(),
                *between,
                *opened.masks.notes(),
                *kept(product, "ptq"),
            )
        )

        for asked, what, count, needs in (
            (self.bias_correction, "biases corrected", product.corrected, "Conv or Gemm"),
            (
                self.rounding == "adaround",
                "layers rounded by AdaRound",
                product.learned,
                "Conv, Gemm and MatMul",
            ),
        ):
            if asked and not count:
                raise DoesNotFit(
                    f"ptq: no layer of this network could have its {what.partition(' ')[0]} changed so: that "
                    f"takes {needs} with a stored weight and explicit padding",
                    fix='write rounding = "nearest" and bias_correction = false for this network',
                )
            if asked:
                yield Note(what, str(count))

    def explain(self, artifact: Artifact, calibration: Calibration) -> Losses:
        """Return what each layer costs, on the first selection examples; see Strategy.explain."""
        if calibration.selection and not self.wants_calibration():  # none is given: ranges decide nothing
            calibration = replace(calibration, inputs=calibration.selection.inputs)
        return explained(artifact.path, COVERS, "ptq", self._recipe(), calibration, self._coverage())

    def about_s(self, examples: int) -> float:  # noqa: ARG002
        """Return about how long it takes: AdaRound learns every layer; see Strategy.about_s."""
        return 60.0 if self.rounding == "adaround" else 15.0 if self.bias_correction else 3.0

    def _opened(self, network: Any, artifact: Artifact, calibration: Calibration) -> Ptq:
        if not self.wants_calibration():
            return WeightsAlone(network, "ptq", self._coverage())
        finite_or_raise(calibration.inputs, "ptq")
        shaped_or_raise(calibration.inputs, artifact.inputs, "ptq")
        return Ptq(network, lambda: calibration.in_batches(BATCH), "ptq", self._coverage())

    def _coverage(self) -> Coverage:
        return Coverage.read("ptq", COVERS, self.operators, self.keep_float)

    def _recipe(self) -> Recipe:
        grid = WeightGrid(
            self.weight_bits, self.granularity, self.group_size, self.symmetric, self.weight_observer
        )
        return Recipe(
            grid,
            self.activation_bits,
            self.observer,
            self.percentile,
            rounding=self.rounding,
            bias_correction=self.bias_correction,
            keep_ends=self.keep_ends,
        )
