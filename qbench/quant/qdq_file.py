"""Opening a file that is quantized already, for the techniques that take one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from qbench.cases import Quantized, Scheme, State
from qbench.errors import DoesNotFit
from qbench.quant.qdq_graph import OnnxGraph, opened

ROUNDS = ("QuantizeLinear", "DequantizeLinear")
INTEGERS = ("INT8", "UINT8", "INT16", "UINT16", "INT32", "INT4", "UINT4")
FUSED = ("QGemm", "DynamicQuantizeMatMul", "MatMulNBits")


def takes_static(technique: str, before: State, chain: str = "") -> Scheme:
    """Return the scheme of a state whose weights and activations are integers of fixed scales.

    Raises:
        DoesNotFit: they are not; the fix names a chain that makes it so: `chain`, or the technique's usual.
    """
    fix = f"put a static technique before it: chain = {chain or _chain(technique)}"
    if isinstance(before, Quantized) and not before.scheme.dynamic:
        if before.scheme.activation_bits is not None:
            return before.scheme
        raise DoesNotFit(
            f"{technique} takes fixed scales of activations, and this network's weights alone are rounded: "
            "ranges of activations need data",
            fix=fix,
        )
    if isinstance(before, Quantized):
        raise DoesNotFit(
            f"{technique} takes fixed scales of activations, and this network's are computed from every "
            "input as it comes (dynamic): ranges need data",
            fix=fix,
        )
    raise DoesNotFit(f"{technique} takes a quantized network, and this one is {before.kind}", fix=fix)


def _chain(technique: str) -> str:
    return f'[{{ use = "static_int8" }}, {{ use = "{technique}" }}]'


def read_qdq(path: Path | None, technique: str, chain: str = "") -> Any:
    """Return an ONNX model whose integers are all said by QuantizeLinear and DequantizeLinear.

    Raises:
        DoesNotFit: there are none, or they are written in a way that is not covered; what was found is named,
            and a chain that makes such a file: `chain`, or the technique's usual.
    """
    import onnx

    model = opened(onnx.load(path or ""))
    graph = OnnxGraph(model)
    kinds = Counter(node.op_type for node in graph.nodes)
    if any(kinds[name] for name in ROUNDS):
        reason = _not_covered(model, graph, kinds)
    else:
        reason = (
            f"there are none (found: {', '.join(f'{k} x{n}' for k, n in kinds.most_common()) or 'nothing'})"
        )
    if reason:
        raise DoesNotFit(
            f"{technique} takes a file that says its integers by QuantizeLinear and DequantizeLinear; "
            f"{reason}",
            fix=f"make one: chain = {chain or _chain(technique)}",
        )
    del model.graph.value_info[:]  # the types of codes may change
    return model


def _not_covered(model: Any, graph: OnnxGraph, kinds: Counter[str]) -> str | None:
    """Return why a file with these nodes is not covered, or None."""
    fused = [name for name in kinds if name in FUSED or name.startswith("QLinear") or "Integer" in name]
    if fused:
        return f"this one has integer operators beside them: {', '.join(fused)}"
    plain = {name for node in model.graph.node for name in node.output}
    for node in [node for node in graph.nodes if node.op_type in ROUNDS]:
        if node.output[0] not in plain:
            return f"{node.output[0]!r} is made inside a loop or a branch"
        if any(attribute.name == "block_size" and attribute.i for attribute in node.attribute):
            return f"{node.output[0]!r} has a scale for every block"
        if node.input[1] not in graph.stored:
            return f"the scale of {node.output[0]!r} is computed as it runs"
        if graph.stored[node.input[1]].data_type != 1:  # FLOAT
            return f"the scale of {node.output[0]!r} is no 32-bit float"
        kind = _codes_of(node, graph)
        if kind not in INTEGERS:
            return f"the codes of {node.output[0]!r} are {kind}, and {', '.join(INTEGERS)} are covered"
    return _codes_elsewhere(model, graph)


def _codes_of(node: Any, graph: OnnxGraph) -> str:
    """Return the element type of a node's codes; UINT8 where nothing says it."""
    from onnx import TensorProto

    writes = node.op_type == "QuantizeLinear"
    told = [name for name in (node.input[2:3] if writes else (*node.input[2:3], node.input[0])) if name]
    stored = [graph.stored[name].data_type for name in told if name in graph.stored]
    said = next((a.i for a in node.attribute if a.name == "output_dtype"), 0) if writes else 0
    return str(TensorProto.DataType.Name((stored or [said or TensorProto.UINT8])[0]))


def _codes_elsewhere(model: Any, graph: OnnxGraph) -> str | None:
    """Return which codes of an activation meet anything but DequantizeLinear, or None."""
    codes = {node.output[0] for node in graph.nodes if node.op_type == "QuantizeLinear"} - graph.known
    for value in model.graph.output:
        if value.name in codes:
            return f"its output {value.name!r} is codes"
    given = {value.name for value in model.graph.input} - graph.known
    for node in graph.nodes:
        if node.op_type == "DequantizeLinear" and node.input[0] in given:
            return f"its input {node.input[0]!r} is codes"
    for node in graph.nodes:
        if node.op_type != "DequantizeLinear" and codes.intersection(node.input):
            return f"{node.op_type} computes with the codes {codes.intersection(node.input).pop()!r}"
    return None
