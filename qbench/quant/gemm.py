"""Gemm as a matrix product and an addition: the form in which weight-only quantizers look for it."""

from __future__ import annotations

from typing import Any

PLAIN = {"alpha": 1.0, "beta": 1.0, "transA": 0}


def split_gemms(model: Any) -> None:
    """Rewrite every plain Gemm with a stored weight as MatMul and Add, in place, and name all products.

    A Gemm that scales its result or turns its first input stays as it is: it has no equal of two nodes.
    """
    from onnx import helper, numpy_helper

    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = []
    for number, node in enumerate(model.graph.node):
        facts = PLAIN | {a.name: helper.get_attribute_value(a) for a in node.attribute}
        plain = node.op_type == "Gemm" and node.input[1] in stored
        if not plain or any(facts[name] != value for name, value in PLAIN.items()):
            if node.op_type == "MatMul":
                node.name = f"product_{number}"
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
        nodes.append(helper.make_node("MatMul", [node.input[0], weight], [product], name=f"product_{number}"))
        if added:
            nodes.append(
                helper.make_node("Add", [product, node.input[2]], [node.output[0]], name=f"sum_{number}")
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
