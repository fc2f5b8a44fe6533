"""The simulated twin of a quantized network: the same rounding, and float operators only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from qbench.cases import FakeQuant, State
from qbench.errors import DoesNotFit
from qbench.quant.float_form import float_form
from qbench.quant.ir_graph import restore_weights, runtime, save_ir, write_out
from qbench.quant.qdq_file import read_qdq, takes_static
from qbench.quant.saturation import NOTE
from qbench.quant.silent_nncf import kinds_of
from qbench.strategies.base import STRATEGIES, Calibration, Route, Strategy

if TYPE_CHECKING:
    from qbench.formats.artifact import Artifact


@STRATEGIES.register("simulate")
@dataclass(frozen=True, slots=True)
class Simulate(Strategy):
    """Put at the end of a chain: what its rounding costs in accuracy, whatever integer kernels make of it.

    Every rounding is written out as a division, a rounding to even and a clip; weights are restored to float.
    """

    about: ClassVar[str] = (
        "a quantized file with its integers simulated in float: the same rounding, no speed"
    )
    source: ClassVar[str] = "ONNX QuantizeLinear, DequantizeLinear; OpenVINO FakeQuantize-1"
    routes: ClassVar[tuple[Route, ...]] = (
        Route("onnx", "onnx", "onnx numpy"),
        Route("openvino", "openvino", "openvino"),
    )
    needs_calibration: ClassVar[bool] = False

    def state(self, before: State) -> State:
        """Return the same scheme, simulated; see Strategy.state."""
        if isinstance(before, FakeQuant):
            raise DoesNotFit(
                "simulate takes a quantized network, and this one is simulated already",
                fix='leave simulated = true out, or { use = "simulate" }: it is simulated already',
            )
        return FakeQuant(takes_static("simulate", before))

    def apply(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Artifact:  # noqa: ARG002
        """Write the rounding of the file out in float; see Strategy.apply."""
        on = _on_openvino if artifact.format == "openvino" else _on_onnx
        notes = tuple(note for note in artifact.notes if note.what != NOTE)  # float kernels saturate nowhere
        path = on(artifact.path, folder)
        return replace(artifact, path=path, state=self.state(artifact.state), notes=notes)


def _on_onnx(path: Path | None, folder: Path) -> Path:
    import onnx

    onnx.save(float_form(read_qdq(path, "simulate")), folder / "model.onnx")
    return folder / "model.onnx"


def _on_openvino(path: Path | None, folder: Path) -> Path:
    model = runtime().Core().read_model(str(path))
    if not write_out(model):
        raise DoesNotFit(
            f"simulate takes an IR that says its rounding by FakeQuantize; there is none "
            f"(found: {kinds_of(model)})",
            fix='make one: chain = [{ use = "nncf_int8" }, { use = "simulate" }]',
        )
    restore_weights(model)
    return save_ir(model, folder)
