"""Static int8 by NNCF: scales from calibration data, and biases corrected for what rounding shifts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from qbench.cases import Quantized, Scheme, State
from qbench.errors import BadParameter, DoesNotFit
from qbench.quant.ir_graph import save_ir
from qbench.quant.nncf_network import asked, read_ir, read_onnx
from qbench.quant.ranges import finite_or_raise, shaped_or_raise
from qbench.quant.silent_nncf import silent_nncf
from qbench.strategies.base import STRATEGIES, Calibration, Route, Strategy, takes_fp32

if TYPE_CHECKING:
    from qbench.formats.artifact import Artifact


@STRATEGIES.register("nncf_int8")
@dataclass(frozen=True, slots=True)
class NncfInt8(Strategy):
    """NNCF's post-training quantization, its result in the form that the engine reads.

    preset: performance has symmetric activations; mixed has asymmetric ones, where values have both signs.
    fast_bias_correction: correct biases from the statistics of the float network; False corrects them layer
    by layer on the quantized one, which takes many times as long.

    A network with attention is told to NNCF as a transformer: it then leaves in float what is known to need
    it and, in ONNX files, moves outliers of activations into weights (SmoothQuant, Xiao et al. 2022,
    arXiv:2211.10438).
    """

    about: ClassVar[str] = "int8 weights and activations by NNCF, with corrected biases"
    source: ClassVar[str] = "Neural Network Compression Framework (nncf.quantize); arXiv:2002.08679"
    routes: ClassVar[tuple[Route, ...]] = (
        Route("openvino", "openvino", "nncf openvino", ("openvino",)),
        Route("onnx", "onnx", "nncf openvino onnx onnxruntime-gpu onnxruntime", ("onnxruntime",)),
    )
    needs_calibration: ClassVar[bool] = True

    preset: Literal["performance", "mixed"] = "performance"
    fast_bias_correction: bool = True

    def __post_init__(self) -> None:
        """Check the parameters."""
        if self.preset not in ("performance", "mixed"):
            raise BadParameter(
                f"nncf_int8 has no preset {self.preset!r}", fix='write preset = "performance" or "mixed"'
            )

    def state(self, before: State) -> State:
        """Return eight bits both ways, one scale a channel of a weight; see Strategy.state."""
        takes_fp32("nncf_int8", before)
        return Quantized(Scheme(8, 8, "per_channel"))

    def apply(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Artifact:
        """Quantize the file on all of the calibration data, one example at a time; see Strategy.apply.

        Raises:
            DoesNotFit: also where calibration data is missing, not finite, or not what the network takes.
        """
        finite_or_raise(calibration.inputs, "nncf_int8")
        shaped_or_raise(calibration.inputs, artifact.inputs, "nncf_int8")
        on = self._on_openvino if artifact.format == "openvino" else self._on_onnx
        return replace(artifact, path=on(artifact, calibration, folder), state=self.state(artifact.state))

    def _on_openvino(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Path:
        model = read_ir(artifact.path, "nncf_int8")
        # Not smoothed: openvino 2026.4.1 then multiplies wrongly, the more so the larger the batch (a
        # transformer fell from 94 to 29 per cent; the same file with its integers simulated stayed at 94).
        return save_ir(self._quantized(model, calibration, smooth=False), folder)

    def _on_onnx(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Path:
        import onnx

        network = read_onnx(artifact.path, "nncf_int8")
        path = folder / "model.onnx"
        smooth = self.fast_bias_correction  # together with the other correction nncf writes a value twice
        try:
            quantized = self._quantized(network, calibration, smooth=smooth)
        except RuntimeError as error:
            if self.fast_bias_correction:
                raise
            raise DoesNotFit(  # nncf 3.4.0, where a layer's input is used further on: a residual network
                f"nncf's correction of biases layer by layer cannot take this network apart: {error}",
                fix="write fast_bias_correction = true, or take the openvino engine",
            ) from error
        onnx.save(quantized, path)
        return path

    def _quantized(self, model: Any, calibration: Calibration, *, smooth: bool) -> Any:
        batches = list(calibration.in_batches(1))
        with silent_nncf() as nncf:
            return nncf.quantize(
                model,
                nncf.Dataset(batches),
                preset=nncf.QuantizationPreset(self.preset),
                fast_bias_correction=self.fast_bias_correction,
                **asked(nncf, model, batches, smooth=smooth),
            )
