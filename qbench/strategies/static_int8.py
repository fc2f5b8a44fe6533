"""Static int8: scales of weights and activations fixed beforehand from calibration data, as a QDQ file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from qbench.cases import Quantized, Scheme, State
from qbench.errors import BadParameter
from qbench.quant.onnx_layers import quietly, read_network
from qbench.strategies.base import STRATEGIES, Calibration, Route, Strategy, takes_fp32

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from qbench.formats.artifact import Artifact

COVERS = ("Conv", "Gemm", "MatMul", "ConvTranspose")
BATCH = 32  # calibration batch: bounds the memory of the recorded activations, changes no scale


@STRATEGIES.register("static_int8")
@dataclass(frozen=True, slots=True)
class StaticInt8(Strategy):
    """Quantize-dequantize nodes around every layer, unsigned activations and signed weights."""

    about: ClassVar[str] = "int8 weights and activations, scales from calibration data"
    source: ClassVar[str] = "Jacob et al. 2018, arXiv:1712.05877; onnxruntime.quantization.quantize_static"
    routes: ClassVar[tuple[Route, ...]] = (Route("onnx", "onnx", "onnxruntime-gpu onnxruntime onnx"),)
    needs_calibration: ClassVar[bool] = True

    observer: Literal["minmax"] = "minmax"
    per_channel: bool = True

    def __post_init__(self) -> None:
        """Check the parameters."""
        if self.observer != "minmax":
            problem = f"static_int8 has no observer {self.observer!r}"
            raise BadParameter(problem, fix='write observer = "minmax"')

    def state(self, before: State) -> State:
        """Return eight bits both ways; see Strategy.state."""
        takes_fp32("static_int8", before)
        return Quantized(Scheme(8, 8, "per_channel" if self.per_channel else "per_tensor"))

    def apply(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Artifact:
        """Record ranges over the calibration data and write the QDQ file; see Strategy.apply."""
        with quietly():
            from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

            path = folder / "model.onnx"
            quantize_static(
                read_network(artifact.path, COVERS, "static_int8"),
                str(path),
                _reader(calibration.in_batches(BATCH)),
                quant_format=QuantFormat.QDQ,
                per_channel=self.per_channel,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
            )
        return replace(artifact, path=path, state=self.state(artifact.state))


def _reader(batches: Iterator[dict[str, np.ndarray]]) -> object:
    """Return onnxruntime's calibration reader over these batches."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(batches, None)

    return Reader()
