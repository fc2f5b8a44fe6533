"""What each layer's rounding costs: alone, and as part of the whole.

Two questions, two answers. Before bits are chosen: how far do the answers move when this layer alone is
rounded (Cai et al. 2020, arXiv:2001.00281, section 3.1)? After: how noisy is this layer's output in the
quantized network, and which answers come back when this layer alone is put back to float?
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from qbench.folders import tell
from qbench.quant.affine import WeightGrid
from qbench.quant.between import FUSED
from qbench.quant.ptq import Ptq
from qbench.quant.qdq_layout import runner
from qbench.quant.qdq_model import QdqModel, float_name
from qbench.quant.ranges import Batch
from qbench.quant.recipe import FLOAT, Recipe, Settled

Right = Callable[[np.ndarray], np.ndarray]  # outputs (count, ...) -> per example, right or not


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that may be quantized."""

    node: str
    name: str  # of its weight, as the user knows it
    elements: int
    channels: int  # scales

    def stored_bytes(self, bits: int) -> int:
        """Return what its weight takes: codes and a scale a channel, or floats."""
        return self.elements * 4 if bits == FLOAT else -(-self.elements * bits // 8) + 4 * self.channels


@dataclass(frozen=True, slots=True)
class LayerLoss:
    """What the rounding of one layer does to the quantized network."""

    layer: Layer
    snr_db: float  # of the layer's output, against the float network's
    right: np.ndarray  # (count,), bool: which examples are right with this layer alone back in float


@dataclass(frozen=True, slots=True)
class Losses:
    """What the rounding of every layer does, in the order of the network, on the same examples."""

    right: np.ndarray  # (count,), bool: which examples the quantized network gets right
    layers: list[LayerLoss]
    judge: Literal["labels", "float"] = "float"  # right is the example's label, or what float answers


def layers_of(ptq: Ptq, recipe: Recipe) -> list[Layer]:
    """Return the layers that the recipe quantizes, in the order of the network."""
    shared: Literal["per_tensor", "per_channel"] = (
        "per_tensor" if recipe.weights.granularity == "per_tensor" else "per_channel"
    )
    plain = replace(recipe, weights=WeightGrid(granularity=shared), rounding="nearest", bias_correction=False)
    model = QdqModel(ptq.quantized(plain).model)  # whatever the recipe stores: floats have no codes to list
    found = []
    for weight in model.weights:
        node, array = ptq.weight_of(weight)
        name = node.input[weight.position].removesuffix("_folded_weight")
        found.append(Layer(node.name, name, int(array.size), int(weight.scale.size)))
    return found


def outputs_of(model: Any, batches: Iterable[Batch]) -> np.ndarray:
    """Return a model's first output for all examples, (count, ...)."""
    name = model.graph.output[0].name
    run = runner(model, [name], optimized=True)
    parts = [dict(run(batch))[name] for batch in batches]
    last = zip(parts[0].shape, parts[-1].shape, strict=True)  # the last batch may be smaller
    return np.concatenate(parts, axis=next((axis for axis, (a, b) in enumerate(last) if a != b), 0))


def moved(wanted: np.ndarray, found: np.ndarray) -> float:
    """Return how far answers moved: the mean divergence of class scores, in nats; else the relative error."""
    if wanted.ndim == 2 and wanted.shape[1] > 1:
        true, own = (_log_softmax(scores.astype("f8")) for scores in (wanted, found))
        return float((np.exp(true) * (true - own)).sum(1).mean())
    return float(((wanted - found) ** 2).mean() / (wanted.var() + 1e-30))


def alone(
    ptq: Ptq, recipe: Recipe, layers: list[Layer], bits: Iterable[int]
) -> Iterator[tuple[str, int, float]]:
    """Yield node, bits and how far the answers move when nothing but this layer is rounded to them."""
    wanted = outputs_of(ptq.network, ptq.batches())
    others = {node.name: FLOAT for node in ptq.network.graph.node if node.op_type not in FUSED}
    for number, layer in enumerate(layers):
        tell(f"sensitivity: layer {number + 1} of {len(layers)}")
        for width in bits:
            product = ptq.quantized(replace(recipe, layers=others | {layer.node: width}))
            yield layer.node, width, moved(wanted, outputs_of(product.simulated(), ptq.batches()))


def losses(ptq: Ptq, recipe: Recipe, chosen: list[Batch], right: Right) -> Losses:
    """Return every layer's noise and what is right with it in float, on examples to choose by.

    The network is quantized once. For each layer that product is compared with itself, but that this layer
    has its float weight and bias, and that what only this layer had rounded is not: no tensor is rounded for
    its sake, as where a recipe says FLOAT. All other layers keep the product's codes and biases: AdaRound
    and bias correction are not asked what they would do beside a layer in float, so they go on making up
    for the rounding that is gone.
    """
    layers = layers_of(ptq, recipe)
    whole = ptq.quantized(recipe, settled=Settled())
    simulated = whole.simulated()
    before = right(outputs_of(simulated, chosen))
    noise = snr(ptq, simulated, layers, chosen)
    found = []
    for number, layer in enumerate(layers):
        tell(f"explaining: layer {number + 1} of {len(layers)}")
        but_one = replace(recipe, layers={**recipe.layers, layer.node: FLOAT})
        kept = ptq.quantized(but_one, settled=whole.settled)
        found.append(LayerLoss(layer, noise[layer.node], right(outputs_of(kept.simulated(), chosen))))
    return Losses(before, found)


def snr(ptq: Ptq, simulated: Any, layers: list[Layer], batches: Iterable[Batch]) -> dict[str, float]:
    """Return 10 log10(signal / noise) of every layer's output, in decibels, by node.

    Where the quantized model has put a layer and the activation behind it together, their common output is
    compared: a network in float would round there too.
    """
    made = {node.name: node.output[0] for node in simulated.graph.node}
    here = {output for node in ptq.network.graph.node for output in node.output}
    pairs = {}
    for layer in layers:
        own = float_name(made[layer.node])
        if own in here:
            pairs[layer.node] = (own, made[layer.node])
    true = runner(ptq.network, list(dict.fromkeys(name for name, _ in pairs.values())), optimized=True)
    own_run = runner(simulated, list(dict.fromkeys(name for _, name in pairs.values())), optimized=True)
    signal, error = dict.fromkeys(pairs, 0.0), dict.fromkeys(pairs, 0.0)
    for batch in batches:
        wanted, found = dict(true(batch)), dict(own_run(batch))
        for node, (first, second) in pairs.items():
            # a fused Relu is still to come on one side: noise below zero goes with it
            signal[node] += float((wanted[first].astype("f8") ** 2).sum())
            error[node] += float(((wanted[first] - _clipped(wanted[first], found[second])) ** 2).sum())
    return {node: 10 * float(np.log10((signal[node] + 1e-30) / (error[node] + 1e-30))) for node in pairs}


def _clipped(wanted: np.ndarray, found: np.ndarray) -> np.ndarray:
    low, high = float(wanted.min()), float(wanted.max())
    return np.asarray(np.clip(found, low, high)) if low == 0 else found


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    shifted = scores - scores.max(1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(1, keepdims=True)))
