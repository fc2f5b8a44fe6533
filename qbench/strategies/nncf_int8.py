"""Static int8 by NNCF: scales from calibration data, and biases corrected for what rounding shifts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from qbench.cases import Quantized, Scheme, State
from qbench.errors import BadParameter, DoesNotFit
from qbench.quant.fold import fold_batch_norm
from qbench.quant.ir_graph import ir_weights, runtime, save_ir
from qbench.quant.onnx_layers import read_network
from qbench.quant.silent_nncf import kinds_of, silent_nncf
from qbench.strategies.base import STRATEGIES, Calibration, Route, Strategy, takes_fp32

if TYPE_CHECKING:
    from qbench.formats.artifact import Artifact

COVERS = ("Conv", "Gemm", "MatMul", "ConvTranspose")
ATTENTION = ("ScaledDotProductAttention", "Attention", "MultiHeadAttention")


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
        """Quantize the file on all of the calibration data, one example at a time; see Strategy.apply."""
        on = self._on_openvino if artifact.format == "openvino" else self._on_onnx
        return replace(artifact, path=on(artifact, calibration, folder), state=self.state(artifact.state))

    def _on_openvino(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Path:
        model = runtime().Core().read_model(str(artifact.path))
        if not any(weight.multiplied for weight in ir_weights(artifact.path)):
            raise DoesNotFit(
                f"nncf_int8 covers convolutions and matrix products with a stored weight; this network has "
                f"none of them (found: {kinds_of(model)})",
                fix="leave nncf_int8 out for this network",
            )
        edges = [
            (port.get_node().get_type_name(), operator.get_type_name())
            for operator in model.get_ordered_ops()
            for port in operator.input_values()
        ]
        # Not smoothed: openvino 2026.4.1 then multiplies wrongly, the more so the larger the batch (a
        # transformer fell from 94 to 29 per cent; the same file with its integers simulated stayed at 94).
        return save_ir(self._quantized(model, calibration, attends(edges), smooth=False), folder)

    def _on_onnx(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Path:
        import onnx

        network = read_network(artifact.path, COVERS, "nncf_int8")
        fold_batch_norm(network)  # as engines do: else its ranges are those of what nobody computes
        made = {name: node.op_type for node in network.graph.node for name in node.output}
        edges = [(made.get(name, ""), node.op_type) for node in network.graph.node for name in node.input]
        path = folder / "model.onnx"
        smooth = self.fast_bias_correction  # together with the other correction nncf writes a value twice
        try:
            quantized = self._quantized(network, calibration, attends(edges), smooth=smooth)
        except RuntimeError as error:
            if self.fast_bias_correction:
                raise
            raise DoesNotFit(  # nncf 3.4.0, where a layer's input is used further on: a residual network
                f"nncf's correction of biases layer by layer cannot take this network apart: {error}",
                fix="write fast_bias_correction = true, or take the openvino engine",
            ) from error
        onnx.save(quantized, path)
        return path

    def _quantized(self, model: Any, calibration: Calibration, transformer: bool, *, smooth: bool) -> Any:
        batches = list(calibration.in_batches(1))
        with silent_nncf() as nncf:
            alphas = nncf.AdvancedSmoothQuantParameters()
            if not smooth:
                alphas.convolution = alphas.matmul = -1
            return nncf.quantize(
                model,
                nncf.Dataset(batches),
                preset=nncf.QuantizationPreset(self.preset),
                subset_size=len(batches),
                fast_bias_correction=self.fast_bias_correction,
                model_type=nncf.ModelType.TRANSFORMER if transformer else None,
                advanced_parameters=nncf.AdvancedQuantizationParameters(smooth_quant_alphas=alphas),
            )


def attends(edges: list[tuple[str, str]]) -> bool:
    """Tell whether a network has attention, from its edges (operator that gives, operator that takes)."""
    return any(giver in ATTENTION or (giver, taker) == ("Softmax", "MatMul") for giver, taker in edges)
