"""Which stored numbers belong to one channel: followed from the weight that makes it to those that read it.

A space is a set of channels that stay or go together. A convolution or a matrix product makes one;
activations, pools, depthwise convolutions and means over the image pass it on; an addition makes one of
two (the residual coupling of Li et al. 2017, arXiv:1608.08710, section 3.3). What any other operator reads
stays whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal

from qbench.quant.products import fact
from qbench.quant.qdq_graph import OnnxGraph

CONV_AXES = {"Conv": (0, 1), "ConvTranspose": (1, 0)}  # of the weight: channels out, channels in


@dataclass(frozen=True, slots=True)
class Part:
    """An axis of a stored tensor that has `repeat` neighbouring entries for every channel."""

    name: str
    axis: int
    role: Literal["makes", "reads", "follows"]
    repeat: int = 1


@dataclass(slots=True, eq=False)
class Space:
    """Channels that stay or go together."""

    size: int
    parts: list[Part] = field(default_factory=list)
    grouped: list[Any] = field(default_factory=list)  # depthwise convolutions, which count them
    written: list[tuple[Any, int]] = field(default_factory=list)  # Reshapes that name them, with the repeat
    whole: str = ""  # why all of them must stay; empty: some may go
    joined: Space | None = None

    @property
    def root(self) -> Space:
        """Return the space that this one became part of."""
        return self if self.joined is None else self.joined.root

    @property
    def cuttable(self) -> bool:
        """Tell whether channels may go: someone makes them, and someone reads them."""
        roles = {part.role for part in self.parts}
        return not self.whole and self.joined is None and roles >= {"makes", "reads"}


@dataclass(frozen=True, slots=True)
class Label:
    """Where a tensor has the channels of a space."""

    space: Space
    axis: int
    repeat: int = 1

    @property
    def width(self) -> int:
        """Return how long that axis is."""
        return self.space.size * self.repeat


def channel_spaces(model: Any) -> list[Space]:
    """Return all spaces of a network, in its order, those that must stay whole included."""
    follower = Follower(model)
    follower.follow()
    return [space for space in follower.spaces if space.joined is None]


class Follower:
    """One walk through a graph; ONNX sorts makers before users."""

    def __init__(self, model: Any) -> None:
        """Index the model."""
        self.graph = OnnxGraph(model)
        self.model = model
        self.labels: dict[str, Label] = {}
        self.spaces: list[Space] = []
        self.uses = Counter(name for node in self.graph.nodes for name in node.input)
        self.outputs = {value.name for value in model.graph.output}
        self.held = {tensor.name: tensor for tensor in model.graph.initializer}

    def follow(self) -> None:
        """Label every tensor that can be, and keep whole what cannot be followed."""
        for node in self.model.graph.node:
            rule = RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
            several = any(self.uses[name] or name in self.outputs for name in node.output[1:])
            label = rule(self, node) if rule and not several else None
            if label is None:
                self.keep(node.input, node.op_type)
            else:
                self.labels[node.output[0]] = label
        self.keep(self.outputs, "the network's output")
        above = Counter(name for node in self.model.graph.node for name in node.input)
        self.keep(self.uses - above, "a loop or a branch")

    def keep(self, names: Any, why: str) -> None:
        """Let all channels of these tensors stay."""
        for name in names:
            if name in self.labels:
                self.labels[name].space.root.whole = why

    def own(self, name: str) -> Any:
        """Return an initializer in 32-bit float that nothing else uses; None where it is something else."""
        from onnx import TensorProto

        tensor = self.held.get(name)
        if tensor is None or tensor.data_type != TensorProto.FLOAT:
            return None
        return tensor if self.uses[name] == 1 and name not in self.outputs else None

    def made(self, node: Any, weight: Any, axes: tuple[int, int], whole: str = "") -> Space:
        """Return the new space of a product's output; the first input's space is read, or kept whole."""
        label = self.labels.get(node.input[0])
        if label is not None and label.width == weight.dims[axes[1]] and not whole:
            label.space.root.parts.append(Part(weight.name, axes[1], "reads", label.repeat))
        else:
            self.keep(node.input[:1], node.op_type)
        space = Space(weight.dims[axes[0]], [Part(weight.name, axes[0], "makes")], whole=whole)
        self.spaces.append(space)
        return space

    def numbers(self, name: str) -> list[int] | None:
        """Return the integers of a stored tensor."""
        from onnx import numpy_helper

        stored = self.graph.stored.get(name)
        return None if stored is None else [int(n) for n in numpy_helper.to_array(stored).reshape(-1)]

    def shape(self, name: str) -> list[int]:
        """Return a shape for a batch of one, 0 where a size is not known; empty where nothing is."""
        return self.graph.shapes.get(name, [])


# --- operators: each returns where its output has the channels, or None where it cannot be followed ---------

Rule = Callable[[Follower, Any], Label | None]


def _conv(f: Follower, node: Any) -> Label | None:
    weight, bias = f.own(node.input[1]), f.own(node.input[2]) if _given(node, 2) else None
    label, group = f.labels.get(node.input[0]), fact(node, "group", 1)
    if weight is None or (_given(node, 2) and bias is None) or (label and label.axis != 1):
        return None
    each = node.op_type == "Conv" and weight.dims[1] == 1 and group == weight.dims[0]
    if label and each and group > 1 and label.width == group and label.repeat == 1:
        space = label.space.root
        space.parts.append(Part(weight.name, 0, "follows"))
        space.grouped.append(node)
    else:
        space = f.made(node, weight, CONV_AXES[node.op_type], "grouped convolution" if group > 1 else "")
    if bias is not None:
        space.parts.append(Part(bias.name, 0, "follows"))
    return Label(space, 1)


def _gemm(f: Follower, node: Any) -> Label | None:
    weight, label = f.own(node.input[1]), f.labels.get(node.input[0])
    if weight is None or fact(node, "transA", 0) or (label and label.axis != 1):
        return None
    axes = (0, 1) if fact(node, "transB", 0) else (1, 0)
    width, bias = weight.dims[axes[0]], None
    if _given(node, 2):
        bias = f.own(node.input[2])
        if bias is None or not bias.dims or prod(bias.dims) != width or bias.dims[-1] != width:
            return None
    space = f.made(node, weight, axes)
    if bias is not None:
        space.parts.append(Part(bias.name, len(bias.dims) - 1, "follows"))
    return Label(space, 1)


def _matmul(f: Follower, node: Any) -> Label | None:
    weight, rank = f.own(node.input[1]), len(f.shape(node.input[0]))
    label = f.labels.get(node.input[0])
    if weight is None or len(weight.dims) != 2 or not rank or (label and label.axis != rank - 1):
        return None
    return Label(f.made(node, weight, (1, 0)), rank - 1)


def _passes(f: Follower, node: Any) -> Label | None:
    label = f.labels.get(node.input[0])
    return None if label and label.axis != 1 and node.op_type in POOLS else label


def _normalizes(f: Follower, node: Any) -> Label | None:
    label, held = f.labels.get(node.input[0]), [f.own(name) for name in node.input[1:5]]
    if label is None or label.axis != 1 or any(t is None for t in held) or fact(node, "training_mode", 0):
        return None
    label.space.root.parts.extend(Part(t.name, 0, "follows", label.repeat) for t in held)
    return label


def _reduces(f: Follower, node: Any) -> Label | None:
    label, rank = f.labels.get(node.input[0]), len(f.shape(node.input[0]))
    axes = f.numbers(node.input[1]) if _given(node, 1) else None
    axes = axes or next((list(a.ints) for a in node.attribute if a.name == "axes"), None)
    axes = [axis % rank for axis in axes or ()] if rank else []
    if label is None or not axes or label.axis in axes:
        return None
    kept = fact(node, "keepdims", 1) and node.op_type != "Squeeze"
    before = 0 if kept else sum(axis < label.axis for axis in axes)
    return Label(label.space, label.axis - before, label.repeat)


def _flattens(f: Follower, node: Any) -> Label | None:
    label, shape = f.labels.get(node.input[0]), f.shape(node.input[0])
    if label is None or label.axis != 1 or len(shape) < 2 or 0 in shape[1:]:
        return None
    if node.op_type == "Flatten":
        axis = fact(node, "axis", 1)
        return Label(label.space, 1, label.repeat * prod(shape[2:])) if axis == 1 else None
    return _reshapes(f, node, label, shape)


def _reshapes(f: Follower, node: Any, label: Label, shape: list[int]) -> Label | None:
    """Follow a Reshape that does what Flatten does; where it names the width, that is noted."""
    target, width = f.numbers(node.input[1]), prod(shape[1:])
    if target is None or len(target) != 2 or f.shape(node.output[0]) != [shape[0], width]:
        return None
    repeat = label.repeat * prod(shape[2:])
    if target[1] > 0:
        label.space.root.written.append((node, repeat))
    return Label(label.space, 1, repeat)


def _combines(f: Follower, node: Any) -> Label | None:
    if len(node.input) != 2:
        return None
    one, two = (f.labels.get(name) for name in node.input)
    if one and two:
        return _joined(f, node, one, two)
    label, other = (one, node.input[1]) if one else (two, node.input[0])
    if label is None or other not in f.graph.stored:
        return None
    return _beside(f, label, other, len(f.shape(node.input[0 if one else 1])))


def _joined(f: Follower, node: Any, one: Label, two: Label) -> Label | None:
    """Make one space of two that are added or multiplied."""
    ranks = {len(f.shape(name)) for name in node.input}
    alike = (one.axis, one.repeat, one.width) == (two.axis, two.repeat, two.width)
    if len(ranks) > 1 or 0 in ranks or not alike:
        return None
    into, other = one.space.root, two.space.root
    if into is not other:
        into.parts += other.parts
        into.grouped += other.grouped
        into.written += other.written
        into.whole = into.whole or other.whole
        other.joined = into
    return one


def _beside(f: Follower, label: Label, name: str, rank: int) -> Label | None:
    """Follow through an operation with a stored tensor: one number for all channels, or one for each."""
    dims = list(f.graph.stored[name].dims)
    at = label.axis - (rank - len(dims))
    if not rank or len(dims) > rank:
        return None
    if at < 0 or dims[at] == 1:
        return label
    if dims[at] != label.width or f.own(name) is None:
        return None
    label.space.root.parts.append(Part(name, at, "follows", label.repeat))
    return label


def _given(node: Any, position: int) -> bool:
    return position < len(node.input) and bool(node.input[position])


PASSING = (
    "Abs", "Clip", "Dropout", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "Identity",
    "LeakyRelu", "Mish", "Neg", "Relu", "Selu", "Sigmoid", "Softplus", "Sqrt", "Tanh",
)  # fmt: skip
POOLS = ("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool")
REDUCING = ("ReduceMax", "ReduceMean", "ReduceSum", "Squeeze")
COMBINING = ("Add", "Div", "Max", "Min", "Mul", "PRelu", "Sub")
RULES: dict[str, Rule] = {
    **dict.fromkeys(CONV_AXES, _conv),
    **dict.fromkeys(PASSING, _passes),
    **dict.fromkeys(POOLS, _passes),
    **dict.fromkeys(REDUCING, _reduces),
    **dict.fromkeys(COMBINING, _combines),
    "BatchNormalization": _normalizes,
    "Flatten": _flattens,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Reshape": _flattens,
}
