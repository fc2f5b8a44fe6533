"""Gemm in the forms that quantizers know: with plain numbers, or as a matrix product and an addition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qbench.quant.coverage import named
from qbench.quant.qdq_graph import OnnxGraph

if TYPE_CHECKING:
    import numpy as np

PLAIN = {"alpha": 1.0, "beta": 1.0, "transA": 0}


def plain_gemms(model: Any) -> None:
    """Put every Gemm's alpha and beta into its stored weight and bias, in place, and make a row of the bias.

    onnxruntime's quantizer stops at a bias that is no row, and its integer kernels take biases in steps of
    the product without alpha. A stored bias that differs between rows is added behind the product. Numbers
    that are not stored stay as they are.
    """
    from onnx import numpy_helper

    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    replaced: set[str] = set()
    for node in [node for node in model.graph.node if node.op_type == "Gemm" and node.input[1] in stored]:
        facts = {attribute.name: attribute for attribute in node.attribute}
        across = list(stored[node.input[1]].dims)[0 if "transB" in facts and facts["transB"].i else 1]
        for place, name in ((1, "alpha"), (2, "beta")):
            if place >= len(node.input) or node.input[place] not in stored:
                continue
            before = numpy_helper.to_array(stored[node.input[place]])
            array = before if place == 1 else _row(before, across)
            if name in facts and facts[name].f != 1:
                array = array * array.dtype.type(facts[name].f)
                node.attribute.remove(facts[name])
            if array is not before:
                own = f"{node.output[0]}_{name}_{node.input[place]}"
                model.graph.initializer.append(numpy_helper.from_array(array.copy(), own))
                replaced.add(node.input[place])
                node.input[place] = own
    _add_matrices_behind(model)
    used = {name for node in OnnxGraph(model).nodes for name in node.input}
    for name in replaced - used:
        model.graph.initializer.remove(stored[name])


def _add_matrices_behind(model: Any) -> None:
    """Take every stored bias that is no row out of its Gemm; an Add behind it has the Gemm's output."""
    from onnx import helper

    ranks = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        nodes.append(node)
        bias = node.input[2] if node.op_type == "Gemm" and len(node.input) > 2 else ""
        if ranks.get(bias, 1) > 1:
            out, product = node.output[0], f"{node.output[0]}_product"
            node.output[0] = product
            del node.input[2]
            nodes.append(helper.make_node("Add", [product, bias], [out], f"{node.name or out}_sum"))
    if len(nodes) > len(model.graph.node):
        kept = [type(node).FromString(node.SerializeToString()) for node in nodes]
        del model.graph.node[:]
        model.graph.node.extend(kept)


def _row(bias: np.ndarray, across: int) -> np.ndarray:
    """Return a bias that is the same for every example as (across,); another as it is."""
    import numpy as np

    same = bias.shape != (across,) and bias.size in (1, across) and bias.size == (bias.shape or (1,))[-1]
    return np.broadcast_to(bias.reshape(-1), (across,)) if same else bias


def split_gemms(model: Any) -> None:
    """Rewrite every plain Gemm with a stored weight as MatMul and Add, in place; the product has its name.

    A Gemm that scales its result or turns its first input stays as it is: it has no equal of two nodes.
    """
    from onnx import helper, numpy_helper

    named(model)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        facts = PLAIN | {a.name: helper.get_attribute_value(a) for a in node.attribute}
        plain = node.op_type == "Gemm" and node.input[1] in stored
        if not plain or any(facts[name] != value for name, value in PLAIN.items()):
            nodes.append(node)
            continue
        weight = node.input[1]
        if facts.get("transB"):
            weight = f"{weight}_turned"
            if weight not in stored:
                turned = numpy_helper.to_array(stored[node.input[1]]).T.copy()
                stored[weight] = numpy_helper.from_array(turned, weight)
                model.graph.initializer.append(stored[weight])
        added = len(node.input) > 2 and bool(node.input[2])
        product = f"{node.output[0]}_product" if added else node.output[0]
        nodes.append(helper.make_node("MatMul", [node.input[0], weight], [product], name=node.name))
        if added:
            nodes.append(
                helper.make_node("Add", [product, node.input[2]], [node.output[0]], name=f"{node.name}_sum")
            )
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input} | {value.name for value in model.graph.output}
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name not in used]:
        model.graph.initializer.remove(tensor)


def products_of(model: Any) -> dict[str, int]:
    """Return the names of the products with one stored matrix on the right, each with its rows' length."""
    stored = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    return {
        node.name: stored[node.input[1]][0]
        for node in model.graph.node
        if node.op_type == "MatMul" and len(stored.get(node.input[1], ())) == 2
    }
