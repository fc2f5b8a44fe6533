"""What lies between layers and is better left in float, though onnxruntime's quantizer would round it.

Rounding an addition or a gate pays where integers come in and integers go out: an engine then stays in
integers from layer to layer. Elsewhere it costs a conversion there and one back, and what it costs in
accuracy has no bound: of the mean of squares in a normalization that is written out, of a concatenation of
boxes and scores, of a factor for each channel, eight bits with one scale leave nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

from qbench.quant.coverage import InFloat
from qbench.quant.qdq_graph import OnnxGraph, outer

FUSED = ("Relu", "Clip")  # part of the layer before them: they round where it does
LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# What onnxruntime's quantizer rounds the inputs and outputs of, whatever gives and takes them.
GIVING_FLOATS = ("Gemm", "MatMul")
EAGER = ("Add", "Concat", "GlobalAveragePool", "LeakyRelu", "Mul", "Pad", "Sigmoid", "Split", "Where")
# What an engine computes on integers wherever they come in, whoever takes what comes out: it is less then.
ENDING = ("GlobalAveragePool",)
# What passes integers on as they come, and rounds nothing that is in float.
PASSING = (
    "AveragePool", "Clip", "Flatten", "Gather", "GatherElements", "MaxPool", "Relu", "Reshape", "Resize",
    "Slice", "Squeeze", "Transpose", "Unsqueeze",
)  # fmt: skip
DATA = {"Pad": 1, "Split": 1, "Gather": 1}  # how many of its inputs are activations, where not all are
STORED = "one side is stored: a constant in eight bits with one scale"
CAPTURED = "a branch or a loop takes what it gives"
ALONE = "floats come in or go out"


def between_layers(network: Any, kept: Collection[str] = (), operators: Collection[str] = ()) -> InFloat:
    """Return the operators between layers that stay in float, by the names of their nodes, with the reason.

    kept: layers in float. operators: the only kinds that are rounded, if any are named; what is named of
    those between layers is rounded wherever it stands, but beside a constant.
    """
    return _Between(network, set(kept), operators).found()


def open_ends(network: Any, kept: Collection[str] = (), operators: Collection[str] = ()) -> set[str]:
    """Return the results of matrix products that nothing takes as integers: they need no rounding.

    An engine's integer product can give floats, which a convolution of onnxruntime's cannot. Among them are
    those that are only moved about on their way to what takes floats.
    """
    between = _Between(network, set(kept), operators)
    left_out = between.found().nodes
    some = {node.name: node for node in between.eager if node.name not in left_out}
    wanted = between.wanted(some)
    found: set[str] = set()
    for node in between.nodes:
        product = node.name in between.layers and node.op_type in GIVING_FLOATS
        moved = node.op_type in PASSING and node.op_type not in FUSED and node.input[0] in found
        if product or moved:
            found |= set(node.output) - wanted
    return found


def told(found: InFloat) -> Iterator[tuple[str, str]]:
    """Yield what and found of one note: of the operators' kinds there are many nodes each."""
    by_reason: dict[str, Counter[str]] = {}
    for name, reason in found.nodes.items():
        why, _, kind = reason.partition("|")
        by_reason.setdefault(why, Counter())[kind or name] += 1
    parts = [
        f"{', '.join(f'{kind} x{count}' for kind, count in sorted(kinds.items()))} ({why})"
        for why, kinds in by_reason.items()
    ]
    if parts:
        yield "left in float between layers", "; ".join(parts)


class _Between:
    def __init__(self, network: Any, kept: set[str], operators: Collection[str]) -> None:
        self.nodes = list(network.graph.node)
        self.known = OnnxGraph(network).known
        self.operators = operators
        self.layers = {
            node.name
            for node in self.nodes
            if node.op_type in (operators or LAYERS) and node.op_type in LAYERS and node.name not in kept
        }
        self.eager = [
            node
            for node in self.nodes
            if node.op_type in EAGER
            and node.name not in kept
            and (not operators or node.op_type in operators)
        ]
        self.captured = {name for node in self.nodes for name in outer(node)}

    def found(self) -> InFloat:
        reasons = {
            node.name: f"{STORED}|{node.op_type}"
            for node in self.eager
            if any(name in self.known for name in self._data(node))
        }
        reasons |= {  # onnxruntime's quantizer takes these out, and sees no user inside of a body
            node.name: f"{CAPTURED}|{node.op_type}"
            for node in self.nodes
            if node.op_type in FUSED and not self.captured.isdisjoint(node.output)
        }
        left = {node.name: node for node in self.eager if node.name not in reasons}
        if not self.operators:
            reasons |= {name: f"{ALONE}|{left[name].op_type}" for name in self._alone(left)}
        return InFloat(reasons)

    def _alone(self, left: dict[str, Any]) -> list[str]:
        """Return those of `left` that have floats on a side; each that falls may take others with it."""
        fallen: list[str] = []
        while True:
            some = {name: node for name, node in left.items() if name not in fallen}
            integers = self._integers(some)
            wanted = self.wanted(some)
            new = [
                name
                for name, node in some.items()
                if not integers.issuperset(self._data(node))
                or (node.op_type not in ENDING and wanted.isdisjoint(node.output))
            ]
            if not new:
                return fallen
            fallen += new

    def _integers(self, some: dict[str, Any]) -> set[str]:
        """Return the tensors that are integers if these operators are: what a layer takes is rounded too."""
        found = {node.input[0] for node in self.nodes if node.name in self.layers}
        found |= {
            node.input[1]
            for node in self.nodes
            if node.name in self.layers and node.op_type == "MatMul" and node.input[1] not in self.known
        }
        for node in self.nodes:  # makers come before users
            passes = node.op_type in PASSING and node.input and node.input[0] in found
            if node.name in self.layers or node.name in some or passes:
                found.update(node.output)
        return found

    def wanted(self, some: dict[str, Any]) -> set[str]:
        """Return the tensors that something takes as integers, at once or through what passes them on."""
        found: set[str] = set()
        for node in reversed(self.nodes):
            passes = node.op_type in PASSING and not found.isdisjoint(node.output)
            if node.name in self.layers or node.name in some or passes:
                found.update(self._data(node))
        return found

    @staticmethod
    def _data(node: Any) -> list[str]:
        taken = list(node.input)[: DATA.get(node.op_type, len(node.input))]
        return [name for name in (taken[1:] if node.op_type == "Where" else taken) if name]


def plain_pads(model: Any) -> None:
    """Take the value 0 away from every Pad that fills with it, in place: it is what the format fills with.

    onnxruntime's quantizer would round that scalar, and openvino cannot load what comes of it.
    """
    from onnx import numpy_helper

    stored = OnnxGraph(model).stored
    for node in model.graph.node:
        value = stored.get(node.input[2]) if node.op_type == "Pad" and len(node.input) > 2 else None
        if value is not None and not numpy_helper.to_array(value).any():
            node.input[2] = ""
