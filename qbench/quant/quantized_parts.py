"""What of a quantized ONNX network could be in float instead: its operators whose operands were rounded."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path

from qbench.quant.qdq_graph import OnnxGraph, opened

RESTORES, ROUNDS = "DequantizeLinear", "QuantizeLinear"


@dataclass(frozen=True, slots=True)
class Part:
    """One operator that takes rounded numbers."""

    name: str  # of its node, which is also its name in the float network
    operator: str
    elements: int  # of the weights that it takes in low bits; 0: only activations


def parts_of(path: Path | None) -> tuple[Part, ...]:
    """Return the operators of a file with quantize-dequantize nodes that take what was rounded, in order.

    Nodes without a name of their own are none: nobody could ask for them. Nor are those of a branch.
    """
    import onnx

    model = opened(onnx.load(path or ""))
    stored = OnnxGraph(model).stored
    weights: dict[str, int] = {}  # by what a dequantizer gives: the stored numbers behind it
    for node in model.graph.node:
        if node.op_type == RESTORES:
            codes = stored.get(node.input[0])
            weights[node.output[0]] = prod(codes.dims) if codes is not None and len(codes.dims) > 1 else 0
    found = {}
    for node in model.graph.node:
        taken = [weights[name] for name in node.input if name in weights]
        nameable = node.name and "," not in node.name and node.name not in found
        if taken and nameable and node.op_type not in (RESTORES, ROUNDS):
            found[node.name] = Part(node.name, node.op_type, sum(taken))
    return tuple(found.values())
