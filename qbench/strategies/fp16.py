"""Weights and arithmetic in float16: half the bytes, eleven bits of precision, numbers up to 65,504."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from qbench.cases import Float, State
from qbench.quant.half_floats import half_module, half_onnx
from qbench.strategies.base import STRATEGIES, Calibration, Route, Strategy, takes_fp32

if TYPE_CHECKING:
    from qbench.formats.artifact import Artifact


@STRATEGIES.register("fp16")
@dataclass(frozen=True, slots=True)
class Float16(Strategy):
    """Store weights as float16 and ask the engine to compute in it."""

    about: ClassVar[str] = "weights and arithmetic in float16; refused where a weight is beyond 65,504"
    source: ClassVar[str] = "IEEE 754-2019 binary16; Micikevicius et al. 2018, arXiv:1710.03740"
    routes: ClassVar[tuple[Route, ...]] = (
        Route("torch", "torch", "torch"),
        Route("onnx", "onnx", "onnx"),
    )
    needs_calibration: ClassVar[bool] = False

    def state(self, before: State) -> State:
        """Return float16; see Strategy.state."""
        takes_fp32("fp16", before)
        return Float("fp16")

    def apply(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Artifact:  # noqa: ARG002
        """Cast the module, or the tensors of the ONNX file; see Strategy.apply."""
        if artifact.format == "torch":
            return replace(artifact, module=half_module(artifact.module, "fp16"), state=Float("fp16"))
        path = folder / "model.onnx"
        half_onnx(artifact.path, path, "fp16")
        return replace(artifact, path=path, state=Float("fp16"))
