"""Single weights that become 0: the smallest ones, or the smallest of every few neighbours.

The file keeps its size, because zeros are stored like other numbers; what it gains is a smaller compressed
size, and kernels for sparse weights where an engine has them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from qbench.errors import DoesNotFit
from qbench.quant.products import fact
from qbench.quant.qdq_graph import ONNX_MACS
from qbench.quant.weight_rows import as_rows

Masks = dict[str, np.ndarray]  # by the weight's name, in its shape: True where it stays
MOST_NAMED = 32  # no larger m is proposed


@dataclass(frozen=True, slots=True)
class Prunable:
    """A stored weight, and the node that multiplies with it."""

    node: Any
    position: int  # among the node's inputs
    name: str
    array: np.ndarray


@dataclass(frozen=True, slots=True)
class Layers:
    """What can be pruned, and how many layers are left alone for having nine weights a channel."""

    found: tuple[Prunable, ...]
    depthwise: int

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """Return the weights by name."""
        return {layer.name: layer.array for layer in self.found}


def prunable(model: Any, covers: tuple[str, ...], technique: str) -> Layers:
    """Return the weights of these operators, in order, each once; biases are none.

    Depthwise convolutions are left alone: few weights, and much of the accuracy (Zhu and Gupta 2017,
    arXiv:1710.01878, leave them out for MobileNets too).

    Raises:
        DoesNotFit: there is no such weight, or one holds NaN or an infinite number.
    """
    found: dict[str, Prunable] = {}
    depthwise = 0
    for layer in _weights(model, covers):
        if _depthwise(layer):
            depthwise += 1
        elif layer.name not in found:
            finite_or_raise(technique, layer.name, layer.array)
            found[layer.name] = layer
    if not found:
        raise DoesNotFit(
            f"{technique} covers stored 32-bit weights of {', '.join(covers)}, depthwise ones left out; "
            f"this network has none (found: {kinds_in(model)})",
            fix=f"leave {technique} out for this network",
        )
    return Layers(tuple(found.values()), depthwise)


def _weights(model: Any, covers: tuple[str, ...]) -> Iterator[Prunable]:
    from onnx import TensorProto, numpy_helper

    stored = {t.name: t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT}
    for node in model.graph.node:
        for position in ONNX_MACS[node.op_type][0] if node.op_type in covers else ():
            name = node.input[position]
            if name in stored:
                yield Prunable(node, position, name, numpy_helper.to_array(stored[name]))


def _depthwise(layer: Prunable) -> bool:
    return layer.node.op_type == "Conv" and fact(layer.node, "group", 1) > 1 and layer.array.shape[1] == 1


def finite_or_raise(technique: str, name: str, array: np.ndarray) -> None:
    """Check a weight before it is ranked.

    Raises:
        DoesNotFit: it holds NaN or an infinite number.
    """
    bad = int(array.size - np.isfinite(array).sum())
    if bad:
        raise DoesNotFit(
            f"{technique} cannot rank {name!r}: {bad} of its {array.size} elements are NaN or infinite",
            fix="train the network again, or repair its weights; they are broken in 32-bit float already",
        )


def kinds_in(model: Any) -> str:
    """Return the operators of a network in words, the commonest first."""
    found = Counter(node.op_type for node in model.graph.node)
    return ", ".join(f"{kind} x{count}" for kind, count in found.most_common()) or "nothing"


def smallest_go(weights: dict[str, np.ndarray], sparsity: float, *, together: bool) -> Masks:
    """Return which weights stay when this share of them, the smallest in magnitude, becomes 0.

    Rounded down to whole weights. together: ranked over all layers; the largest weight of every layer stays
    all the same, so that no layer is cut off. Of equal ones the earlier goes.

    Source:
        Han et al. 2015, arXiv:1506.02626, section 3: weights below a threshold are removed.
    """
    if not together:
        return {name: _largest(np.abs(array), sparsity) for name, array in weights.items()}
    ranks = []
    for array in weights.values():
        magnitude = np.abs(array).reshape(-1)
        magnitude[magnitude.argmax()] = np.inf
        ranks.append(magnitude)
    stays = _largest(np.concatenate(ranks), sparsity, most=sum(map(len, ranks)) - len(ranks))
    ends = np.cumsum([len(rank) for rank in ranks])[:-1]
    parts = zip(weights.items(), np.split(stays, ends), strict=True)
    return {name: part.reshape(array.shape) for (name, array), part in parts}


def _largest(magnitude: np.ndarray, sparsity: float, most: int | None = None) -> np.ndarray:
    """Return where the largest are; `most` bounds how many go."""
    count = int(sparsity * magnitude.size + 1e-9)  # 0.29 * 100 is 28.999...
    count = count if most is None else min(count, most)
    stays = np.ones(magnitude.size, bool)
    stays[np.argsort(magnitude.reshape(-1), kind="stable")[:count]] = False
    return stays.reshape(magnitude.shape)


def row_length(layer: Prunable) -> int:
    """Return how many neighbours a weight has along the axis it is summed over: channels, or a row."""
    if layer.node.op_type == "Conv":
        return layer.array.shape[1]
    return as_rows(layer.node, layer.position, layer.array)[0].shape[1]


def n_of_m(layer: Prunable, n: int, m: int) -> np.ndarray:
    """Return which weights stay when of every m neighbours the n largest in magnitude do.

    Neighbours lie along the axis that is summed over: input channels at one kernel position of a convolution
    (kernels read them with the channels last), a row of a matrix product. m divides it; of equal ones the
    earlier stays.

    Source:
        Mishra et al. 2021, arXiv:2104.08378, section 3: with 2:4, two of every four values are zero.
    """
    if layer.node.op_type == "Conv":
        last = np.moveaxis(layer.array, 1, -1)
        return np.moveaxis(_n_largest(last, n, m), -1, 1)
    rows, back = as_rows(layer.node, layer.position, layer.array)
    return back(_n_largest(rows, n, m))


def _n_largest(array: np.ndarray, n: int, m: int) -> np.ndarray:
    some = np.abs(array).reshape(-1, m)
    order = np.argsort(-some, axis=1, kind="stable")
    stays = np.zeros(some.shape, bool)
    np.put_along_axis(stays, order[:, :n], True, axis=1)
    return stays.reshape(array.shape)


def divided(layers: Layers, n: int, m: int, technique: str) -> tuple[list[Prunable], list[Prunable]]:
    """Return the layers whose rows m divides, and the others.

    Raises:
        DoesNotFit: there is none of the first; every m that would work is named.
    """
    fits = [layer for layer in layers.found if row_length(layer) % m == 0]
    if not fits:
        lengths = sorted({row_length(layer) for layer in layers.found})
        works = [k for k in range(n + 1, MOST_NAMED + 1) if any(length % k == 0 for length in lengths)]
        raise DoesNotFit(
            f"m = {m} divides no row of the {len(layers.found)} layers that {technique} covers "
            f"(they are {', '.join(map(str, lengths))} long)",
            fix=f"write m = {' or '.join(map(str, works))}" if works else "write a smaller n",
        )
    return fits, [layer for layer in layers.found if row_length(layer) % m]


def masked(model: Any, masks: Masks) -> None:
    """Put zeros in place of what does not stay, in the model itself."""
    from onnx import numpy_helper

    for tensor in model.graph.initializer:
        if tensor.name in masks:
            array = np.where(masks[tensor.name], numpy_helper.to_array(tensor), np.float32(0))
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def zero_share(model: Any, names: set[str]) -> tuple[int, int, float]:
    """Return how many of these weights are 0, how many they are, and the share of all stored floats."""
    from onnx import TensorProto, numpy_helper

    floats = [t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT]
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in floats}
    zeros = sum(int((arrays[name] == 0).sum()) for name in names)
    everything = sum(array.size for array in arrays.values())
    return zeros, sum(arrays[name].size for name in names), zeros / everything
