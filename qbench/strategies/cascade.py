"""A cascade: a network in few bits answers first, and where it is unsure a more exact one does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from qbench.cases import Quantized, Scheme, State
from qbench.errors import BadParameter, DoesNotFit
from qbench.formats.signature import fixed_batch
from qbench.quant.affine import WeightGrid
from qbench.quant.cascade import ALWAYS, CONFIDENCE, ESCALATED, NEVER, cascaded, fitted
from qbench.quant.onnx_layers import quietly, raised, read_network
from qbench.quant.ptq import Ptq
from qbench.quant.qdq_layout import runner
from qbench.quant.qdq_model import INT4_OPSET
from qbench.quant.ranges import finite_or_raise, shaped_or_raise
from qbench.quant.recipe import Recipe
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
    import numpy as np

    from qbench.formats.artifact import Artifact

NAME = "cascade"
COVERS = ("Conv", "Gemm", "MatMul", "ConvTranspose")
BATCH = 32  # calibration examples at a time: bounds memory
DROP = 0.005
BITS: dict[str, Literal[8, 4]] = {"int8": 8, "w4a8": 4}  # of weights


@STRATEGIES.register(NAME)
@dataclass(frozen=True, slots=True)
class Cascade(Strategy):
    """Two networks in one ONNX file, for one input at a time: the second answers where the first is unsure.

    Unsure is whoever's largest probability is not above the threshold. The lowest threshold is taken that
    keeps the accuracy on selection examples; only test examples tell what it is worth. What a call takes
    depends on its input, so mean and tail of the latency count, and not the median.

    low, high: what answers first, and what then; w4a8 is int8 with weights in 4 bits.
    max_drop: share of the selection examples that may be lost against `high` alone.
    threshold: this one, whatever it loses, told on calibration examples; 0 fits it. Beside another,
    max_drop is refused.
    """

    about: ClassVar[str] = "two networks in one file: a more exact one answers where int8 is unsure"
    source: ClassVar[str] = "Wang et al. 2018, IDK Cascades, arXiv:1706.00885"
    # openvino 2026.4.1 runs the file, and says nothing of the kernels in its branch: no proof, no route
    routes: ClassVar[tuple[Route, ...]] = (
        Route("onnx", "onnx", "onnxruntime-gpu onnxruntime onnx numpy", ("onnxruntime",)),
    )
    needs_calibration: ClassVar[bool] = True
    needs_selection: ClassVar[bool] = True

    low: Literal["int8", "w4a8"] = "int8"
    high: Literal["float", "int8"] = "float"
    max_drop: float = DROP
    threshold: float = 0.0

    def __post_init__(self) -> None:
        """Check the parameters."""
        for name, known in (("low", tuple(BITS)), ("high", ("float", "int8"))):
            if getattr(self, name) not in known:
                words = " or ".join(f'"{word}"' for word in known)
                raise BadParameter(
                    f"{NAME} has no {name} {getattr(self, name)!r}", fix=f"write {name} = {words}"
                )
        if self.low == self.high:
            raise BadParameter(
                f"{NAME}: low and high are both {self.low}, so the second answers as the first",
                fix='write low = "w4a8", or high = "float"',
            )
        if not 0 <= self.max_drop < 1:
            raise BadParameter(
                f"{NAME}: max_drop = {self.max_drop:g} is no share of examples that may be lost",
                fix="write max_drop = 0.005 for one in two hundred, or another number from 0 to below 1",
            )
        if not 0 <= self.threshold <= 1:
            raise BadParameter(
                f"{NAME}: threshold = {self.threshold:g} is no probability",
                fix="write a number from 0 to 1; 0 fits it on the selection examples",
            )
        if self.threshold and self.max_drop != DROP:
            raise BadParameter(
                f"{NAME}: max_drop = {self.max_drop:g} says nothing to threshold = {self.threshold:g}, which "
                "is taken whatever it loses",
                fix="leave threshold out to fit it, or leave max_drop out",
            )

    def wants_selection(self) -> bool:
        """Tell whether the threshold is fitted; see Strategy.wants_selection."""
        return not self.threshold

    def state(self, before: State) -> State:
        """Return the widest integers of the two networks; see Strategy.state."""
        takes_fp32(NAME, before)
        bits = 8 if self.high == "int8" else BITS[self.low]
        return Quantized(Scheme(bits, 8, "per_channel", mixed=True))

    def apply(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Artifact:
        """Quantize on all of the calibration data, fit on all selection examples; see Strategy.apply.

        Raises:
            DoesNotFit: also where there are no examples to fit on, data is not finite, the network takes
                larger batches only, or its outputs are not one row of class scores an input.
        """
        import onnx

        from qbench.formats.artifact import Note, TensorSpec
        from qbench.formats.reference import keep_asked

        with quietly():
            network = read_network(artifact.path, COVERS, NAME)
            _one_at_a_time(artifact, network)
            finite_or_raise(calibration.inputs, NAME)
            shaped_or_raise(calibration.inputs, artifact.inputs, NAME)
            chosen = self._chosen(calibration)
            if self.low == "w4a8":
                network = raised(network, NAME, INT4_OPSET)
            ptq = Ptq(network, lambda: calibration.in_batches(BATCH), NAME)
            classes = _classes(ptq.network, chosen)
            low = ptq.quantized(_recipe(self.low)).model
            high = ptq.network if self.high == "float" else ptq.quantized(_recipe(self.high)).model
            threshold, told, confidence = self._fitted(low, high, ptq.network, chosen)
        onnx.save(cascaded(low, high, threshold), folder / "model.onnx")
        order = confidence.argsort()
        far = [*order[:2], *order[-2:]]  # whatever is near the threshold may go either way
        keep_asked(folder, {key: array[far] for key, array in chosen.inputs.items()})
        return replace(
            artifact,
            path=folder / "model.onnx",
            state=self.state(artifact.state),
            inputs=tuple(replace(spec, shape=(1, *spec.shape[1:])) for spec in artifact.inputs),
            outputs=(
                TensorSpec(network.graph.output[0].name, "float32", (1, classes)),
                TensorSpec(ESCALATED, "float32", (1,)),
            ),
            notes=(*artifact.notes, Note("cascade", told)),
        )

    def _chosen(self, calibration: Calibration) -> Selection:
        """Return the examples to fit on; where nothing is fitted, those to tell the threshold on."""
        if self.wants_selection():
            return selection_or_raise(calibration, NAME, "use ptq, which needs none")
        return Selection(calibration.data_id, calibration.inputs, specs=calibration.specs)

    def _fitted(self, low: Any, high: Any, network: Any, chosen: Selection) -> tuple[float, str, np.ndarray]:
        """Return the threshold, what it does on the selection examples, and the confidence on each."""
        first, confidence = _answers(cascaded(low, high, NEVER), chosen, (CONFIDENCE,))
        (second,) = _answers(cascaded(low, high, ALWAYS), chosen)
        wanted = second if self.high == "float" or chosen.right else _answers(network, chosen)[0]
        own, other = _right(first, chosen, wanted), _right(second, chosen, wanted)
        threshold = self.threshold or fitted(confidence, own, other, self.max_drop)
        unsure = confidence <= confidence.dtype.type(threshold)
        both = (own & ~unsure) | (other & unsure)
        shares = (
            f"{part.mean():.2%} {what}"
            for part, what in ((own, f"{self.low} alone"), (other, f"{self.high} alone"), (both, "together"))
        )
        how, split = ("fitted", "selection") if self.wants_selection() else ("fixed", "calibration")
        where = f"{unsure.mean():.2%} of {len(unsure):,} {split} examples escalated"
        told = f"threshold {threshold:.6g}, {how}; {where}; right: {', '.join(shares)}"
        return threshold, told, confidence


def _recipe(name: str) -> Recipe:
    return Recipe(WeightGrid(BITS[name], observer="mse"))


def _one_at_a_time(artifact: Artifact, network: Any) -> None:
    if any(spec.batch_axis != 0 for spec in artifact.inputs) or artifact.carried:
        raise DoesNotFit(
            f"{NAME} takes inputs whose first axis is the batch, and no state",
            fix=f"leave {NAME} out for this network",
        )
    fixed = fixed_batch(artifact.inputs)
    if fixed not in (None, 1):
        raise DoesNotFit(
            f"{NAME} decides for one input at a time, and this network takes batches of {fixed} only",
            fix="export it with a free first dimension, or with batches of 1",
        )
    names = [value.name for value in (*network.graph.output, *network.graph.input)]
    if len(network.graph.output) != 1 or ESCALATED in names:
        raise DoesNotFit(
            f"{NAME} takes a network with one output, its class scores, and no tensor {ESCALATED!r} outside; "
            f"this one gives {', '.join(value.name for value in network.graph.output)}",
            fix="export it with its class scores alone",
        )


def _classes(network: Any, chosen: Selection) -> int:
    """Return how many classes the network tells apart."""
    name = network.graph.output[0].name
    shape = dict(runner(network, [name])(chosen.call([0])))[name].shape
    if len(shape) != 2 or shape[0] != 1 or shape[1] < 2:
        raise DoesNotFit(
            f"{NAME} is for class scores, one row an input; this network gives {name} of shape {shape}",
            fix=f"leave {NAME} out for this network",
        )
    return int(shape[1])


def _answers(model: Any, chosen: Selection, beside: tuple[str, ...] = ()) -> list[np.ndarray]:
    """Return a network's scores for every example, (count, classes), and what else is named, asked singly."""
    import numpy as np

    names = [model.graph.output[0].name, *beside]
    run = runner(model, names, optimized=True)
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for row in range(len(next(iter(chosen.inputs.values())))):
        for name, array in run(chosen.call([row])):
            found[name].append(array)
    return [np.concatenate(parts) for parts in found.values()]


def _right(outputs: np.ndarray, chosen: Selection, wanted: np.ndarray) -> np.ndarray:
    """Tell which examples are right: by the task's labels, or by the float network's first answers."""
    import numpy as np

    right = chosen.right(outputs) if chosen.right else outputs.argmax(axis=1) == wanted.argmax(axis=1)
    return np.asarray(right, bool)
