"""What the ONNX strategies share: a network in the form that quantizers take, and a library kept quiet."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qbench.errors import DoesNotFit
from qbench.quant import opset
from qbench.quant.gemm import plain_gemms
from qbench.quant.qdq_graph import ONNX_MACS, OnnxGraph, opened

INTEGERS = (
    "QuantizeLinear", "DequantizeLinear", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear",
    "MatMulNBits",
)  # fmt: skip
OPSET = 13  # the first with scales per channel, and with bfloat16 in Cast


def read_network(path: Path | None, covers: tuple[str, ...], technique: str) -> Any:
    """Return a float ONNX model, in the form that quantizers take, with something in it that is covered.

    Weights become initializers, wherever the exporter put them (onnxruntime's quantizers take what a Constant
    or a Transpose gives for an activation, and leave it in float); none of them is a graph input; the
    operator set is one that can say what a quantizer writes; a Gemm's factors are in its numbers; and shapes
    noted for intermediate values are dropped, because they go stale when a quantizer transposes a weight.

    Raises:
        DoesNotFit: no operator with a stored weight is covered; the kinds that were found are named. Or the
            file is quantized already.
    """
    import onnx

    model = opened(onnx.load(path or ""))
    _in_float_or_raise(model, technique)
    model = raised(model, technique)
    _store_weights(model)
    plain_gemms(model)
    stored = {tensor.name for tensor in model.graph.initializer}
    for value in [value for value in model.graph.input if value.name in stored]:
        model.graph.input.remove(value)
    model.ir_version = max(model.ir_version, 4)  # before 4, what is stored had to be an input as well
    del model.graph.value_info[:]
    covered = any(stored.intersection(node.input) for node in model.graph.node if node.op_type in covers)
    if not covered:
        found = Counter(node.op_type for node in model.graph.node)
        kinds = ", ".join(f"{kind} x{count}" for kind, count in found.most_common())
        raise DoesNotFit(
            f"{technique} covers {', '.join(covers)} with a stored weight; this network has none of them "
            f"(found: {kinds or 'nothing'})",
            fix=f"leave {technique} out for this network",
        )
    return model


def _in_float_or_raise(model: Any, technique: str) -> None:
    kinds = Counter(node.op_type for node in OnnxGraph(model).nodes)
    integers = {kind: n for kind, n in kinds.items() if kind in INTEGERS or kind.startswith("QLinear")}
    if integers:
        found = ", ".join(f"{kind} x{count}" for kind, count in integers.items())
        raise DoesNotFit(
            f"{technique} takes a network in float, and this one is quantized already (found: {found})",
            fix="give the float file that it was made from, or change its integers: requantize",
        )


def raised(model: Any, technique: str, least: int = OPSET) -> Any:
    """Return the model in an operator set that is new enough.

    Raises:
        DoesNotFit: the network cannot be raised to it.
    """
    try:
        return opset.raised(opset.with_one_standard_domain(model), least)
    except DoesNotFit as error:
        raise DoesNotFit(
            f"{technique} needs ONNX operator set {least}: {error.problem}", fix=error.fix
        ) from error


def _store_weights(model: Any) -> None:
    """Make an initializer of every weight that is a Constant node or computed from stored tensors."""
    from onnx import numpy_helper

    graph = OnnxGraph(model)
    held = {tensor.name for tensor in model.graph.initializer}
    made_here = {output for node in model.graph.node for output in node.output}
    weights = dict.fromkeys(
        node.input[position]
        for node in graph.nodes
        for position in ONNX_MACS.get(node.op_type, ((), ()))[0]
        if position < len(node.input) and node.input[position] in (graph.known - held) & made_here
    )
    if weights:
        for name, array in zip(weights, _computed(model, graph, list(weights)), strict=True):
            model.graph.initializer.append(numpy_helper.from_array(array, name))
        _drop_makers(model, graph, set(weights))


def _computed(model: Any, graph: OnnxGraph, names: list[str]) -> list[Any]:
    """Return the arrays of these values, which depend on stored tensors only."""
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    needed, pending = set(), list(names)
    while pending:
        name = pending.pop()
        if name not in needed:
            needed.add(name)
            pending += graph.maker[name].input if name in graph.maker else ()
    nodes = [node for node in model.graph.node if needed.intersection(node.output)]
    tensors = [tensor for tensor in model.graph.initializer if tensor.name in needed]
    wanted = [helper.make_empty_tensor_value_info(name) for name in names]
    part = helper.make_graph(nodes, "weights", [], wanted, tensors)
    whole = helper.make_model(part, opset_imports=model.opset_import, ir_version=model.ir_version)
    return list(ReferenceEvaluator(whole).run(None, {}))


def _drop_makers(model: Any, graph: OnnxGraph, replaced: set[str]) -> None:
    """Take out the nodes and tensors that only served to make these values: they would swell the file."""
    before = -1
    while before != len(model.graph.node):
        before = len(model.graph.node)
        used = {name for node in OnnxGraph(model).nodes for name in node.input}
        used |= {value.name for value in model.graph.output}
        for node in list(model.graph.node):
            if graph.known.issuperset(node.output) and not (set(node.output) - replaced).intersection(used):
                model.graph.node.remove(node)
    for node in model.graph.node:
        for position, name in enumerate(node.output):
            if name in replaced:  # one output of several: the others are still needed
                node.output[position] = f"{name}_before"
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name not in used]:
        model.graph.initializer.remove(tensor)


@contextmanager
def quietly() -> Iterator[None]:
    """Hold back log lines below an error: onnxruntime advises a step that breaks its own tool."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
