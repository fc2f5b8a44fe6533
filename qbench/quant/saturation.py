"""How often 8-bit dot products would saturate on x86 without VNNI.

There, kernels multiply unsigned activations with signed weights by VPMADDUBSW (Intel SDM volume 2): two
neighbouring products are added into 16 bits, and a sum beyond 32,767 or below -32,768 is cut off there. With
activations up to 255 and weights up to 127 one sum can be 64,770. VNNI adds four products into 32 bits.

Assumed is that neighbours along the reduction axis are paired: (0, 1), (2, 3), ... of a matrix product's
inner axis, and of a convolution's channels at each kernel position, channels last. That is how the kernels
of the engines for matrix products pack weights; each kernel decides for itself, so the share found is an
estimate for such a machine and no measurement on one. Signed activations are counted as these kernels take
them, 128 added. Depthwise convolutions are not counted: they have kernels of their own, which widen before
they add, and one product alone always fits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from qbench.quant.products import as_matrix, fact, windows
from qbench.quant.qdq_graph import OnnxGraph

NOTE = "saturation on x86 without VNNI"  # the name of the note in an artifact
LEAST, GREATEST, CODES = -(2**15), 2**15 - 1, 255
SAFE = GREATEST // CODES  # 128: weights of one sign that add up to no more never saturate
TOGETHER = 4096  # pairs at a time, which bounds memory


@dataclass(frozen=True, slots=True)
class Layer:
    """A Conv, Gemm or MatMul with stored 8-bit weights and 8-bit activations, in a QDQ graph."""

    node: Any
    codes: str  # name of the tensor of activation codes
    signed: bool  # those codes are int8
    zero: int  # their zero point
    weight: np.ndarray  # int8, as stored


@dataclass(frozen=True, slots=True)
class Saturation:
    """What was found, over all layers."""

    share: float  # of all pair sums of one inference
    saturating: int  # layers with at least one such sum
    layers: int  # layers looked at
    skipped: int = 0  # layers whose form is not known here

    def __str__(self) -> str:
        """Write it as the record does."""
        beyond = f" ({self.skipped} more not looked at)" if self.skipped else ""
        share = f"{100 * self.share:.3f}" if not 0 < self.share < 5e-6 else "under 0.001"
        return f"{share} % of pair sums in {self.saturating} of {self.layers} layers{beyond}"


def layers_of(model: Any) -> list[Layer]:
    """Return the layers of a QDQ model that multiply stored 8-bit weights with 8-bit activations."""
    from onnx import numpy_helper

    graph = OnnxGraph(model)

    def behind(name: str) -> tuple[str, np.ndarray] | None:
        node = graph.maker.get(name)
        if node is None or node.op_type != "DequantizeLinear" or len(node.input) < 3:
            return None
        return node.input[0], numpy_helper.to_array(graph.stored[node.input[2]])

    layers = []
    for node in graph.nodes:
        sides = [behind(name) for name in node.input[:2]]
        if node.op_type not in ("Conv", "Gemm", "MatMul") or None in sides:
            continue
        (codes, zero), (weight, _) = (side for side in sides if side is not None)
        if weight not in graph.stored or codes in graph.stored or zero.dtype.itemsize != 1:
            continue
        stored = numpy_helper.to_array(graph.stored[weight])
        if stored.dtype == np.int8:
            layers.append(Layer(node, codes, zero.dtype == np.int8, int(zero.reshape(-1)[0]), stored))
    return layers


def saturation(layers: list[Layer], codes: dict[str, np.ndarray]) -> Saturation:
    """Return how many pair sums would saturate on these activations, (examples, ...) each, by tensor name."""
    cut, work, saturating, looked, skipped = 0.0, 0.0, 0, 0, 0
    for layer in layers:
        if depthwise(layer):
            continue
        given = codes[layer.codes]
        lifted = given.view(np.uint8) ^ 128 if layer.signed else given
        found = _products(layer, lifted)
        if found is None:
            skipped += 1
            continue
        looked += 1
        counts = [saturated(rows, weight) for rows, weight in found.groups]
        pairs = sum(weight.shape[1] * _pairs(weight.shape[0]) for _, weight in found.groups)
        share = sum(counts) / (len(found.groups[0][0]) * pairs)
        cut, work = cut + share * pairs * found.positions, work + pairs * found.positions
        saturating += share > 0
    return Saturation(cut / work if work else 0.0, saturating, looked, skipped)


def saturated(rows: np.ndarray, weight: np.ndarray) -> int:
    """Return how many pair sums are beyond 16 bits, for uint8 rows (n, k) and an int8 weight (k, outputs)."""
    if len(weight) % 2:  # the last one is paired with nothing
        rows = np.pad(rows, ((0, 0), (0, 1)))
        weight = np.pad(weight, ((0, 1), (0, 0)))
    first, second = weight[0::2].astype(np.int32), weight[1::2].astype(np.int32)
    up = np.maximum(first, 0) + np.maximum(second, 0)
    down = np.minimum(first, 0) + np.minimum(second, 0)
    pair, output = np.nonzero((up > SAFE) | (down < -SAFE))  # a bound by the weights alone: few are left
    found = 0
    for start in range(0, len(pair), TOGETHER):
        some = slice(start, start + TOGETHER)
        at, to = pair[some], output[some]
        sums = rows[:, 2 * at].astype(np.int32) * first[at, to] + rows[:, 2 * at + 1] * second[at, to]
        found += int(((sums > GREATEST) | (sums < LEAST)).sum())
    return found


def depthwise(layer: Layer) -> bool:
    """Say whether this is a convolution with one input channel a group."""
    return layer.node.op_type == "Conv" and layer.weight.shape[1] == 1 and fact(layer.node, "group", 1) > 1


@dataclass(frozen=True, slots=True)
class _Found:
    """A layer as matrix products: for each group, rows (n, k) of codes and a weight (k, outputs)."""

    groups: list[tuple[np.ndarray, np.ndarray]]
    positions: int  # rows in all; n of them are looked at


def _products(layer: Layer, codes: np.ndarray) -> _Found | None:
    """Return the layer as matrix products, kernel positions outermost and channels innermost."""
    zero = layer.zero + (128 if layer.signed else 0)
    seen = windows(layer.node, layer.weight.shape, codes, zero)
    if seen is None:
        return None
    count, rows = seen.values.shape[:2]
    given = np.moveaxis(seen.values, 2, 3).reshape(count, rows, -1)
    if layer.node.op_type == "Conv":
        taps = layer.weight.reshape(count, len(layer.weight) // count, layer.weight.shape[1], -1)
        weight = np.moveaxis(taps, 2, 3).reshape(count, taps.shape[1], -1)
    else:
        weight = as_matrix(layer.node, layer.weight)[None]
    return _Found([(part, own.T) for part, own in zip(given, weight, strict=True)], seen.positions)


def _pairs(length: int) -> int:
    return -(-length // 2)
