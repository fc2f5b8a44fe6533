"""Other integers for a network that is quantized already, worked out from its file alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np

from qbench.cases import Quantized, State
from qbench.errors import BadParameter, DoesNotFit
from qbench.quant.onnx_layers import raised
from qbench.quant.qdq_file import read_qdq, takes_static
from qbench.quant.qdq_model import INT4_OPSET, QdqModel
from qbench.quant.recode import (
    Biases,
    centred,
    in_powers_of_two,
    nearest_codes,
    power_of_two_codes,
    recode,
    width,
    with_sign,
)
from qbench.quant.saturation import NOTE
from qbench.strategies.base import STRATEGIES, Calibration, Route, Strategy

if TYPE_CHECKING:
    from qbench.formats.artifact import Artifact, Note

Target = Literal["s8s8", "u8s8", "symmetric", "per_tensor", "power_of_two", "int4", "arm"]
TARGETS: tuple[str, ...] = get_args(Target)


@STRATEGIES.register("requantize")
@dataclass(frozen=True, slots=True)
class Requantize(Strategy):
    """Recode a QDQ file without the float network and without data.

    to: s8s8 and u8s8 move the codes of activations by half of their span, which is exact; symmetric gives
    them the zero point 0; per_tensor gives every weight one scale, power_of_two makes every scale one, each
    no finer than before; int4 stores weights in 4 bits, by the scale of the least squared error, as many
    scales as before; arm is what the integer kernels of 64-bit ARM take without a correction: signed
    activations, and weights without zero points. A file that is so already is refused.
    """

    about: ClassVar[str] = (
        "other integers for a quantized file: signs, zero points, scales or 4 bits; no data"
    )
    source: ClassVar[str] = "Jacob et al. 2018, arXiv:1712.05877, eq. 1 and section 2.4"
    routes: ClassVar[tuple[Route, ...]] = (Route("onnx", "onnx", "onnx numpy"),)
    needs_calibration: ClassVar[bool] = False

    to: Target = "s8s8"

    def __post_init__(self) -> None:
        """Check the parameters."""
        if self.to not in TARGETS:
            known = ", ".join(f'"{word}"' for word in TARGETS)
            raise BadParameter(
                f"requantize has no to = {self.to!r}",
                fix=f"write one of {known}; fewer bits of activations need new ranges and so data: "
                "static_int8",
            )

    def state(self, before: State) -> State:
        """Return the scheme with what changes in it; see Strategy.state."""
        scheme = takes_static("requantize", before, self._chain)
        if self.to == "int4":
            if scheme.weight_bits != 8:
                raise self._so_already(f"its weights have {scheme.weight_bits} bits already")
            return Quantized(replace(scheme, weight_bits=4))
        if self.to == "per_tensor":
            if scheme.granularity == "per_tensor":
                raise self._so_already("its weights have one scale a tensor already")
            return Quantized(replace(scheme, granularity="per_tensor"))
        return Quantized(scheme)

    def apply(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Artifact:  # noqa: ARG002
        """Recode the file; see Strategy.apply.

        Raises:
            DoesNotFit: also where the file is so already, or its integers are not told by Quantize- and
                DequantizeLinear.
        """
        import onnx

        state = self.state(artifact.state)
        network = read_qdq(artifact.path, "requantize", self._chain)
        if self.to == "int4":
            network = raised(network, "requantize", INT4_OPSET)
        model = QdqModel(network)
        moved, grew = self._changed(model)
        onnx.save(model.model, folder / "model.onnx")
        notes = artifact.notes
        if moved or grew > 1:
            kept = (note for note in notes if note.what != NOTE)  # counted on other codes
            notes = (*kept, self._note(moved, grew))
        return replace(artifact, path=folder / "model.onnx", state=state, notes=notes)

    @property
    def _chain(self) -> str:
        """Return a chain in which it changes something, as a suite writes it."""
        signed = ', scheme = "s8s8"' if self.to == "u8s8" else ""
        return f'[{{ use = "static_int8"{signed} }}, {{ use = "requantize", to = "{self.to}" }}]'

    def _changed(self, model: QdqModel) -> tuple[list[float], float]:
        """Change the model; return how far weights moved, and by how much the widest step grew."""
        _drop_unused(model)
        before = model.model.SerializeToString(deterministic=True)
        biases = Biases(model)
        moved, grew = self._weights(model), self._activations(model)
        biases.rewrite()
        _drop_unused(model)
        if model.model.SerializeToString(deterministic=True) == before:
            raise self._so_already("its file is so already")
        return moved, grew

    def _activations(self, model: QdqModel) -> float:
        if self.to in ("s8s8", "u8s8", "arm"):
            with_sign(model, signed=self.to != "u8s8")
        return {"symmetric": centred, "power_of_two": in_powers_of_two}.get(self.to, lambda _: 1.0)(model)

    def _weights(self, model: QdqModel) -> list[float]:
        moved = []
        for bits in (8, 4):
            some = [weight for weight in model.weights if width(model, weight) == bits]
            moved += self._of_width(model, some, bits)
        return moved

    def _of_width(self, model: QdqModel, some: list[Any], bits: int) -> list[float]:
        new: Any
        if self.to == "power_of_two":
            new = partial(power_of_two_codes, bits=bits)
            some = [weight for weight in some if not _so(new, weight)]
        elif self.to == "per_tensor":
            new = partial(nearest_codes, bits=bits, whole=True)
            some = [weight for weight in some if weight.axis is not None]
        elif self.to == "int4" and bits == 8:
            new, bits = partial(nearest_codes, bits=4, clip=True), 4
        elif self.to == "arm":
            new = partial(nearest_codes, bits=bits)
            some = [weight for weight in some if weight.zero_point.any() or weight.codes.max(initial=0) > 127]
        else:
            return []
        return recode(model, some, new, bits)

    def _note(self, moved: list[float], grew: float) -> Note:
        from qbench.formats.artifact import Note

        told = []
        if moved:
            told.append(
                f"{len(moved)} weights moved by {100 * max(moved):.2g} % at most and "
                f"{100 * sum(moved) / len(moved):.2g} % in the mean (root of the share of their squares)"
            )
        if grew > 1:
            told.append(f"steps of activations grew {grew:.2f} times at most")
        return Note(f"requantized to {self.to}", "; ".join(told))

    def _so_already(self, why: str) -> DoesNotFit:
        return DoesNotFit(
            f"requantize(to={self.to}) changes nothing: {why}",
            fix=f"leave it out, or write another of {', '.join(name for name in TARGETS if name != self.to)}",
        )


def _so(new: Any, weight: Any) -> bool:
    codes, scale = new(weight)
    return bool(np.array_equal(codes, weight.codes) and np.array_equal(scale, weight.scale))


def _drop_unused(model: QdqModel) -> None:
    """Take off what only served the integers before."""
    graph = model.model.graph
    used = {name for node in model.graph.nodes for name in node.input}
    used |= {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)
