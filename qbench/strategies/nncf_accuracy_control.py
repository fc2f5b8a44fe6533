"""Static int8 by NNCF, with as many layers put back to float as it takes to keep the accuracy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from qbench.cases import Quantized, Scheme, State
from qbench.errors import BadParameter, DoesNotFit
from qbench.quant.coverage import Coverage, InFloat
from qbench.quant.ir_graph import ir_weights, runtime, save_ir
from qbench.quant.nncf_network import COVERS, KINDS, ROUNDED, Wanted, read_ir, read_onnx
from qbench.quant.qdq_graph import Weight, onnx_weights
from qbench.quant.qdq_layout import runner
from qbench.quant.ranges import finite_or_raise, shaped_or_raise
from qbench.quant.silent_nncf import silent_nncf
from qbench.strategies.base import (
    STRATEGIES,
    Calibration,
    Route,
    Selection,
    Strategy,
    selection_or_raise,
    takes_fp32,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np

    from qbench.formats.artifact import Artifact

    Run = Callable[[dict[str, np.ndarray]], np.ndarray]

EXAMPLES = 300  # of the selection split, at most: each candidate network answers all of them
RANKED_BY = 64  # of these, the ones that layers are ranked by, once for every layer
TRIED = 40  # networks in turn, each with one more layer in float; then the drop is what it is, and told
BATCH = 16  # examples at a time
TIE = 1e-6  # what the outputs' distance from float, at most 1, is worth beside the share that is right
SLACK = 2 * TIE  # of max_drop, for that and for rounding: 0.97 - 0.96 is a little more than 0.01
NAME = "nncf_accuracy_control"


@STRATEGIES.register(NAME)
@dataclass(frozen=True, slots=True)
class NncfAccuracyControl(Strategy):
    """NNCF's quantization with accuracy control: layers return to float until the drop is small enough.

    Layers are ranked by how much is right with each alone in float, and put back one after the other. Judged
    on the first 300 selection examples, and on no other: by labels, or where there are none by agreement with
    the float network's first answers.

    max_drop: share of these examples that may be lost, 0.01 being one in a hundred.
    model_type, operators, keep_float: see nncf_int8.
    """

    about: ClassVar[str] = "int8 by NNCF, with layers put back to float until the accuracy holds"
    source: ClassVar[str] = "Neural Network Compression Framework (nncf.quantize_with_accuracy_control)"
    routes: ClassVar[tuple[Route, ...]] = (
        Route("openvino", "openvino", "nncf openvino", ("openvino",)),
        Route("onnx", "onnx", "nncf openvino onnx onnxruntime-gpu onnxruntime", ("onnxruntime",)),
    )
    needs_calibration: ClassVar[bool] = True
    needs_selection: ClassVar[bool] = True

    max_drop: float = 0.01
    model_type: Literal["auto", "transformer", "none"] = "auto"
    operators: str = ""
    keep_float: str = ""

    def __post_init__(self) -> None:
        """Check the parameters."""
        self._wanted()
        if self.model_type not in KINDS:
            words = " or ".join(f'"{word}"' for word in KINDS)
            raise BadParameter(f"{NAME} has no model_type {self.model_type!r}", fix=f"write {words}")
        if not 0 <= self.max_drop < 1:
            raise BadParameter(
                f"{NAME}: max_drop = {self.max_drop:g} is no share of examples that may be lost",
                fix="write max_drop = 0.01 for one in a hundred, or another number from 0 to below 1",
            )

    def state(self, before: State) -> State:
        """Return eight bits both ways where it is quantized; see Strategy.state."""
        takes_fp32(NAME, before)
        return Quantized(Scheme(8, 8, "per_channel", mixed=True))

    def about_s(self, examples: int) -> float:  # noqa: ARG002
        """Return about how long it takes where something is put back; see Strategy.about_s."""
        return 30.0

    def apply(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Artifact:
        """Quantize on all of the calibration data, choose on selection examples; see Strategy.apply.

        Raises:
            DoesNotFit: also where there are no selection examples, or data is not finite, or not one layer
                can stay quantized.
        """
        import onnx

        from qbench.formats.artifact import Note

        on_ir = artifact.format == "openvino"
        covers = self._wanted().coverage.layers(COVERS)
        model = read_ir(artifact.path, NAME) if on_ir else read_onnx(artifact.path, NAME, covers)
        finite_or_raise(calibration.inputs, NAME)
        shaped_or_raise(calibration.inputs, artifact.inputs, NAME)
        chooser = Chooser.of(calibration, _on_ir if on_ir else _on_onnx, model, _first_axis(artifact))
        quantized, kept = self._quantized(model, calibration, chooser)
        if on_ir:
            path = save_ir(quantized, folder)
        else:
            path = folder / "model.onnx"
            onnx.save(quantized, path)
        drop = chooser.float_share - chooser.share(chooser.run_of(quantized))
        text = self._told(ir_weights(path) if on_ir else onnx_weights(path), drop, chooser)
        note = Note("accuracy control", text, warns=drop > self.max_drop + SLACK)
        notes = (*artifact.notes, *(Note(*told) for told in kept.notes()), note)
        return replace(artifact, path=path, state=self.state(artifact.state), notes=notes)

    def _wanted(self) -> Wanted:
        # Not smoothed: nncf 3.4.0 gives a layer that it puts back its weight from before the smoothing,
        # and leaves its input smoothed.
        coverage = Coverage.read(NAME, COVERS, self.operators, self.keep_float, ROUNDED)
        return Wanted(coverage, KINDS.get(self.model_type), alpha=-1)

    def _quantized(self, model: Any, calibration: Calibration, chooser: Chooser) -> tuple[Any, InFloat]:
        batches = list(calibration.in_batches(1))
        with silent_nncf() as nncf:
            how, kept = self._wanted().told(nncf, model, len(batches), NAME)
            how["advanced_quantization_parameters"] = how.pop("advanced_parameters")
            restorer = nncf.AdvancedAccuracyRestorerParameters(
                max_num_iterations=TRIED, ranking_subset_size=RANKED_BY, num_ranking_workers=1
            )
            quantized = nncf.quantize_with_accuracy_control(
                model,
                nncf.Dataset(batches),
                nncf.Dataset(list(range(chooser.count))),
                chooser.validate,
                max_drop=self.max_drop + SLACK,
                advanced_accuracy_restorer_parameters=restorer,
                **how,
            )
            return quantized, kept

    def _told(self, weights: list[Weight], drop: float, chooser: Chooser) -> str:
        """Say which layers are in float, and what the network lost.

        Raises:
            DoesNotFit: all of them are.
        """
        products = [weight for weight in weights if weight.multiplied]
        in_float = [weight.name for weight in products if weight.bits > 8]
        if len(in_float) == len(products):
            raise DoesNotFit(
                f"{NAME}: to lose no more than {self.max_drop:.2%} of {chooser.count} selection examples, "
                f"all {len(products)} layers had to go back to float",
                fix=f"allow a larger max_drop, such as {max(2 * self.max_drop, 0.01):g}, or leave {NAME} out",
            )
        which = f" ({', '.join(in_float)})" if in_float else ""
        return (
            f"{len(in_float)} of {len(products)} layers in float{which}; {drop:.2%} lost of {chooser.count} "
            f"selection examples, {self.max_drop:.2%} allowed"
        )


@dataclass(frozen=True, slots=True)
class Chooser:
    """The examples that a network is judged on, and how."""

    selection: Selection
    run_of: Callable[[Any], Run]  # what nncf calls a model -> a function from a batch to its first output
    size: int  # of a batch
    float_outputs: np.ndarray  # (count, ...)
    axis: int = 0  # along which the output has its examples

    @classmethod
    def of(cls, calibration: Calibration, run_of: Callable[[Any], Run], model: Any, axis: int = 0) -> Chooser:
        """Return the chooser of a float network.

        Raises:
            DoesNotFit: there are no selection examples, or they are not finite.
        """
        import numpy as np

        selection = selection_or_raise(calibration, NAME, "use nncf_int8, which needs none")
        size = calibration.fixed_batch or BATCH
        chooser = cls(selection, run_of, size, np.zeros(0), axis)
        return replace(chooser, float_outputs=chooser.answers(run_of(model), range(chooser.count)))

    @property
    def count(self) -> int:
        """Return how many examples are used: none that only fills up the last batch, which has no label."""
        return min(EXAMPLES, self.selection.count)

    @property
    def float_share(self) -> float:
        """Return the share of the examples that the float network has right."""
        return float(self.right(self.float_outputs, range(self.count)).mean())

    def share(self, run: Run) -> float:
        """Return the share of the examples that a network has right."""
        rows = range(self.count)
        return float(self.right(self.answers(run, rows), rows).mean())

    def validate(self, model: Any, rows: Iterable[int]) -> tuple[float, list[float]]:
        """Return the share that is right, and for every example how far its outputs have moved, negative.

        nncf ranks layers by the first, on the examples that moved most; the mean distance breaks ties. Given
        outputs instead, nncf 3.4.0 first puts back the layer that matters least (it sorts by the error that
        is left and takes the largest), and has no such mode for ONNX.
        """
        wanted = list(rows)
        outputs = self.answers(self.run_of(model), wanted)
        distances = _distances(outputs, self.float_outputs[wanted])
        share = float(self.right(outputs, wanted).mean())
        return share - TIE * float(distances.mean()), [-float(distance) for distance in distances]

    def answers(self, run: Run, rows: Iterable[int]) -> np.ndarray:
        """Return the first output for these examples, (rows, ...)."""
        import numpy as np

        wanted = list(rows)
        parts = []
        for start in range(0, len(wanted), self.size):
            part = wanted[start : start + self.size]
            filled = part + part[-1:] * (self.size - len(part))
            outputs = np.moveaxis(run(self._batch(filled)), self.axis, 0)
            parts.append(outputs[: len(part)])
        return np.concatenate(parts)

    def right(self, outputs: np.ndarray, rows: Iterable[int]) -> np.ndarray:
        """Judge the outputs of these examples, (rows, ...): by labels, or by the float network's answers."""
        import numpy as np

        wanted = list(rows)
        if self.selection.right is None:
            return np.asarray(_first(outputs) == _first(self.float_outputs[wanted]))
        whole = np.zeros((len(next(iter(self.selection.inputs.values()))), *outputs.shape[1:]), outputs.dtype)
        whole[wanted] = outputs  # it judges all at once, in order; what is said of the others is not asked
        return np.asarray(self.selection.right(whole))[wanted]

    def _batch(self, rows: list[int]) -> dict[str, np.ndarray]:
        return self.selection.call(rows)


def _first_axis(artifact: Artifact) -> int:
    """Return along which axis the first output has its examples."""
    return (artifact.outputs[0].batch_axis or 0) if artifact.outputs else 0


def _first(outputs: np.ndarray) -> np.ndarray:
    """Return the answer of every example, the class with the largest number."""
    flat: np.ndarray = outputs.reshape(len(outputs), -1).argmax(axis=1)
    return flat


def _distances(outputs: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return how far every example's outputs are from the float network's: a share of theirs, at most 1."""
    import numpy as np

    apart, whole = (
        np.square(array.reshape(len(array), -1).astype("f8")).sum(1) for array in (outputs - wanted, wanted)
    )
    shares = np.divide(apart, whole, out=np.ones(len(whole)), where=whole > 0)
    return np.minimum(np.nan_to_num(shares, nan=1.0), 1.0)


def _on_ir(model: Any) -> Run:
    """Return how a model or a compiled model runs: in 32-bit float where it is not integer."""
    ov = runtime()
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = model if isinstance(model, ov.CompiledModel) else ov.compile_model(model, "CPU", settings)
    return lambda batch: compiled(batch)[0].copy()


def _on_onnx(model: Any) -> Run:
    """Return how an ONNX model runs, as its engine fuses it."""
    run = runner(model, [model.graph.output[0].name], optimized=True)
    return lambda batch: next(array for _, array in run(batch))
