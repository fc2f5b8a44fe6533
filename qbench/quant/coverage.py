"""What a quantizer covers of one network, and which of its layers stay in float, each with the reason.

The one home of the parameters `operators` and `keep_float`, which every quantizer has, and of the names by
which a layer may be called: its own, that of its output or that of its weight.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from qbench.errors import BadParameter, DoesNotFit
from qbench.quant.qdq_graph import ONNX_MACS, OnnxGraph

# What a quantizer may be told to round beside layers: onnxruntime's list (a test holds it to that).
BETWEEN = (
    "Add", "ArgMax", "AveragePool", "BatchNormalization", "Clip", "Concat", "CumSum", "Flatten", "Gather",
    "GatherElements", "GlobalAveragePool", "HardSigmoid", "InstanceNormalization", "LayerNormalization",
    "LeakyRelu", "Max", "MaxPool", "Min", "Mul", "Pad", "Pow", "Reciprocal", "Relu", "Reshape", "Resize",
    "Sigmoid", "Slice", "Softmax", "Split", "Squeeze", "Sub", "TopK", "Transpose", "Unsqueeze", "Where",
)  # fmt: skip
FOLDED = "_folded_weight"  # what folding appends to the name of a convolution's output
ASKED = "keep_float names them"
SHOWN = 8  # names in a note or a message: the rest are counted


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a user asks to be quantized. Empty: all that the technique covers, and nothing kept back."""

    operators: tuple[str, ...] = ()  # the only kinds of operator that are quantized
    keep_float: tuple[str, ...] = ()  # layers in float: names of nodes, of their outputs or of their weights

    def __bool__(self) -> bool:
        """Tell whether anything is asked for."""
        return bool(self.operators or self.keep_float)

    @classmethod
    def read(
        cls,
        technique: str,
        covers: tuple[str, ...],
        operators: str,
        keep_float: str,
        also: tuple[str, ...] = BETWEEN,
    ) -> Coverage:
        """Return what two parameters of a suite say, each names with commas between.

        `covers` are the layers that the technique knows, `also` what it can round between them.

        Raises:
            BadParameter: an operator is unknown to the technique, none of them is a layer, or empty.
        """
        chosen = cls(_names(technique, "operators", operators), _names(technique, "keep_float", keep_float))
        for name in chosen.operators:
            if name not in (*covers, *also):
                near = get_close_matches(name, [*covers, *also], 1, 0.5)
                raise BadParameter(
                    f"{technique}: operators = {operators!r} names {name!r}, which it does not quantize",
                    fix=f"did you mean {near[0]!r}? " * bool(near)
                    + f"write some of {', '.join(covers)}, with commas between",
                )
        if chosen.operators and not set(chosen.operators) & set(covers):
            raise BadParameter(
                f"{technique}: operators = {operators!r} names no layer that has weights",
                fix=f'write operators = "{",".join(covers)}", or some of these',
            )
        return chosen

    def layers(self, covers: tuple[str, ...]) -> tuple[str, ...]:
        """Return the kinds of layer that are quantized, of those that the technique covers."""
        return tuple(kind for kind in covers if not self.operators or kind in self.operators)

    def kept(self, network: Any, technique: str) -> InFloat:
        """Return the nodes of an ONNX network that the user wants in float; see `named`.

        Raises:
            DoesNotFit: a name is unknown; the nearest ones are given.
        """
        by_name: dict[str, list[str]] = {}
        stored = {tensor.name for tensor in network.graph.initializer}
        for node in network.graph.node:
            weights = [node.input[p] for p in ONNX_MACS.get(node.op_type, ((),))[0] if p < len(node.input)]
            names = {
                node.name,
                *node.output,
                *(name.removesuffix(FOLDED) for name in weights if name in stored),
            }
            for name in names - {""}:
                by_name.setdefault(name, []).append(node.name)
        return InFloat({node: ASKED for node in self._found(by_name, technique)})

    def kept_of_ir(self, model: Any, technique: str) -> InFloat:
        """Return the operators of an OpenVINO model that the user wants in float, by their friendly names.

        What its ONNX node was called is mostly gone there, and its weight may be turned and renamed;
        the name of its output stays.

        Raises:
            DoesNotFit: a name is unknown; the nearest ones are given.
        """
        by_name: dict[str, list[str]] = {}
        for operator in model.get_ordered_ops():
            if operator.get_type_name() in ("Constant", "Parameter", "Result"):
                continue
            own = operator.get_friendly_name()
            names = {own, own.removesuffix("/WithoutBiases")}
            names |= {name for port in operator.outputs() for name in port.get_names()}
            if operator.get_type_name() in _OF_IR.values() or operator.get_type_name() in _GROUPED:
                names |= {name for port in operator.input_values() for name in _constants(port.get_node())}
            for name in names:
                by_name.setdefault(name, []).append(own)
        return InFloat({node: ASKED for node in self._found(by_name, technique)})

    def of_ir(self) -> tuple[str, ...]:
        """Return the operators as OpenVINO calls them; empty: all."""
        found = [_OF_IR.get(name, name) for name in self.operators]
        found += [f"Group{kind}" for kind in found if f"Group{kind}" in _GROUPED]
        return tuple(dict.fromkeys(found))

    def _found(self, by_name: Mapping[str, list[str]], technique: str) -> Iterator[str]:
        for name in self.keep_float:
            if name not in by_name:
                near = get_close_matches(name, list(by_name), 3, 0.4) or list(by_name)[:3]
                raise DoesNotFit(
                    f"{technique}: keep_float names {name!r}, and this network has no node, output or weight "
                    "that is called so",
                    fix=f"write names of this network with commas between, such as {', '.join(near)}",
                )
            yield from by_name[name]


_OF_IR = {
    "Conv": "Convolution",
    "ConvTranspose": "ConvolutionBackpropData",
    "Gemm": "MatMul",
    "MatMul": "MatMul",
    "Mul": "Multiply",
    "Sub": "Subtract",
    "Max": "Maximum",
    "Min": "Minimum",
    "Pow": "Power",
    "Resize": "Interpolate",
    "AveragePool": "AvgPool",
    "LSTM": "LSTMSequence",
    "GRU": "GRUSequence",
}
_GROUPED = ("GroupConvolution", "GroupConvolutionBackpropData")


@dataclass(frozen=True, slots=True)
class InFloat:
    """Nodes that stay in float, by name, each with the reason; of a note's words."""

    nodes: Mapping[str, str]

    def __or__(self, other: InFloat) -> InFloat:
        """Return both; where a node is in both, the first one's reason stands."""
        return InFloat({**other.nodes, **self.nodes})

    def notes(self, layers: Iterable[str] | None = None) -> Iterator[tuple[str, str]]:
        """Yield what and found of one note a reason; of these nodes only, where they are given."""
        some = None if layers is None else set(layers)
        by_reason: dict[str, list[str]] = {}
        for node, reason in self.nodes.items():
            if some is None or node in some:
                by_reason.setdefault(reason, []).append(node)
        for reason, nodes in by_reason.items():
            yield "left in float", f"{len(nodes)}: {listed(nodes)} ({reason})"


def named(network: Any) -> None:
    """Give every node of an ONNX network a name of its own, in place: quantizers tell nodes apart by it.

    A name that the file gives and that no earlier node has stays; others become the operator and its place.
    """
    count = Counter(node.name for node in network.graph.node)
    taken = set(count)
    seen: set[str] = set()
    for number, node in enumerate(network.graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.op_type}_{number}"
            while node.name in taken:
                node.name += "_"
            taken.add(node.name)
        seen.add(node.name)


def some_left_or_raise(network: Any, covers: tuple[str, ...], kept: InFloat, technique: str) -> None:
    """Check that not every layer stays in float.

    Raises:
        DoesNotFit: every one does; the reasons are given.
    """
    stored = {tensor.name for tensor in network.graph.initializer}
    layers = [node.name for node in network.graph.node if node.op_type in covers and stored & set(node.input)]
    if layers and set(layers) <= set(kept.nodes):
        reasons = " and ".join(dict.fromkeys(kept.nodes[name] for name in layers))
        raise DoesNotFit(
            f"{technique}: all {len(layers)} layers of this network would stay in float ({reasons})",
            fix="write fewer names in keep_float"
            if ASKED in reasons
            else f"leave {technique} out for this network",
        )


def uncovered(network: Any, covers: tuple[str, ...]) -> InFloat:
    """Return what multiplies with stored weights and is not quantized: of other kinds, or inside of a body.

    What is in the body of a branch or a loop is told by its output, where it has no name.
    """
    graph = OnnxGraph(network)
    outside = {name for node in network.graph.node for name in node.output}
    found = {}
    for node in graph.nodes:
        places = ONNX_MACS.get(node.op_type, ((),))[0]
        if not any(p < len(node.input) and node.input[p] in graph.known for p in places):
            continue
        name = node.name or node.output[0]
        if node.output[0] not in outside:
            found[name] = "inside of an If or a Loop"
        elif node.op_type not in covers:
            found[name] = f"{node.op_type}, which is not among the operators that are quantized"
    return InFloat(found)


def listed(names: list[str]) -> str:
    """Return names with commas between, the first of them where there are many."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


def _names(technique: str, parameter: str, text: str) -> tuple[str, ...]:
    if not isinstance(text, str) or (text and not text.strip(" ,")):
        raise BadParameter(
            f"{technique}: {parameter} = {text!r} is no text of names with commas between",
            fix=f'write {parameter} = "Conv,MatMul", say'
            if parameter == "operators"
            else "write names, or leave it out",
        )
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _constants(node: Any) -> Iterator[str]:
    """Yield the names of the constants behind an input of an OpenVINO operator, over what converts them."""
    if node.get_type_name() == "Constant":
        yield node.get_friendly_name()
    elif node.get_type_name() in ("Convert", "Transpose", "Reshape"):  # what they take first is the weight
        yield from _constants(node.input_value(0).get_node())
