"""Adaptive precision: float, 8 or 4 bits for each layer, chosen under a budget."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from qbench.cases import Quantized, Scheme, State
from qbench.errors import BadParameter, DoesNotFit
from qbench.machine import machine
from qbench.quant import assign
from qbench.quant.affine import WeightGrid
from qbench.quant.between import told as told_between
from qbench.quant.compact import compact
from qbench.quant.coverage import Coverage, some_left_or_raise, uncovered
from qbench.quant.layer_times import layer_times, whole_time
from qbench.quant.onnx_layers import quietly, read_network
from qbench.quant.ptq import Ptq
from qbench.quant.ranges import finite_or_raise, shaped_or_raise
from qbench.quant.recipe import FLOAT, Product, Recipe
from qbench.quant.sensitivity import alone, layers_of, outputs_of
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

COVERS = ("Conv", "Gemm", "MatMul", "ConvTranspose")
BATCH = 32
LOOKED_AT = 128  # calibration examples that sensitivity is measured on: it is asked once a layer and width
TRIES = 7  # networks that a search for accuracy may make
ENOUGH = 0.02  # it ends when it knows the bytes to this share of the float weights
BITS = (FLOAT, 8, 4)


@STRATEGIES.register("adaptive")
@dataclass(frozen=True, slots=True)
class Adaptive(Strategy):
    """Sensitivity of every layer, then bits by integer programming.

    budget: what `limit` is a share of. bytes: the float weights' bytes. latency: the float layers' time on
    this processor, by onnxruntime's profiler. accuracy: what may be lost on the selection split; the fewest
    bytes that keep within it are searched for, and the search ends early.
    assign: how bits are chosen; random (by seed) and largest are what the program is held against.
    float_layers: whether a layer may stay in float. Not for random and largest, which choose between 8 and 4
    bits as the uniform networks do.
    bias_correction: of the network that comes out.
    operators: the only kinds of operator that are quantized, with commas between ("Conv,MatMul,Gemm"); a Relu
        or Clip behind one goes with it. Empty: layers, and what the engine has integer kernels for.
    keep_float: layers that stay in float, with commas between: names of nodes, of outputs or of weights.
    """

    about: ClassVar[str] = "float, 8 or 4 bits layer by layer, under a budget of bytes, latency or accuracy"
    source: ClassVar[str] = (
        "HAWQ-V3, Yao et al. 2021, arXiv:2011.10680, section 3.4; ZeroQ, arXiv:2001.00281, section 3.1; "
        "scipy.optimize.milp"
    )
    routes: ClassVar[tuple[Route, ...]] = (
        Route("onnx", "onnx", "scipy onnxruntime-gpu onnxruntime onnx numpy torch"),
    )
    needs_calibration: ClassVar[bool] = True
    needs_selection: ClassVar[bool] = True

    budget: Literal["bytes", "latency", "accuracy"] = "bytes"
    limit: float = 0.1875
    assign: Literal["milp", "random", "largest"] = "milp"
    seed: int = 0
    float_layers: bool = True
    bias_correction: bool = False
    operators: str = ""
    keep_float: str = ""

    def __post_init__(self) -> None:
        """Check the parameters."""
        self.coverage()
        known: dict[str, tuple[str, ...]] = {
            "budget": ("bytes", "latency", "accuracy"),
            "assign": ("milp", "random", "largest"),
        }
        for name, words in known.items():
            if getattr(self, name) not in words:
                raise BadParameter(
                    f"adaptive has no {name} {getattr(self, name)!r}",
                    fix=f"write {name} = {' or '.join(json.dumps(word) for word in words)}",
                )
        if not 0 < self.limit < 1:
            raise BadParameter(
                f"adaptive: limit = {self.limit:g} is no share between 0 and 1",
                fix="write limit = 0.1875 for six bits a weight on average, or 0.01 of budget accuracy",
            )
        if self.assign != "milp" and self.budget != "bytes":
            raise BadParameter(
                f'adaptive: assign = "{self.assign}" is compared at equal bytes, not by {self.budget}',
                fix='write budget = "bytes", or assign = "milp"',
            )
        if self.seed and self.assign != "random":
            raise BadParameter(
                f'adaptive: seed = {self.seed} says nothing to assign = "{self.assign}", which draws no lot',
                fix='write assign = "random" beside it, or leave seed out',
            )
        if not self.float_layers and self.assign != "milp":
            raise BadParameter(
                f'adaptive: float_layers = false says nothing to assign = "{self.assign}", which leaves '
                "no layer in float",
                fix='write assign = "milp" beside it, or leave float_layers out',
            )

    def wants_selection(self) -> bool:
        """Tell whether it searches by accuracy; see Strategy.wants_selection."""
        return self.budget == "accuracy"

    def bakes(self) -> str:
        """Name the processor whose times decide, where they do; see Strategy.bakes."""
        if self.budget != "latency":
            return ""
        here = machine()
        return " ".join((here.architecture, here.processor, *sorted(here.midr), *sorted(here.features)))

    def state(self, before: State) -> State:
        """Return the widest of several bits; see Strategy.state."""
        takes_fp32("adaptive", before)
        return Quantized(Scheme(8, 8, "per_channel", mixed=True))

    def apply(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Artifact:
        """Measure, choose, quantize; see Strategy.apply.

        Raises:
            DoesNotFit: also where the budget is below the cheapest choice, or no layer is left to quantize.
        """
        import onnx

        with quietly():
            covers = self.coverage().layers(COVERS)
            network = read_network(artifact.path, covers, "adaptive")
            finite_or_raise(calibration.inputs, "adaptive")
            shaped_or_raise(calibration.inputs, artifact.inputs, "adaptive")
            chooser = _Chooser(self, network, calibration)
            some_left_or_raise(network, covers, chooser.ptq.kept, "adaptive")
            chosen, product = chooser.searched() if self.budget == "accuracy" else chooser.within()
        if all(bits == FLOAT for bits in chosen.values()):
            raise DoesNotFit(
                "adaptive: within this budget every layer stays in float", fix="lower limit, or take fp32"
            )
        path = folder / "model.onnx"
        onnx.save(compact(product.model), path)
        state = self.state(artifact.state)
        return replace(artifact, path=path, state=state, notes=(*artifact.notes, *chooser.notes(chosen)))

    def coverage(self) -> Coverage:
        """Return what may be quantized at all."""
        return Coverage.read("adaptive", COVERS, self.operators, self.keep_float)

    def about_s(self, examples: int) -> float:  # noqa: ARG002
        """Return about how long it takes: sensitivity asks twice a layer; see Strategy.about_s."""
        return 25.0 if self.assign == "milp" else 3.0


class _Chooser:
    """A network, what its layers cost and harm, and the choice."""

    def __init__(self, wanted: Adaptive, network: Any, calibration: Calibration) -> None:
        self.wanted, self.calibration = wanted, calibration
        self.ptq = Ptq(network, lambda: calibration.in_batches(BATCH), "adaptive", wanted.coverage())
        self.recipe = Recipe(WeightGrid(8, observer="mse"))
        self.layers = layers_of(self.ptq, self.recipe)
        self.whole = sum(layer.stored_bytes(FLOAT) for layer in self.layers)
        self.tried: list[str] = []
        self.harm: assign.Costs = {}

    @property
    def bits(self) -> tuple[int, ...]:
        """Return the widths that a layer may have."""
        plain = self.wanted.assign != "milp" or not self.wanted.float_layers
        return BITS[1:] if plain else BITS

    def within(self) -> tuple[dict[str, int], Product]:
        """Return the choice under a budget of bytes or time, and its network."""
        if self.wanted.budget == "latency":
            cost, whole = self._seconds()
        else:
            cost, whole = self._bytes(), self.whole
        budget = self.wanted.limit * whole
        if self.wanted.assign == "random":
            chosen = assign.at_random(cost, budget, self.wanted.seed)
        elif self.wanted.assign == "largest":
            chosen = assign.largest_first(cost, budget)
        else:
            chosen = assign.best(self._harm(), cost, budget)
        product = self._made(chosen)
        if self.wanted.budget == "latency":  # borders between float and integers are in no layer's time
            one = next(self.calibration.in_batches(1))
            own, float_s = whole_time(product.model, one), whole_time(self.ptq.network, one)
            self.tried.append(f"{own * 1e6:.0f} us of all kernels, {own / float_s:.2f} of float's")
        return chosen, product

    def searched(self) -> tuple[dict[str, int], Product]:
        """Return the fewest bytes that lose no more than is allowed, on the selection split."""
        cost = self._bytes()
        selection = selection_or_raise(self.calibration, "adaptive", 'write budget = "bytes"')
        batches = list(_batches(selection, self.calibration.fixed_batch))
        answers = outputs_of(self.ptq.network, batches)
        if not selection.right and answers.shape[-1] < 2:
            raise DoesNotFit(
                "adaptive searches by accuracy, and this network's outputs are no class scores",
                fix='write budget = "bytes"',
            )
        right = selection.right or (lambda outputs: outputs.argmax(-1) == answers.argmax(-1))
        before = right(answers).mean()
        low = sum(min(choices.values()) for choices in cost.values()) / self.whole
        high, best = 1.0, None
        share = low
        for _ in range(TRIES):
            chosen = assign.best(self._harm(), cost, share * self.whole)
            product = self._made(chosen)
            lost = before - right(outputs_of(product.simulated(), batches)).mean()
            self.tried.append(f"{share:.3f} of the bytes: {100 * lost:+.2f} points lost")
            if lost <= self.wanted.limit:
                high, best = share, (chosen, product)
            else:
                low = share
            if high - low < ENOUGH or (best and share == low):
                break
            share = (low + high) / 2 if best else min(2 * share, (share + 1) / 2)
        if best is None:
            raise DoesNotFit(
                f"adaptive: no network of {len(self.tried)} lost {100 * self.wanted.limit:g} points or less "
                f"({'; '.join(self.tried)})",
                fix="allow more to be lost, or train: qat",
            )
        return best

    def notes(self, chosen: dict[str, int]) -> Iterator[Any]:
        """Yield what was chosen, in words."""
        from qbench.formats.artifact import Note

        in_float = self.ptq.kept | uncovered(self.ptq.network, self.wanted.coverage().layers(COVERS))
        between = told_between(self.ptq.between(self.recipe))
        yield from (Note(*told) for told in (*in_float.notes(), *between, *self.ptq.masks.notes()))
        words = {FLOAT: "float", 8: "8 bits", 4: "4 bits"}
        for bits, word in words.items():
            names = [layer.name for layer in self.layers if chosen[layer.node] == bits]
            if names:
                yield Note(f"layers in {word}", f"{len(names)}: {', '.join(names)}")
        spent = sum(layer.stored_bytes(chosen[layer.node]) for layer in self.layers)
        yield Note("bytes of all layers", f"{spent} of {self.whole} in float, {spent / self.whole:.3f}")
        if self.tried:
            what = "measured whole" if self.wanted.budget == "latency" else "searched"
            yield Note(what, "; ".join(self.tried))

    def _harm(self) -> assign.Costs:
        """Return by node and bits how far the answers move; float moves nothing."""
        if not self.harm:
            fixed = self.calibration.fixed_batch or 1
            few = replace_inputs(self.calibration, -(-LOOKED_AT // fixed) * fixed)
            some = self.ptq.looking_at(lambda: few.in_batches(BATCH))
            found: dict[str, dict[int, float]] = {layer.node: {} for layer in self.layers}
            for node, bits, moved in alone(some, self.recipe, self.layers, BITS[1:]):
                found[node][bits] = max(moved, 0.0)
            for choices in found.values():
                if FLOAT in self.bits:
                    choices[FLOAT] = 0.0
            self.harm = found
        return self.harm

    def _bytes(self) -> dict[str, dict[int, float]]:
        return {one.node: {bits: float(one.stored_bytes(bits)) for bits in self.bits} for one in self.layers}

    def _seconds(self) -> tuple[dict[str, dict[int, float]], float]:
        """Return by node and bits the time of a call on this processor, and the float network's.

        Weights of 4 bits are widened when the file is loaded: their time is that of 8.
        """
        one = next(self.calibration.in_batches(1))
        names = [layer.node for layer in self.layers]
        in_float = layer_times(self.ptq.network, one, names)
        in_int8 = layer_times(self.ptq.quantized(self.recipe).model, one, names)
        cost = {}
        for layer in self.layers:
            times = {FLOAT: in_float[layer.node], 8: in_int8[layer.node], 4: in_int8[layer.node]}
            cost[layer.node] = {bits: times[bits] for bits in self.bits}
        return cost, sum(in_float[layer.node] for layer in self.layers)

    def _made(self, chosen: dict[str, int]) -> Product:
        recipe = replace(self.recipe, layers=chosen, bias_correction=self.wanted.bias_correction)
        return self.ptq.quantized(recipe)


def replace_inputs(calibration: Calibration, count: int) -> Calibration:
    """Return the first so many calibration examples."""
    return replace(calibration, inputs={name: array[:count] for name, array in calibration.inputs.items()})


def _batches(selection: Selection, fixed: int | None) -> Iterator[dict[str, np.ndarray]]:
    data = Calibration(selection.data_id, selection.inputs, fixed, specs=selection.specs)
    yield from data.in_batches(BATCH)
