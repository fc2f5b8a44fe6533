"""Post-training quantization of a float ONNX network, layer by layer, into a QDQ model.

Activations come first: their ranges are those of the float network. Then every weight in the order of the
network, so that each layer is rounded for the inputs that the layers before it, rounded already, really give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from qbench.quant.adaround import adaround
from qbench.quant.affine import Coded, WeightGrid, activation_scale, nearest, scales
from qbench.quant.biases import BIASED
from qbench.quant.coverage import Coverage, InFloat, named
from qbench.quant.layer_inputs import LayerInputs
from qbench.quant.learned_scales import rescale, widest
from qbench.quant.masks import Masks
from qbench.quant.moments import Moments, shift
from qbench.quant.observers import Histogram, Range
from qbench.quant.onnx_layers import raised
from qbench.quant.products import as_matrix, from_matrix
from qbench.quant.qdq_graph import ONNX_MACS, copied
from qbench.quant.qdq_layout import Layout, prepare, runner
from qbench.quant.qdq_model import INT4_OPSET, QdqModel, StoredWeight, float_name
from qbench.quant.ranges import Batch, extents, histograms
from qbench.quant.recipe import ENDS, FLOAT, IN_FLOAT, WIDE, Product, Recipe, Scales, Settled, observed

FITS = 2**30  # the greatest code of a bias: half of what 32 bits hold, so that it can be corrected


class Ptq:
    """A float network with what was seen of its activations; quantized as often as one likes."""

    def __init__(
        self,
        network: Any,
        batches: Callable[[], Iterable[Batch]],
        technique: str,
        coverage: Coverage | None = None,
    ) -> None:
        """Put the network in the form that is quantized; see `prepare`. The network given is changed.

        Raises:
            DoesNotFit: `coverage` keeps a layer in float that is not there.
        """
        prepare(network)
        self.coverage = coverage or Coverage()
        self.kept: InFloat = self.coverage.kept(network, technique)
        self.network, self.batches, self.technique = network, batches, technique
        self._ranged = batches
        self.nodes = {node.name: node for node in network.graph.node}
        self._seen: dict[str, Histogram] = {}
        self._inputs = LayerInputs()
        self.masks = Masks.of(network)
        self._with_int4: Any = None  # the network in the first operator set that has 4 bits, once asked for

    def trained(self, network: Any) -> Ptq:
        """Return the same with other weights: a network of the same nodes, which takes the same ranges."""
        other = Ptq(network, self.batches, self.technique, self.coverage)
        other._seen, other._ranged = self._seen, self._ranged
        return other

    def looking_at(self, batches: Callable[[], Iterable[Batch]]) -> Ptq:
        """Return the same network and ranges with other examples to compare answers on."""
        other = Ptq(copied(self.network), batches, self.technique, self.coverage)
        other._seen, other._ranged = self._seen, self._ranged
        return other

    def quantized(
        self, recipe: Recipe, learned: Scales | None = None, settled: Settled | None = None
    ) -> Product:
        """Return the network in the recipe's integers, with the scales that were learned.

        settled: codes and biases that are taken as they are, whatever the recipe would make of them; those
        that it lacks are added to it. Nothing is kept where it is left out: it is as large as the network.

        Raises:
            DoesNotFit: calibration data makes numbers that are none.
        """
        layout = self._layout(recipe)
        network = layout.raised(self._in_types_for(recipe))
        ranges = self._ranges(network, layout, recipe)
        model = QdqModel(layout.written(network, ranges))
        ends = self.ends if recipe.keep_ends else set()
        narrow = self._narrow(model, recipe, ranges, ends)
        done = Product(
            model.model,
            narrow,
            layers=len(model.weights),
            ends=sum(w.node.name in ends for w in model.weights) if recipe.weights.bits < ENDS else 0,
            settled=settled,
            wide=len(model.activations) - len(narrow) if recipe.activation_bits < WIDE else 0,
        )
        if learned:
            rescale(model, learned, self.widest(model, narrow))
        if recipe.activation_bits == IN_FLOAT:
            done = replace(done, in_float=copied(self.network))
        counts = [
            self._round(model, weight, self._grid(weight, recipe, ends), recipe, done, learned)
            for weight in model.weights
        ]
        corrected, by_adaround = (sum(found) for found in zip(*counts, strict=True)) if counts else (0, 0)
        return replace(done, corrected=corrected, learned=by_adaround)

    def _in_types_for(self, recipe: Recipe) -> Any:
        """Return a copy of the network in an operator set that can store the recipe's weights.

        Raises:
            DoesNotFit: it cannot be raised to it.
        """
        if 4 not in (recipe.weights.bits, *recipe.layers.values()):
            return copied(self.network)
        if self._with_int4 is None:
            self._with_int4 = raised(self.network, self.technique, INT4_OPSET)
            named(self._with_int4)  # a conversion may put nodes between those that have names
        return copied(self._with_int4)

    def weight_of(self, weight: StoredWeight) -> tuple[Any, np.ndarray]:
        """Return the float network's node for a stored weight, and its weight."""
        from onnx import numpy_helper

        node = self.nodes[weight.node.name]
        stored = {tensor.name: tensor for tensor in self.network.graph.initializer}
        return node, np.asarray(numpy_helper.to_array(stored[node.input[weight.position]]))

    def between(self, recipe: Recipe) -> InFloat:
        """Return the operators between layers that stay in float."""
        return self._layout(recipe).between(self.network)

    # --- activations ------------------------------------------------------------------------------------

    def _layout(self, recipe: Recipe) -> Layout:
        chosen = [name for name, bits in recipe.layers.items() if bits == FLOAT]
        return Layout(
            recipe.scheme,
            symmetric=recipe.symmetric,
            activation_bits=16 if recipe.activation_bits == 16 else 8,
            per_channel=recipe.weights.granularity != "per_tensor",
            kept=(*chosen, *self.kept.nodes),
            operators=self.coverage.operators,
        )

    def _ranges(self, network: Any, layout: Layout, recipe: Recipe) -> dict[str, Range]:
        names = layout.rounded(network)
        unseen = [name for name in names if name not in self._seen]
        if unseen:
            outputs = set(layout.watched(network)) - set(names)
            run = self.masks.left_out(runner(self.network, [*unseen, *outputs]))
            found = extents(run, self._ranged(), self.technique)
            within = {name: found[name] for name in unseen}
            run = self.masks.left_out(runner(self.network, unseen))
            self._seen |= histograms(run, self._ranged(), within)
        return {name: observed(self._seen[name], recipe) for name in names}

    def _narrow(
        self, model: QdqModel, recipe: Recipe, ranges: dict[str, Range], ends: set[str]
    ) -> dict[str, int]:
        """Give activations their few bits; inputs, outputs and what the ends read keep the file's width.

        So does what has its scale in common with one of these: a Reshape's two sides, say.
        """
        if recipe.activation_bits >= WIDE:
            return {}
        outside = {value.name for value in (*model.model.graph.input, *model.model.graph.output)}
        outside |= {self.nodes[name].input[0] for name in ends}
        wide = {a.node.input[1] for a in model.activations if float_name(a.tensor) in outside}
        known = [a for a in model.activations if float_name(a.tensor) in ranges]
        narrow = {}
        for activation, is_wide in [(a, a.node.input[1] in wide) for a in known]:
            bits = WIDE if is_wide else recipe.activation_bits
            seen = observed(self._seen[float_name(activation.tensor)], replace(recipe, activation_bits=bits))
            model.set_activation(activation, *activation_scale(*seen, bits))
            if not is_wide:
                narrow[activation.tensor] = bits
        return narrow

    def widest(self, model: QdqModel, narrow: dict[str, int]) -> dict[str, float]:
        """Return what a learned scale may not exceed; see learned_scales.widest."""
        return widest(self.nodes, self._seen, model, narrow)

    @property
    def ends(self) -> set[str]:
        """Return the first and the last layer's nodes, of the float network: whichever are quantized."""
        stored = {tensor.name for tensor in self.network.graph.initializer}
        layers = []
        for node in self.network.graph.node:
            places = ONNX_MACS.get(node.op_type, ((), ()))[0]
            if any(name in stored for at, name in enumerate(node.input) if at in places):
                layers.append(node.name)
        return set(layers[:1] + layers[-1:])

    # --- weights ------------------------------------------------------------------------------------------

    @staticmethod
    def _grid(weight: StoredWeight, recipe: Recipe, ends: set[str]) -> WeightGrid:
        name = weight.node.name
        bits = ENDS if name in ends else recipe.layers.get(name, recipe.weights.bits)
        grid = replace(recipe.weights, bits=bits)
        if weight.axis is None and grid.granularity == "per_channel":
            return replace(grid, granularity="per_tensor")  # the layout has one scale here
        return grid

    def _round(
        self,
        model: QdqModel,
        weight: StoredWeight,
        grid: WeightGrid,
        recipe: Recipe,
        done: Product,
        learned: Scales | None,
    ) -> tuple[int, bool]:
        """Round a weight for the first node that takes it, or take what is settled.

        Returns:
            How many biases were corrected, and whether its rounding was learned, here.
        """
        node, array = self.weight_of(weight)
        matrix = as_matrix(node, array)
        users = [replace(weight, node=user) for user in model.users(weight)]
        settled = done.settled or Settled()
        correct = recipe.bias_correction and node.op_type in BIASED
        seen: Moments | None = None
        coded = settled.codes.get(node.name)
        if coded is None:
            coded = nearest(matrix, grid, self._scale(model, users, matrix, grid, learned))
            if recipe.rounding == "adaround" or correct:
                seen = self._inputs.moments(model, weight, self, done)
            if seen is not None and recipe.rounding == "adaround":
                coded = adaround(matrix, coded, grid, seen.centred if correct else seen)
        self._write(model, weight, node, array, coded, grid)
        rounded, corrected = from_matrix(node, coded.restored, array.shape), 0
        for user in users:
            own, user.scale = self.nodes[user.node.name], weight.scale
            settled.codes[own.name] = coded
            if own.name not in settled.biases:
                of = (
                    seen
                    if own is node
                    else self._inputs.moments(model, user, self, done)
                    if correct
                    else None
                )
                moved = shift(own, array, rounded, of) if of is not None and correct else None
                settled.biases[own.name] = _sum(self._bias(own, len(matrix)), moved)
                corrected += moved is not None
            bias = settled.biases[own.name]
            if bias is not None:
                model.set_bias(user, bias)
            if done.in_float is not None:
                _put(done.in_float, own, weight.position, rounded, bias)
        return corrected, seen is not None and recipe.rounding == "adaround"

    def _scale(
        self,
        model: QdqModel,
        users: list[StoredWeight],
        matrix: np.ndarray,
        grid: WeightGrid,
        learned: Scales | None,
    ) -> np.ndarray | None:
        """Return the steps of a weight that is stored in integers.

        A bias is in steps of the product's: where a channel has next to no weights, they must not be so small
        that 32 bits cannot hold it.
        """
        if not _stored_in_codes(grid):
            return None
        names = [user.node.name for user in users]
        given = learned.weights.get(names[0]) if learned else None
        scale = scales(matrix, grid)[0] if given is None else given
        for user in users:
            bias, step = self._bias(self.nodes[user.node.name], len(matrix)), model.input_scale(user.node)
            if bias is not None and step is not None:
                least = np.abs(bias)[:, None] / (step * FITS)
                scale = np.maximum(scale, least if len(scale) > 1 else least.max()).astype("f4")
        return scale

    @staticmethod
    def _write(
        model: QdqModel, weight: StoredWeight, node: Any, array: np.ndarray, coded: Coded, grid: WeightGrid
    ) -> None:
        if _stored_in_codes(grid):
            codes = from_matrix(node, coded.codes, array.shape)
            model.set_weight(weight, codes, coded.scale.reshape(-1), grid.bits)
        else:
            model.set_float(weight, from_matrix(node, coded.restored, array.shape))

    def _bias(self, node: Any, channels: int) -> np.ndarray | None:
        from onnx import numpy_helper

        if node.op_type not in BIASED or len(node.input) < 3 or not node.input[2]:
            return None
        stored = {tensor.name: tensor for tensor in self.network.graph.initializer}
        if node.input[2] not in stored:
            return None  # computed: it stays as it is
        return np.broadcast_to(numpy_helper.to_array(stored[node.input[2]]).reshape(-1), (channels,))


def _sum(bias: np.ndarray | None, moved: np.ndarray | None) -> np.ndarray | None:
    """Return a bias with what is added to it; None where there is neither."""
    if moved is None:
        return bias
    return np.asarray((0.0 if bias is None else bias) + moved)


def _stored_in_codes(grid: WeightGrid) -> bool:
    return grid.symmetric and grid.granularity != "per_group"


def _put(network: Any, like: Any, position: int, weight: np.ndarray, bias: np.ndarray | None) -> None:
    """Give the node of this name another weight and bias, under names that no other node uses."""
    from onnx import numpy_helper

    node = next(node for node in network.graph.node if node.name == like.name)
    parts = {position: weight} | ({} if bias is None else {2: np.asarray(bias)})
    for place, array in parts.items():
        name = f"{like.name}_rounded_{place}"
        network.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array, "f4"), name))
        if place < len(node.input):
            node.input[place] = name
        else:
            node.input.append(name)
