"""Static int8 by NNCF: scales from calibration data, and biases corrected for what rounding shifts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from qbench.cases import Quantized, Scheme, State
from qbench.errors import BadParameter, DoesNotFit
from qbench.quant.coverage import Coverage, InFloat
from qbench.quant.ir_graph import save_ir
from qbench.quant.nncf_network import (
    AS_NNCF,
    COVERS,
    KINDS,
    ROUNDED,
    Wanted,
    one_scale_where_stacked,
    read_ir,
    read_onnx,
)
from qbench.quant.ranges import finite_or_raise, shaped_or_raise
from qbench.quant.silent_nncf import kinds_of, silent_nncf
from qbench.strategies.base import STRATEGIES, Calibration, Route, Strategy, takes_fp32

if TYPE_CHECKING:
    from qbench.formats.artifact import Artifact

USUAL = -2.0  # smooth_quant that is left out
CHOICES = {"preset": ("auto", "performance", "mixed"), "model_type": tuple(KINDS)}


@STRATEGIES.register("nncf_int8")
@dataclass(frozen=True, slots=True)
class NncfInt8(Strategy):
    """NNCF's post-training quantization, its result in the form that the engine reads.

    preset: performance has symmetric activations; mixed has asymmetric ones, where values have both signs;
        auto is mixed for a transformer and performance for others, which is what nncf does by itself.
    fast_bias_correction: correct biases from the statistics of the float network; False corrects them layer
    by layer on the quantized one, which takes many times as long.

    model_type: transformer lets NNCF leave in float what is known to need it, and smooth; auto says so of a
        network with attention.
    smooth_quant: of a transformer, how much of the outliers in the inputs of matrix products moves into their
        weights, from 0 to 1 (SmoothQuant, Xiao et al. 2022, arXiv:2211.10438, eq. 4); below 0 nothing does.
        Exact in float. Left out: 0.95 in ONNX files, nothing for OpenVINO, see below.
    operators: the only kinds of operator that are quantized, with commas between, in ONNX's words for both
        formats ("Conv,MatMul,Gemm"). Empty: all that NNCF knows.
    keep_float: layers that stay in float, with commas between: names of nodes, of outputs or of weights.
    """

    about: ClassVar[str] = "int8 weights and activations by NNCF, with corrected biases"
    source: ClassVar[str] = "Neural Network Compression Framework (nncf.quantize); arXiv:2002.08679"
    routes: ClassVar[tuple[Route, ...]] = (
        Route("openvino", "openvino", "nncf openvino", ("openvino",)),
        Route("onnx", "onnx", "nncf openvino onnx onnxruntime-gpu onnxruntime", ("onnxruntime",)),
    )
    needs_calibration: ClassVar[bool] = True

    preset: Literal["auto", "performance", "mixed"] = "auto"
    fast_bias_correction: bool = True
    model_type: Literal["auto", "transformer", "none"] = "auto"
    smooth_quant: float = USUAL
    operators: str = ""
    keep_float: str = ""

    def __post_init__(self) -> None:
        """Check the parameters."""
        self._coverage()
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                words = " or ".join(f'"{word}"' for word in known)
                raise BadParameter(
                    f"nncf_int8 has no {name} {getattr(self, name)!r}", fix=f"write {name} = {words}"
                )
        if self.smooth_quant > 1:
            raise BadParameter(
                f"nncf_int8: smooth_quant = {self.smooth_quant:g} is above 1, which moves more than there is",
                fix="write smooth_quant = 0.5, say, or -1 to smooth nothing",
            )
        if self.smooth_quant >= 0 and self.model_type == "none":
            raise BadParameter(
                f'nncf_int8: smooth_quant = {self.smooth_quant:g} says nothing to model_type = "none": nncf '
                "smooths transformers alone",
                fix='write model_type = "transformer" beside it, or leave smooth_quant out',
            )
        if self.smooth_quant >= 0 and not self.fast_bias_correction:
            raise BadParameter(  # nncf 3.4.0 then writes a value twice
                "nncf_int8: nncf cannot both smooth and correct biases layer by layer",
                fix="write fast_bias_correction = true beside it, or leave smooth_quant out",
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
        from qbench.formats.artifact import Note

        on = self._on_openvino if artifact.format == "openvino" else self._on_onnx
        path, kept = on(artifact, calibration, folder)
        notes = (*artifact.notes, *(Note(what, found) for what, found in kept.notes()))
        return replace(artifact, path=path, state=self.state(artifact.state), notes=notes)

    def _on_openvino(
        self, artifact: Artifact, calibration: Calibration, folder: Path
    ) -> tuple[Path, InFloat]:
        model = read_ir(artifact.path, "nncf_int8")
        # Not smoothed unasked: openvino 2026.4.1 then multiplies wrongly, the more so the larger the batch (a
        # transformer fell from 94 to 29 per cent; the same file with its integers simulated stayed at 94).
        quantized, kept = self._quantized(model, calibration, usual=-1)
        return save_ir(quantized, folder), kept

    def _on_onnx(self, artifact: Artifact, calibration: Calibration, folder: Path) -> tuple[Path, InFloat]:
        import onnx

        network = read_onnx(artifact.path, "nncf_int8", self._coverage().layers(COVERS))
        path = folder / "model.onnx"
        usual = AS_NNCF if self.fast_bias_correction else -1  # nncf 3.4.0 would write a value twice
        try:
            quantized, kept = self._quantized(network, calibration, usual=usual)
        except RuntimeError as error:
            if self.fast_bias_correction:
                raise
            raise DoesNotFit(  # nncf 3.4.0, where a layer's input is used further on: a residual network
                f"nncf's correction of biases layer by layer cannot take this network apart: {error}",
                fix="write fast_bias_correction = true, or take the openvino engine",
            ) from error
        one_scale_where_stacked(quantized)
        onnx.save(quantized, path)
        return path, kept

    def _quantized(self, model: Any, calibration: Calibration, *, usual: float) -> tuple[Any, InFloat]:
        batches = list(calibration.in_batches(1))
        wanted = Wanted(
            self._coverage(),
            KINDS[self.model_type],
            self.preset,
            usual if self.smooth_quant == USUAL else self.smooth_quant,
        )
        with silent_nncf() as nncf:
            how, kept = wanted.told(nncf, model, len(batches), "nncf_int8")
            data = nncf.Dataset(batches)
            try:
                quantized = nncf.quantize(model, data, fast_bias_correction=self.fast_bias_correction, **how)
            except nncf.ValidationError as error:
                if hasattr(model, "graph") or "If" not in kinds_of(model):
                    raise
                raise DoesNotFit(  # it quantizes each branch on the calls that reach it
                    f"nncf quantizes the branches of an If one by one, and one is reached by none of "
                    f"{len(batches)} calibration examples: {error}",
                    fix="give calibration examples that reach both, or take static_int8",
                ) from error
            return quantized, kept

    def _coverage(self) -> Coverage:
        return Coverage.read("nncf_int8", COVERS, self.operators, self.keep_float, ROUNDED)
