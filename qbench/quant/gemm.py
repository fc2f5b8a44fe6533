"""Gemm in the forms that quantizers know: with plain numbers, or as a matrix product and an addition."""

from __future__ import annotations

from typing import Any

PLAIN = {"alpha": 1.0, "beta": 1.0, "transA": 0}


def plain_gemms(model: Any) -> None:
    """Put every Gemm's alpha and beta into its stored weight and bias, in place, and make a row of the bias.

    onnxruntime's quantizer stops at a bias that is no row, and its integer kernels take biases in steps of
    the product without alpha. Numbers that are not stored stay as they are.
    """
    import numpy as np
    from onnx import numpy_helper

    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in [node for node in model.graph.node if node.op_type == "Gemm" and node.input[1] in stored]:
        facts = {a.name: a for a in node.attribute}
        across = list(stored[node.input[1]].dims)[0 if "transB" in facts and facts["transB"].i else 1]
        for place, name in ((1, "alpha"), (2, "beta")):
            if place >= len(node.input) or node.input[place] not in stored:
                continue
            factor = facts[name].f if name in facts else 1.0
            array = numpy_helper.to_array(stored[node.input[place]])
            row = (
                place == 2
                and array.shape != (across,)
                and array.size in (1, array.shape[-1] if array.ndim else 1)
            )
            if factor == 1 and not row:
                continue
            array = (np.broadcast_to(array.reshape(-1), (across,)) if row else array) * array.dtype.type(
                factor
            )
            own = f"{node.output[0]}_{name}_of_{node.input[place]}"
            model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), own))
            node.input[place] = own
            if name in facts:
                node.attribute.remove(facts[name])
    used = {name for node in model.graph.node for name in node.input} | {v.name for v in model.graph.output}
    for tensor in [tensor for tensor in stored.values() if tensor.name not in used]:
        model.graph.initializer.remove(tensor)


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
