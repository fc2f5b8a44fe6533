"""Cross-layer equalization: the channels between two layers scaled so that both weights have like ranges.

Relu(s x) = s Relu(x) for s > 0: a layer's output channel may be divided by a factor and the next layer's
input channel multiplied by it, and the network stays the same function (Nagel et al. 2019, arXiv:1906.04721,
section 4.1). What changes is how well one scale for a whole weight, or a whole activation, fits all channels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from qbench.errors import DoesNotFit
from qbench.quant.qdq_graph import OnnxGraph

LAYERS = ("Conv", "Gemm")
ROUNDS = 20
SETTLED = 1e-4  # factors this near to one change nothing more
DEAD = 1e-6  # of the layer's widest channel: a narrower one is left alone, lest its bias become enormous


@dataclass(slots=True)
class Layer:
    """A Conv or Gemm with a stored weight of its own; arrays in float64, written back at the end."""

    node: Any
    weight: np.ndarray
    bias: np.ndarray | None  # (channels out,); None: there is none
    groups: int = 1
    turned: bool = False  # a Gemm's weight is (channels in, channels out)

    @property
    def outputs(self) -> np.ndarray:
        """Return the weight as (channels out, rest)."""
        weight = self.weight.T if self.turned else self.weight
        return weight.reshape(len(weight), -1)

    @property
    def inputs(self) -> np.ndarray:
        """Return the weight as (groups, channels out of one, channels in of one, kernel)."""
        weight = self.weight.T if self.turned else self.weight
        out, inside = weight.shape[:2]
        return weight.reshape(self.groups, out // self.groups, inside, prod(weight.shape[2:]))

    def divide_outputs(self, factor: np.ndarray) -> None:
        """Divide every output channel by its factor (channels,)."""
        shape = (1, -1) if self.turned else (-1, *[1] * (self.weight.ndim - 1))
        self.weight = self.weight / factor.reshape(shape)
        if self.bias is not None:
            self.bias = self.bias / factor

    def multiply_inputs(self, factor: np.ndarray) -> None:
        """Multiply every input channel by its factor (channels,), counted through all groups."""
        whole = self.inputs * factor.reshape(self.groups, 1, -1, 1)
        shape = self.weight.shape[::-1] if self.turned else self.weight.shape
        self.weight = whole.reshape(shape).T if self.turned else whole.reshape(shape)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two layers, and what lies between them."""

    first: Layer
    second: Layer
    clips: tuple[Any, ...] = ()  # nodes between them with an upper bound

    def factors(self) -> np.ndarray:
        """Return s (channels,) that makes the ranges of both sides equal; 1 where a side has none.

        Source:
            Nagel et al. 2019, arXiv:1906.04721, eq. 11: s = sqrt(r1 r2) / r2, r the largest magnitudes.
        """
        first = np.abs(self.first.outputs).max(axis=1)
        second = np.abs(self.second.inputs).max(axis=(1, 3)).reshape(-1)
        alive = (first > DEAD * first.max()) & (second > DEAD * second.max())
        return np.sqrt(np.divide(first, second, out=np.ones(len(first)), where=alive))


@dataclass(slots=True)
class Found:
    """The pairs of a network; `clipped` is how many were left alone because of an upper bound."""

    pairs: list[Pair] = field(default_factory=list)
    clipped: int = 0


def find_pairs(model: Any, *, through_clips: bool) -> Found:
    """Return all pairs of a network, in its order; layers in several pairs are the same object in each.

    Raises:
        DoesNotFit: a weight holds NaN or an infinite number.
    """
    graph, found, layers = OnnxGraph(model), Found(), {}
    users = _users(model, graph)
    for node in model.graph.node:
        layer = _layer(node, graph, users)
        if layer is not None:
            layers[node.output[0]] = layer
    for layer in layers.values():
        between = _follow(layer.node, graph, users)
        second = layers.get(between[-1].output[0]) if between else None
        if second is None or second.node.input[0] != (between[-2] if between[1:] else layer.node).output[0]:
            continue
        if second.inputs.shape[0] * second.inputs.shape[2] != len(layer.outputs):
            continue
        clips = tuple(step for step in between[:-1] if _bound(step, graph) < np.inf)
        if clips and not through_clips:
            found.clipped += 1
        else:
            found.pairs.append(Pair(layer, second, clips))
    return found


def equalize(pairs: list[Pair]) -> int:
    """Scale all pairs in turn until nothing moves, at most ROUNDS times; return how many rounds it took."""
    rounds, moved = 0, np.inf
    while rounds < ROUNDS and moved >= SETTLED:
        rounds, moved = rounds + 1, 0.0
        for pair in pairs:
            factor = pair.factors()
            pair.first.divide_outputs(factor)
            pair.second.multiply_inputs(factor)
            moved = max(moved, float(np.abs(np.log(factor)).max()))
    return rounds


def write_back(model: Any, pairs: list[Pair]) -> int:
    """Store the scaled weights, in place, and make Relu of every clip between; return how many were made."""
    from onnx import numpy_helper

    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for layer in {id(layer): layer for pair in pairs for layer in (pair.first, pair.second)}.values():
        arrays = [layer.weight] if layer.bias is None else [layer.weight, layer.bias]
        for name, array in zip(layer.node.input[1:], arrays, strict=False):
            shape = list(stored[name].dims)
            stored[name].CopyFrom(numpy_helper.from_array(array.astype("f4").reshape(shape), name))
    clips = [clip for pair in pairs for clip in pair.clips]
    bounds = {name for clip in clips for name in clip.input[1:]}
    for clip in clips:
        clip.op_type = "Relu"
        del clip.input[1:]
    used = {name for node in OnnxGraph(model).nodes for name in node.input}
    for name in bounds - used:
        if name in stored:
            model.graph.initializer.remove(stored[name])
    return len(clips)


def kinds_in(model: Any) -> str:
    """Return the operators of a network in words, the commonest first."""
    found = Counter(node.op_type for node in model.graph.node)
    return ", ".join(f"{kind} x{count}" for kind, count in found.most_common()) or "nothing"


# --- reading the graph ------------------------------------------------------------------------------


def _users(model: Any, graph: OnnxGraph) -> Counter[str]:
    """Count how often every value is used, as the network's output too."""
    return Counter(
        [
            *(name for node in graph.nodes for name in node.input),
            *(value.name for value in model.graph.output),
        ]
    )


def _layer(node: Any, graph: OnnxGraph, users: Counter[str]) -> Layer | None:
    """Return a node as a layer; None where its numbers are computed, shared or not in 32-bit float."""
    from onnx import TensorProto, numpy_helper

    facts = {a.name: a.i for a in node.attribute}
    names = [name for name in node.input[1:] if name]
    if node.op_type not in LAYERS or facts.get("transA") or not node.input[0] or not names:
        return None
    held = [graph.stored[name] for name in names if name in graph.stored and users[name] == 1]
    if len(held) < len(names) or any(tensor.data_type != TensorProto.FLOAT for tensor in held):
        return None
    arrays = [numpy_helper.to_array(tensor).astype("f8") for tensor in held]
    for name, array in zip(names, arrays, strict=True):
        _finite_or_raise(name, array)
    turned = node.op_type == "Gemm" and not facts.get("transB")
    layer = Layer(node, arrays[0], None, facts.get("group", 1), turned)
    if len(arrays) > 1:
        if arrays[1].size != len(layer.outputs) or arrays[1].shape[-1:] != (arrays[1].size,):
            return None  # a Gemm's third input may be one number, or a matrix
        layer.bias = arrays[1].reshape(-1)
    return layer


def _finite_or_raise(name: str, array: np.ndarray) -> None:
    bad = int(array.size - np.isfinite(array).sum())
    if bad:
        raise DoesNotFit(
            f"equalize cannot scale {name!r}: {bad} of its {array.size} elements are NaN or infinite",
            fix="train the network again, or repair its weights; they are broken in 32-bit float already",
        )


def _follow(node: Any, graph: OnnxGraph, users: Counter[str]) -> list[Any]:
    """Return the nodes after a layer up to the next one that is no Relu, each the only user of the last."""
    return list(_steps(node, graph, users))


def _steps(node: Any, graph: OnnxGraph, users: Counter[str]) -> Iterator[Any]:
    while users[node.output[0]] == 1:
        name = node.output[0]
        after = [user for user in graph.nodes if name in user.input]
        if not after:
            return  # the network's output
        node = after[0]
        yield node
        if node.op_type != "Relu" and _bound(node, graph) == 0:
            return


def _bound(node: Any, graph: OnnxGraph) -> float:
    """Return the upper bound of a Clip from zero, infinity for a Relu, and 0 for everything else."""
    from onnx import numpy_helper

    if node.op_type == "Relu":
        return float(np.inf)
    if node.op_type != "Clip":
        return 0.0
    limits = [-np.inf, np.inf]
    for position, name in enumerate(node.input[1:3]):
        if name:
            if name not in graph.stored:
                return 0.0  # computed
            limits[position] = float(numpy_helper.to_array(graph.stored[name]))
    return max(limits[1], 0.0) if limits[0] == 0 else 0.0
