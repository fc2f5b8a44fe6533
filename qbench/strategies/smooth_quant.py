"""SmoothQuant: the same network, outliers of activations moved into weights; a quantizer follows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from qbench.cases import Float, State
from qbench.errors import BadParameter, DoesNotFit
from qbench.quant.onnx_layers import quietly, read_network
from qbench.quant.ranges import finite_or_raise, shaped_or_raise
from qbench.quant.smoothing import PRODUCTS, ratio_of, smooth, taken_by_products, widths
from qbench.strategies.base import STRATEGIES, Calibration, Route, Strategy, in_float, takes_fp32

if TYPE_CHECKING:
    from qbench.formats.artifact import Artifact

BATCH = 8  # calibration examples at a time: bounds the memory of the recorded activations


@STRATEGIES.register("smooth_quant")
@dataclass(frozen=True, slots=True)
class SmoothQuant(Strategy):
    """Divide the input channels of matrix products and multiply their weights' rows; stays in 32-bit float.

    Exact but for rounding in float. Where a LayerNormalization makes the input for products alone, it takes
    the division over; elsewhere a multiplication a channel is added.

    alpha: how much of the outliers moves, from 0 to 1: 0.5 halves the difficulty between both sides. A
        sentence encoder in static int8 had a cosine of 0.988, 0.997 and 0.997 with 0.5, 0.7 and 0.95.
    outliers: inputs are smoothed whose widest channel is at least so many times as wide as the median one.
    """

    about: ClassVar[str] = "moves outliers of activations into weights before a quantizer; exact in float"
    source: ClassVar[str] = "SmoothQuant, Xiao et al. 2022, arXiv:2211.10438"
    routes: ClassVar[tuple[Route, ...]] = (Route("onnx", "onnx", "onnxruntime-gpu onnxruntime onnx numpy"),)
    needs_calibration: ClassVar[bool] = True

    alpha: float = 0.7
    outliers: float = 1.5

    def __post_init__(self) -> None:
        """Check the parameters."""
        if not 0 <= self.alpha <= 1:
            raise BadParameter(
                f"smooth_quant: alpha = {self.alpha:g} is no share of outliers that may move",
                fix="write alpha = 0.5, or another number from 0 to 1",
            )
        if self.outliers < 1:
            raise BadParameter(
                f"smooth_quant: outliers = {self.outliers:g}, and no channel is wider than the widest",
                fix="write outliers = 1 to smooth all inputs of products, or a larger number",
            )

    def state(self, before: State) -> State:
        """Return 32-bit float, as before; see Strategy.state."""
        takes_fp32("smooth_quant", before)
        return Float("fp32")

    def apply(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Artifact:
        """Look at all of the calibration data, scale, write the file; see Strategy.apply.

        Raises:
            DoesNotFit: also where calibration data is missing or not finite, or no input has such outliers.
        """
        from qbench.formats.artifact import Note

        with quietly():
            network = read_network(artifact.path, PRODUCTS, "smooth_quant")
            finite_or_raise(calibration.inputs, "smooth_quant")
            shaped_or_raise(calibration.inputs, artifact.inputs, "smooth_quant")
            taken = taken_by_products(network)
            wide = widths(network, taken, calibration.in_batches(BATCH))
            some = [one for one in taken if ratio_of(wide[one.tensor]) >= self.outliers]
            if not some:
                worst = max((ratio_of(wide[one.tensor]) for one in taken), default=1.0)
                raise DoesNotFit(
                    f"smooth_quant: no input of a product has outliers: the widest channel is at most "
                    f"{worst:.2g} times as wide as the median one, and outliers = {self.outliers:g}",
                    fix="leave smooth_quant out for this network, or write a smaller number, 1 at least",
                )
            done = smooth(network, some, wide, self.alpha)
        text = (
            f"{done.tensors} of {len(taken)} inputs of products; the widest channel was {done.ratio[0]:.3g} "
            f"times as wide as the median one, now {done.ratio[1]:.3g} times; {done.folded} factors are in "
            f"a LayerNormalization, {done.tensors - done.folded} are multiplications of their own"
        )
        return in_float(artifact, network, folder, [Note("smoothed", text)], None)
