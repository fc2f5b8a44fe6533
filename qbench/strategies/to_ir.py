"""A quantized ONNX file as an OpenVINO IR: the same integers in the other format."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from qbench.cases import Quantized, State
from qbench.errors import DoesNotFit
from qbench.formats.ir import to_openvino
from qbench.quant.ir_graph import ir_weights
from qbench.quant.qdq_file import read_qdq, takes_static
from qbench.strategies.base import STRATEGIES, Calibration, Route, Strategy

if TYPE_CHECKING:
    from qbench.formats.artifact import Artifact


@STRATEGIES.register("to_ir")
@dataclass(frozen=True, slots=True)
class ToIr(Strategy):
    """Convert a QDQ file; weights stay stored as integers."""

    about: ClassVar[str] = "a quantized ONNX file converted into an OpenVINO IR, with the same integers"
    source: ClassVar[str] = "openvino.convert_model"
    routes: ClassVar[tuple[Route, ...]] = (Route("onnx", "openvino", "openvino onnx", ("openvino",)),)
    needs_calibration: ClassVar[bool] = False

    def state(self, before: State) -> State:
        """Return the same scheme; see Strategy.state."""
        return Quantized(takes_static("to_ir", before))

    def apply(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Artifact:  # noqa: ARG002
        """Convert the file; see Strategy.apply.

        Raises:
            DoesNotFit: also where the conversion did not keep a weight in integers.
        """
        scheme = takes_static("to_ir", artifact.state)
        read_qdq(artifact.path, "to_ir")
        converted = to_openvino(artifact, folder)
        stored = {weight.bits for weight in ir_weights(converted.path) if weight.multiplied}
        if min(stored, default=32) > scheme.weight_bits:
            found = ", ".join(map(str, sorted(stored))) or "none"
            raise DoesNotFit(
                f"openvino's conversion keeps no weight of this network in {scheme.weight_bits} bits "
                f"(found: {found})",
                fix='run the ONNX file on this engine as it is, or use "nncf_int8"',
            )
        return replace(converted, state=Quantized(scheme))
