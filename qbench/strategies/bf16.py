"""Weights and arithmetic in bfloat16: half the bytes, eight bits of precision, the range of float32."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from qbench.cases import Float, State
from qbench.quant.half_floats import half_module, half_onnx
from qbench.strategies.base import STRATEGIES, Calibration, Route, Strategy, takes_fp32

if TYPE_CHECKING:
    from qbench.formats.artifact import Artifact


@STRATEGIES.register("bf16")
@dataclass(frozen=True, slots=True)
class BFloat16(Strategy):
    """Store weights as bfloat16 and ask the engine to compute in it."""

    about: ClassVar[str] = "weights and arithmetic in bfloat16"
    source: ClassVar[str] = "Kalamkar et al. 2019, arXiv:1905.12322"
    routes: ClassVar[tuple[Route, ...]] = (
        Route("torch", "torch", "torch"),
        Route("onnx", "onnx", "onnx ml_dtypes"),
    )
    needs_calibration: ClassVar[bool] = False

    def state(self, before: State) -> State:
        """Return bfloat16; see Strategy.state."""
        takes_fp32("bf16", before)
        return Float("bf16")

    def apply(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Artifact:  # noqa: ARG002
        """Cast the module, or the tensors of the ONNX file; see Strategy.apply."""
        if artifact.format == "torch":
            return replace(artifact, module=half_module(artifact.module, "bf16"), state=Float("bf16"))
        path = folder / "model.onnx"
        half_onnx(artifact.path, path, "bf16")
        return replace(artifact, path=path, state=Float("bf16"))
