"""Reading a deployed graph: which multiply-accumulates it holds and how their weights are stored.

A weight is whatever an operator multiplies with that does not depend on the network's input. It is followed
back through the nodes that restore it (dequantize, cast, transpose, ...) to what lies in the file, be it an
initializer or a Constant node. Scales and zero points met on that path count as its bytes.

A tensor that two operators share is listed once for each of them, under one name: both multiply with it, and
the file holds it once (formats.proof adds up bytes by name).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from qbench.errors import BadFile

# operator -> (inputs that may hold a weight, inputs that hold its scale and zero point)
ONNX_MACS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "Conv": ((1,), ()),
    "FusedConv": ((1,), ()),
    "ConvTranspose": ((1,), ()),
    "DeformConv": ((1,), ()),
    "Gemm": ((0, 1), ()),
    "FusedGemm": ((0, 1), ()),
    "MatMul": ((0, 1), ()),
    "FusedMatMul": ((0, 1), ()),
    "LSTM": ((1, 2), ()),
    "GRU": ((1, 2), ()),
    "RNN": ((1, 2), ()),
    "ConvInteger": ((1,), (3,)),
    "MatMulInteger": ((0, 1), (3,)),
    "MatMulIntegerToFloat": ((1,), (3, 5)),
    "QLinearConv": ((3,), (4, 5)),
    "QLinearMatMul": ((0, 3), (4, 5)),
    "QGemm": ((3,), (4, 5)),
    "DynamicQuantizeMatMul": ((1,), (2, 3)),
    "MatMulNBits": ((1,), (2, 3)),
}
LOOKED_UP = ("Gather", "GatherND", "GatherElements", "Add", "Sub")  # tables and offsets: no multiplication
MOVED = "_QuantizeLinear_Input"  # what onnxruntime's quantizer appends to an output's name: to what it rounds
RECURRENT = ("LSTM", "GRU", "RNN")  # how often they multiply depends on the length of a sequence

Sizes = Mapping[str, tuple[int, ...]]  # by input, the shape of a call with one example


@dataclass(frozen=True, slots=True)
class Weight:
    """One multiply-accumulate operator's weight, as the file stores it."""

    name: str
    operator: str
    elements: int
    bits: int  # width of one stored code
    stored_bytes: int  # codes, scales and zero points
    macs: int | None = None  # of one inference, all branches taken, a free batch being one; None: not known
    channels: int = 0  # its longest axis: a scale for every channel cannot be more
    moved: int | None = None  # activations that it reads and writes for one inference; None: not known
    multiplied: bool = True  # False: a table that is looked up or added, or an operator unknown to us

    @property
    def float_bytes(self) -> int:
        """Return what the weight takes in 32-bit float."""
        return self.elements * 4

    @property
    def code_bytes(self) -> int:
        """Return what the codes alone take, without scales and zero points."""
        return -(-self.elements * self.bits // 8)


def onnx_weights(path: Path | None, sizes: Sizes | None = None) -> list[Weight]:
    """Return the weights of every multiply-accumulate operator in an ONNX file, and all other matrices in it.

    Work is counted for inputs of these `sizes`, each the shape of a call with one example. Of an input that
    is not among them the first free dimension is one, and a further one is not known: what depends on it is
    not counted.

    Functions of the file's own are opened. A matrix that no known operator multiplies with is listed too: a
    network cannot hide its weights behind an operator that this table lacks.

    Raises:
        BadFile: the file is no ONNX model.
    """
    import onnx

    try:
        model = onnx.load(path or "")
    except Exception as error:  # onnx raises protobuf's own DecodeError and several of its own
        problem = f"{path} is no ONNX model: {error}"
        raise BadFile(problem, fix="export it again with torch.onnx.export") from error
    return weights_in(opened(model), sizes)


def weights_in(model: Any, sizes: Sizes | None = None) -> list[Weight]:
    """Return the same of a loaded model without functions."""
    graph = OnnxGraph(model, sizes)
    products = [node for node in graph.nodes if node.op_type in ONNX_MACS]
    return [*(weight for node in products for weight in _weights_of(node, graph)), *_others(products, graph)]


def copied(model: Any) -> Any:
    """Return a copy of an ONNX model that shares nothing with it."""
    copy = type(model)()
    copy.CopyFrom(model)
    return copy


def opened(model: Any) -> Any:
    """Return the model with the bodies of its own functions in the place of their calls."""
    from onnx import inliner

    return inliner.inline_local_functions(model) if model.functions else model


def _others(products: list[Any], graph: OnnxGraph) -> Iterator[Weight]:
    """Yield the stored matrices that no known product uses: they are weights as well, and not covered."""
    used: set[str] = set()
    for node in products:
        data = 0 not in ONNX_MACS[node.op_type][0]  # the first input is what a weight meets, and none itself
        for name in list(node.input)[data:]:
            found, beside = graph.behind(name)
            used |= {source for source, _ in [*found, *beside]}
    for name, tensor in graph.stored.items():
        if name in used or sum(size > 1 for size in tensor.dims) < 2 or not _holds_weights(tensor.data_type):
            continue
        users = [node.op_type for node in graph.nodes if name in node.input]
        if not users:
            continue  # left behind by a tool: bytes of the file, no weight of the network
        macs = 0 if set(users) <= {*LOOKED_UP, "DequantizeLinear"} else None
        size, longest = _tensor_bytes(tensor), max(tensor.dims)
        yield Weight(
            name, users[0], prod(tensor.dims), _bits(tensor.data_type), size, macs, longest, multiplied=False
        )


def _holds_weights(data_type: int) -> bool:
    from onnx import TensorProto

    no_weight = ("INT64", "INT32", "UINT64", "UINT32", "BOOL", "STRING")
    return TensorProto.DataType.Name(data_type) not in no_weight


class OnnxGraph:
    """An ONNX model's nodes, the bodies of loops and branches included, and what is known before it runs."""

    def __init__(self, model: Any, sizes: Sizes | None = None) -> None:
        """Index the model; nothing is copied."""
        self._model, self._sizes = model, sizes or {}
        self._shapes: dict[str, list[int]] | None = None
        graphs = list(_graphs(model.graph))
        self.nodes = [node for graph in graphs for node in graph.node]
        self.stored = {tensor.name: tensor for graph in graphs for tensor in graph.initializer}
        for node in self.nodes:
            if node.op_type == "Constant":
                self.stored.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
        self.maker = {output: node for node in self.nodes for output in node.output}
        self.known = set(self.stored)
        for node in self.nodes:  # sorted by the format's own rule: makers come before users
            body = any(a.HasField("g") for a in node.attribute)
            if node.input and not body and all(name in self.known for name in node.input if name):
                self.known |= set(node.output)

    @property
    def shapes(self) -> dict[str, list[int]]:
        """Return every value's shape for a batch of one; stored tensors only where inference gives up."""
        if self._shapes is None:
            self._shapes = _shapes_for_one(self._model, self._sizes)
            self._shapes |= {name: list(tensor.dims) for name, tensor in self.stored.items()}
        return self._shapes

    def behind(self, name: str) -> tuple[list[tuple[str, Any]], list[tuple[str, Any]]]:
        """Return the stored tensors that a known value is made from, and the scales and zero points."""
        codes: dict[str, Any] = {}
        beside: dict[str, Any] = {}
        pending, seen = [(name, codes)], set()
        while pending:
            name, into = pending.pop()
            if name in seen or name not in self.known:
                continue
            seen.add(name)
            if name in self.stored:
                into[name] = self.stored[name]
                continue
            node = self.maker[name]
            restores = node.op_type in ("DequantizeLinear", "QuantizeLinear")
            for position, source in enumerate(node.input):
                pending.append((source, beside if restores and position else into))
        return list(codes.items()), list(beside.items())


def _graphs(graph: Any) -> Iterator[Any]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)


def outer(node: Any) -> Iterator[str]:
    """Yield the names that the bodies of a branch or a loop use, those of their own among them."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            for inner in attribute.g.node:
                yield from inner.input
                yield from outer(inner)
            yield from (value.name for value in attribute.g.output)


def put_in_order(model: Any) -> None:
    """Sort the nodes in place so that makers come before users, users in bodies too; ties stay.

    onnxruntime's own sorting does not look into bodies, and puts a branch before what it captures.
    """
    nodes = list(model.graph.node)
    maker = {name: place for place, node in enumerate(nodes) for name in node.output if name}
    order: list[int] = []
    done: set[int] = set()
    pending = list(range(len(nodes)))[::-1]
    while pending:
        place = pending[-1]
        taken = (*nodes[place].input, *outer(nodes[place]))
        before = sorted({maker[name] for name in taken if name in maker} - done - {place}, reverse=True)
        if place not in done and before:
            pending += before
            continue
        pending.pop()
        if place not in done:
            done.add(place)
            order.append(place)
    copies = [copied(nodes[place]) for place in order]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def _taken(graph: Any) -> Iterator[Any]:
    """Yield a graph and its branches, as if all were taken; how often a loop's body runs is not known."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute if node.op_type == "If" else ():
            yield from _taken(attribute.g)


def _weights_of(node: Any, graph: OnnxGraph) -> Iterator[Weight]:
    from onnx import TensorProto

    positions, extras = ONNX_MACS[node.op_type]
    for position in positions:
        operand = node.input[position] if position < len(node.input) else ""
        if operand not in graph.known:
            continue  # a product of two activations has no weight
        found, beside = graph.behind(operand)
        if not found:
            continue
        name, largest = max(found, key=lambda item: prod(item[1].dims))
        alike = [t for _, t in found if t.data_type == largest.data_type]
        others = [t for _, t in found if t.data_type not in (largest.data_type, TensorProto.INT64)]
        sides = dict(beside) | {n: graph.stored[n] for n in _named(node, extras) if n in graph.stored}
        bits, elements = _bits(largest.data_type), sum(prod(t.dims) for t in alike)
        if node.op_type == "MatMulNBits":  # packed: several codes a byte
            facts = {a.name: a.i for a in node.attribute}
            bits, elements = facts["bits"], facts["K"] * facts["N"]
        size = sum(_tensor_bytes(tensor) for tensor in [*alike, *others, *sides.values()])
        macs, moved = _macs(node, position, graph.shapes), _moved(node, position, graph.shapes)
        yield Weight(name, node.op_type, elements, bits, size, macs, max(largest.dims, default=1), moved)


def _moved(node: Any, position: int, shapes: dict[str, list[int]]) -> int | None:
    """Count the activations that a product reads and writes for a batch of one."""
    other = node.input[1 if position == 0 else 0]
    read, written = shapes.get(other), shapes.get(node.output[0])
    if node.op_type in RECURRENT or not read or not written or 0 in [*read, *written]:
        return None
    return prod(read) + prod(written)


def _named(node: Any, positions: tuple[int, ...]) -> list[str]:
    return [node.input[position] for position in positions if position < len(node.input)]


def _bits(data_type: int) -> int:
    from onnx import TensorProto, helper

    narrow = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}
    name = TensorProto.DataType.Name(data_type)
    return narrow.get(name) or 8 * helper.tensor_dtype_to_np_dtype(data_type).itemsize


def _tensor_bytes(tensor: Any) -> int:
    return -(-prod(tensor.dims) * _bits(tensor.data_type) // 8)


def _shapes_for_one(model: Any, sizes: Sizes) -> dict[str, list[int]]:
    """Infer every value's shape for a batch of one; empty where inference gives up."""
    import onnx

    one = copied(model)
    one.ir_version = max(one.ir_version, 4)  # before 4, what is stored had to be an input as well
    for value in one.graph.input:
        dims = value.type.tensor_type.shape.dim
        # free: unset, named, or the 0 and -1 that some exporters write
        free = [place for place, dim in enumerate(dims) if dim.dim_value <= 0]
        known = sizes.get(value.name)
        for place in free if known else free[:1]:
            dims[place].dim_value = known[place] if known else 1
    for value in one.graph.output:
        value.type.tensor_type.ClearField("shape")
    del one.graph.value_info[:]
    try:
        inferred = onnx.shape_inference.infer_shapes(one, data_prop=True).graph
    except Exception:  # shape inference is a courtesy: without it the count is withheld
        return {}
    return {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for graph in _taken(inferred)
        for value in [*graph.input, *graph.value_info, *graph.output]
    }


def _macs(node: Any, position: int, shapes: dict[str, list[int]]) -> int | None:
    """Count multiply-accumulates: output elements times the length of the sum behind each."""
    first, weight = shapes.get(node.input[0]), shapes.get(node.input[position])
    facts = {a.name: a.i for a in node.attribute}
    if node.op_type == "MatMulNBits":
        return prod(first) * facts["N"] if first and 0 not in first else None
    out = shapes.get(node.output[0])
    if node.op_type in RECURRENT or not first or not weight or not out or 0 in [*out, *weight, *first]:
        return None
    if node.op_type == "ConvTranspose":  # weight (in, out / groups, kernel...): every input element is spread
        return prod(first) * prod(weight[1:])
    if "Conv" in node.op_type:  # weight (out, in / groups, kernel...): all but the first are summed over
        return prod(out) * prod(weight[1:])
    turned = facts.get("transA" if position == 0 else "transB", 0)
    return prod(out) * summed(weight, left=position == 0, turned=bool(turned))


def summed(weight: list[int], *, left: bool, turned: bool) -> int:
    """Return the length of the sums of a matrix product, read from the shape of one of its sides."""
    return weight[-1] if len(weight) == 1 or left != turned else weight[-2]
