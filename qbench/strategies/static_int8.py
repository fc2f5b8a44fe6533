"""Static int8: scales of weights and activations fixed beforehand from calibration data, as a QDQ file."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from qbench.cases import Quantized, Scheme, State
from qbench.errors import BadParameter
from qbench.quant.affine import WeightGrid
from qbench.quant.between import told as told_between
from qbench.quant.compact import compact
from qbench.quant.coverage import Coverage, InFloat, some_left_or_raise, uncovered
from qbench.quant.explanation import explained
from qbench.quant.masks import Masks
from qbench.quant.observers import Grid, Histogram, Range, entropy, mse, percentile
from qbench.quant.onnx_layers import quietly, read_network
from qbench.quant.qdq_layout import Layout, prepare, runner
from qbench.quant.ranges import Run, extents, finite_or_raise, histograms, shaped_or_raise
from qbench.quant.recipe import Recipe
from qbench.quant.saturation import NOTE, layers_of, saturation
from qbench.strategies.base import STRATEGIES, Calibration, Route, Strategy, takes_fp32

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qbench.formats.artifact import Artifact, Note
    from qbench.quant.sensitivity import Losses

COVERS = ("Conv", "Gemm", "MatMul", "ConvTranspose")
BATCH = 8  # calibration examples at a time: bounds the memory of the recorded activations, changes no range
CHECKED = 8  # calibration examples on which saturation is counted
SHARE = 99.99
CHOICES: dict[str, tuple[str | int, ...]] = {
    "observer": ("minmax", "entropy", "percentile", "mse"),
    "activation_bits": (8, 16),
    "scheme": ("u8s8", "s8s8"),
}


@STRATEGIES.register("static_int8")
@dataclass(frozen=True, slots=True)
class StaticInt8(Strategy):
    """Quantize-dequantize nodes around every layer, signed symmetric weights.

    scheme: activations are unsigned (u8s8) or signed (s8s8), each with a zero point of its own; with
    activation_bits = 16 they are of the same sign, 16 bits wide, and weights stay at 8. s8s8 is the same grid
    moved by 128, and what ARM kernels take; onnxruntime on x86 computes half of such a network in float.
    symmetric: every zero point is 0, which only s8s8 can. A Relu is no longer for free then: it stays in the
    graph, where other grids simply end at zero, and half of the codes after it are unused.
    reduce_range: weights in 7 bits, so that no kernel without VNNI saturates.
    percentile: share of the values, in percent, that the observer of that name keeps unclipped.
    lean: biases as floats, which engines round as they load the file, and short names: see compact.py.
    operators: the only kinds of operator that are quantized, with commas between ("Conv,MatMul,Gemm"); a Relu
        or Clip behind one goes with it. Empty: layers, and what the engine has integer kernels for.
    keep_float: layers that stay in float, with commas between: names of nodes, of outputs or of weights.
    """

    about: ClassVar[str] = "int8 weights and activations, scales from calibration data"
    source: ClassVar[str] = "Jacob et al. 2018, arXiv:1712.05877; onnxruntime.quantization.QDQQuantizer"
    routes: ClassVar[tuple[Route, ...]] = (Route("onnx", "onnx", "onnxruntime-gpu onnxruntime onnx numpy"),)
    needs_calibration: ClassVar[bool] = True
    explains: ClassVar[bool] = True

    observer: Literal["minmax", "entropy", "percentile", "mse"] = "minmax"
    per_channel: bool = True
    reduce_range: bool = False
    percentile: float = SHARE
    activation_bits: Literal[8, 16] = 8
    scheme: Literal["u8s8", "s8s8"] = "u8s8"
    symmetric: bool = False
    lean: bool = False
    operators: str = ""
    keep_float: str = ""

    def __post_init__(self) -> None:
        """Check the parameters."""
        self._coverage()
        for name, known in CHOICES.items():
            value = getattr(self, name)
            if value not in known:
                words = " or ".join(json.dumps(word) for word in known)
                raise BadParameter(f"static_int8 has no {name} {value!r}", fix=f"write {name} = {words}")
        if not 50 < self.percentile < 100:
            raise BadParameter(
                f"static_int8: percentile = {self.percentile:g} is not above 50 and below 100",
                fix='write percentile = 99.99, or observer = "minmax" to clip nothing',
            )
        if self.percentile != SHARE and self.observer != "percentile":
            raise BadParameter(
                f"static_int8: percentile = {self.percentile:g} says nothing to observer {self.observer!r}",
                fix='write observer = "percentile" beside it, or leave percentile out',
            )
        if self.symmetric and self.scheme != "s8s8":
            raise BadParameter(
                "static_int8: symmetric activations have the zero point 0, the lowest code of scheme u8s8",
                fix='write scheme = "s8s8" beside it, or symmetric = false',
            )
        if self.observer == "entropy" and self.activation_bits == 16:
            raise BadParameter(
                "static_int8: entropy compares a histogram with the levels of the grid, and 16 bits have "
                "more levels than the histogram has bins",
                fix='write observer = "minmax" or "mse"',
            )

    def state(self, before: State) -> State:
        """Return eight bits of weights, and as many of activations as asked for; see Strategy.state."""
        takes_fp32("static_int8", before)
        granularity: Literal["per_tensor", "per_channel"] = (
            "per_channel" if self.per_channel else "per_tensor"
        )
        return Quantized(Scheme(8, self.activation_bits, granularity))

    def apply(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Artifact:
        """Record ranges over the calibration data and write the QDQ file; see Strategy.apply.

        Raises:
            DoesNotFit: also where there is no calibration data, or it is not finite, or the network makes
                numbers of it that are not.
        """
        import onnx

        from qbench.formats.artifact import Note

        path = folder / "model.onnx"
        with quietly():
            network, kept = self._read(artifact.path)
            finite_or_raise(calibration.inputs, "static_int8")
            shaped_or_raise(calibration.inputs, artifact.inputs, "static_int8")
            layout, masks = self._layout(kept), Masks.of(network)
            ranges = self._ranges(masks.left_out(runner(network, layout.watched(network))), calibration)
            model = compact(layout.written(network, ranges), lean=self.lean)
            onnx.save(model, path)
        told = (
            Note(*note) for note in (*kept.notes(), *told_between(layout.between(network)), *masks.notes())
        )
        notes = (*artifact.notes, *told, *self._saturation(path, calibration))
        return replace(artifact, path=path, state=self.state(artifact.state), notes=notes)

    def explain(self, artifact: Artifact, calibration: Calibration) -> Losses:
        """Return what each layer costs, on the first selection examples; see Strategy.explain."""
        granularity: Literal["per_tensor", "per_channel"] = (
            "per_channel" if self.per_channel else "per_tensor"
        )
        recipe = Recipe(
            WeightGrid(7 if self.reduce_range else 8, granularity),
            self.activation_bits,
            self.observer,
            self.percentile,
            self.scheme,
            self.symmetric,
        )
        return explained(artifact.path, COVERS, "static_int8", recipe, calibration, self._coverage())

    def _coverage(self) -> Coverage:
        return Coverage.read("static_int8", COVERS, self.operators, self.keep_float)

    def _read(self, path: Path | None) -> tuple[Any, InFloat]:
        coverage = self._coverage()
        covers = coverage.layers(COVERS)
        network = read_network(path, covers, "static_int8")
        prepare(network)
        kept = coverage.kept(network, "static_int8")
        some_left_or_raise(network, covers, kept, "static_int8")
        kept |= uncovered(network, covers)
        return self._layout(kept).raised(network), kept

    def _layout(self, kept: InFloat) -> Layout:
        return Layout(
            self.scheme,
            self.activation_bits,
            self.per_channel,
            self.reduce_range,
            self.symmetric,
            kept=tuple(kept.nodes),
            operators=self._coverage().operators,
        )

    def _ranges(self, run: Run, calibration: Calibration) -> dict[str, Range]:
        found = extents(run, calibration.in_batches(BATCH), "static_int8")
        if self.observer == "minmax":
            return found
        seen = histograms(run, calibration.in_batches(BATCH), found)
        return {name: self._observed(histogram) for name, histogram in seen.items()}

    def _observed(self, histogram: Histogram) -> Range:
        grid = Grid(self.activation_bits, self.symmetric)
        if self.observer == "percentile":
            return percentile(histogram, grid, self.percentile)
        return {"entropy": entropy, "mse": mse}[self.observer](histogram, grid)

    def _saturation(self, path: Path, calibration: Calibration) -> Iterator[Note]:
        """Say how many sums a kernel without VNNI would cut off, on the first calibration examples."""
        import onnx

        from qbench.formats.artifact import Note

        model = onnx.load(path)
        layers = layers_of(model)
        if not layers:
            return
        names = sorted({layer.codes for layer in layers})
        examples = next(calibration.in_batches(CHECKED))
        found = saturation(layers, dict(runner(model, names)(examples)))
        count = len(next(iter(examples.values())))
        text = f"{found} on {count} calibration examples"
        yield Note(NOTE, text, warns=found.share > 0)
