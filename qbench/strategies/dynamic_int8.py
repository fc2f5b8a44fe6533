"""Dynamic int8: weights fixed beforehand, the scales of activations computed from every input as it comes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from qbench.cases import Quantized, Scheme, State
from qbench.quant.onnx_layers import quietly, read_network
from qbench.strategies.base import STRATEGIES, Calibration, Route, Strategy, takes_fp32

if TYPE_CHECKING:
    from qbench.formats.artifact import Artifact

COVERS = ("Conv", "Gemm", "MatMul")


@STRATEGIES.register("dynamic_int8")
@dataclass(frozen=True, slots=True)
class DynamicInt8(Strategy):
    """Integer weights; each activation tensor is quantized on its way in. Needs no data."""

    about: ClassVar[str] = "int8 weights, activation scales computed at run time; needs no data"
    source: ClassVar[str] = "onnxruntime.quantization.quantize_dynamic"
    routes: ClassVar[tuple[Route, ...]] = (Route("onnx", "onnx", "onnxruntime-gpu onnxruntime onnx"),)
    needs_calibration: ClassVar[bool] = False

    def state(self, before: State) -> State:
        """Return eight bits both ways, dynamic, one scale a tensor; see Strategy.state."""
        takes_fp32("dynamic_int8", before)
        return Quantized(Scheme(8, 8, "per_tensor", dynamic=True))

    def apply(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Artifact:  # noqa: ARG002
        """Rewrite the layers with their integer forms; see Strategy.apply."""
        with quietly():
            from onnxruntime.quantization import QuantType, quantize_dynamic

            path = folder / "model.onnx"
            network = read_network(artifact.path, COVERS, "dynamic_int8")
            quantize_dynamic(network, str(path), weight_type=QuantType.QInt8)
        return replace(artifact, path=path, state=self.state(artifact.state))
