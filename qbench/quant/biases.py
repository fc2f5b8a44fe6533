"""Biases that quantizers cannot round: each becomes an addition of its own, in float, behind its layer."""

from __future__ import annotations

from typing import Any

from qbench.quant.products import fact

BIASED = ("Conv", "ConvTranspose", "Gemm")  # their third input


def apart_biases(model: Any) -> int:
    """Take such biases out of their layers, in place; return how many there were.

    A bias is rounded in steps of input scale times weight scale. That takes a stored row of numbers with one
    weight scale each, which it has not in a transposed convolution of several groups (its scales are those
    of one group's outputs), in a Gemm that adds a matrix, and where it is computed.
    """
    from onnx import helper, numpy_helper

    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = []
    count = 0
    for node in model.graph.node:
        nodes.append(node)
        name = node.input[2] if node.op_type in BIASED and len(node.input) > 2 else ""
        if not name or _fits(node, stored.get(name)) or _scaled(node):
            continue
        added = name
        if node.op_type != "Gemm":  # (channels,) -> (channels, 1, ...), to meet (batch, channels, ...)
            rank = len(stored[node.input[1]].dims) if node.input[1] in stored else 0
            if name not in stored or not rank:
                continue
            added = f"{node.output[0]}_bias"
            array = numpy_helper.to_array(stored[name]).reshape(-1, *[1] * (rank - 2))
            model.graph.initializer.append(numpy_helper.from_array(array, added))
        out, product = node.output[0], f"{node.output[0]}_unbiased"
        node.output[0] = product
        del node.input[2:]
        label = f"{node.name}_bias" if node.name else ""
        nodes.append(helper.make_node("Add", [product, added], [out], label))
        count += 1
    if count:
        del model.graph.node[:]
        model.graph.node.extend(nodes)
    return count


def _fits(node: Any, bias: Any) -> bool:
    grouped = node.op_type == "ConvTranspose" and fact(node, "group", 1) > 1
    return bias is not None and len(bias.dims) == 1 and not grouped


def _scaled(node: Any) -> bool:
    """Tell whether a Gemm multiplies what it adds, which an addition behind it would not."""
    return any(a.name == "beta" and a.f != 1 for a in node.attribute)
