"""What an ONNX network is made of, as far as that decides which techniques are worth trying on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qbench.quant.qdq_graph import OnnxGraph, Sizes, Weight, opened, weights_in

CONVOLUTION, PRODUCT, RECURRENT = "convolutions", "matrix products", "LSTM layers"
FLOAT_RECURRENT = "GRU and plain recurrent layers"  # no engine here multiplies integers in them
FAMILIES = {
    **dict.fromkeys(("Conv", "FusedConv", "ConvTranspose"), CONVOLUTION),
    **dict.fromkeys(("Gemm", "FusedGemm", "MatMul", "FusedMatMul"), PRODUCT),
    "LSTM": RECURRENT,
    **dict.fromkeys(("GRU", "RNN"), FLOAT_RECURRENT),
}
# What a quantizer that covers all operators rounds between layers, and where values of unlike range meet.
ROUNDED = ("Add", "Sub", "Mul", "Div", "Concat", "Where", "Sigmoid", "Gather", "Resize", "Pow", "Max", "Min")
NORMALIZED = (
    "LayerNormalization",
    "RMSNormalization",
    "SimplifiedLayerNormalization",
    "SkipLayerNormalization",
)
ATTENTION = ("Attention", "MultiHeadAttention", "GroupQueryAttention")
SUMMED = ("ReduceMean", "ReduceSum", "ReduceSumSquare", "ReduceL2")


@dataclass(frozen=True, slots=True)
class Network:
    """The facts of one network."""

    work: Mapping[str, float]  # by family, the share of its multiply-accumulates; empty: it has no such layer
    counted: bool  # False: shapes are not known before it runs, and the weights' numbers stand in for work
    layers: int
    rounded: tuple[str, ...]  # kinds of operator between its layers that may be rounded as well
    attends: bool
    normalizes: bool  # layers, example by example: its activations have channels of unlike range
    looks_up: bool  # rows of a stored table: embeddings
    opset: int
    weight_bytes: int  # of its layers, in 32-bit float
    macs: int | None  # of one example; None: not counted

    def share(self, *families: str) -> float:
        """Return the share of the work of these families."""
        return sum(self.work.get(family, 0.0) for family in families)


def facts_of(path: Path, sizes: Sizes | None = None) -> Network:
    """Return the facts of an ONNX file, its work at these `sizes` of a call with one example.

    Raises:
        BadFile: see onnx_weights.
    """
    import onnx

    model = opened(onnx.load(path))
    graph = OnnxGraph(model)
    kinds = Counter(node.op_type for node in graph.nodes)
    layers = [
        weight for weight in weights_in(model, sizes) if weight.multiplied and weight.operator in FAMILIES
    ]
    work, counted = _work(layers)
    by_hand = kinds["Sqrt"] > 0 and any(kinds[name] for name in SUMMED)
    return Network(
        work,
        counted,
        len(layers),
        tuple(name for name in ROUNDED if kinds[name]),
        _attends(graph),
        by_hand or any(kinds[name] for name in NORMALIZED),
        _looks_up(graph),
        max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0),
        sum({weight.name: weight.float_bytes for weight in layers}.values()),
        sum(weight.macs or 0 for weight in layers) if counted else None,
    )


def _work(layers: list[Weight]) -> tuple[dict[str, float], bool]:
    """Return each family's share: of products where all are known, else of the weights' numbers."""
    counted = all(weight.macs for weight in layers)
    sizes: Counter[str] = Counter()
    for weight in layers:
        sizes[FAMILIES[weight.operator]] += (weight.macs or 0) if counted else weight.elements
    whole = sum(sizes.values())
    return {family: size / whole for family, size in sizes.most_common() if whole}, counted


def _attends(graph: OnnxGraph) -> bool:
    """Tell whether it has attention: as one operator, or a matrix product of what a Softmax gives."""
    soft = {name for node in graph.nodes if node.op_type == "Softmax" for name in node.output}
    return any(
        node.op_type in ATTENTION or (node.op_type == "MatMul" and not soft.isdisjoint(node.input))
        for node in graph.nodes
    )


def _looks_up(graph: OnnxGraph) -> bool:
    """Tell whether rows of a stored matrix of real numbers are gathered."""
    from onnx import TensorProto

    real = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
    tables = {name for name, t in graph.stored.items() if len(t.dims) > 1 and t.data_type in real}
    return any(node.op_type == "Gather" and node.input[0] in tables for node in graph.nodes)
