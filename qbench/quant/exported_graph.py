"""Reading a torch.export program: which multiply-accumulates it holds and how their weights are stored."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from qbench.quant.program import read_program
from qbench.quant.qdq_graph import Weight, summed

EXPORTED_PRODUCTS = ("linear", "addmm", "baddbmm", "matmul", "mm", "bmm", "einsum", "int_mm")
TWO_PRODUCTS = "scaled_dot_product_attention"  # queries with keys, and what that gives with values
ADDED_FIRST = ("addmm", "baddbmm")  # their first argument is added, not multiplied


def exported_weights(path: Path | None) -> list[Weight]:
    """Return the weights of every multiply-accumulate operator in a torch.export program.

    Raises:
        BadFile: the file is no torch.export program.
    """
    program = read_program(path)
    behind = _stored_in(program)
    weights = []
    for operator, node in _products(program):
        added = node.args[0] if operator in ADDED_FIRST else None
        for operand in node.all_input_nodes:
            found = {} if operand is added else behind.get(operand, {})
            matrices = {name: tensor for name, tensor in found.items() if tensor.dim() > 1}
            if not matrices:
                continue  # an activation, or a bias
            name, tensor = max(matrices.items(), key=lambda item: item[1].numel())
            found |= _parametrization(name, program)
            size = sum(each.numel() * each.element_size() for each in found.values())
            macs = _exported_macs(operator, node, operand)
            bits = 8 * tensor.element_size()
            moved = _moved(node, operand, added)
            weights.append(Weight(name, operator, tensor.numel(), bits, size, macs, max(tensor.shape), moved))
    return weights


def _moved(node: Any, operand: Any, added: Any) -> int | None:
    """Count the activations that a product reads and writes for a batch of one."""
    read = [each for each in node.all_input_nodes if each is not operand and each is not added]
    if not read:
        return None
    return prod(sizes_for_one(read[0])) + prod(sizes_for_one(node))


def exported_products(path: Path | None) -> int:
    """Return how many products the program has, those of two activations included.

    Raises:
        BadFile: the file is no torch.export program.
    """
    program = read_program(path)
    attention = sum(TWO_PRODUCTS in str(node.target) for node in program.graph.nodes)
    return len(list(_products(program))) + 2 * attention


def _products(program: Any) -> Iterator[tuple[str, Any]]:
    """Yield every multiply-accumulate operator's name and its node."""
    for node in program.graph.nodes:
        operator = str(node.target).removeprefix("aten.").split(".")[0].lstrip("_")
        if node.op == "call_function" and (operator.startswith("conv") or operator in EXPORTED_PRODUCTS):
            yield operator, node


def _parametrization(name: str, program: Any) -> dict[str, Any]:
    """Return the tensors that a subclass of a weight was taken apart into: its codes, scales, zero points.

    Scales are applied after an integer product, so that they do not lie behind its operand.
    """
    parent = name.rpartition(".")[0]
    if "parametrizations" not in parent:
        return {}
    stored = {**program.constants, **program.state_dict}
    return {other: stored[other] for other in stored if other.rpartition(".")[0] == parent}


def _stored_in(program: Any) -> dict[Any, dict[str, Any]]:
    """Return, for every value that does not depend on an input, the stored tensors that it is made from."""
    signature = program.graph_signature
    names = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    stored = {**program.constants, **program.state_dict}
    behind: dict[Any, dict[str, Any]] = {}
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in names:
            behind[node] = {names[node.name]: stored[names[node.name]]}
        elif node.op == "call_function" and node.all_input_nodes:
            sources = [behind.get(source) for source in node.all_input_nodes]
            if None not in sources:
                behind[node] = {name: tensor for source in sources for name, tensor in (source or {}).items()}
    return behind


def _exported_macs(operator: str, node: Any, operand: Any) -> int | None:
    out, weight = sizes_for_one(node), sizes_for_one(operand)
    if operator == "einsum":
        return None
    if operator.startswith("conv"):
        transposed = "transpose" in operator or (operator == "convolution" and node.args[6])
        return prod(sizes_for_one(node.args[0]) if transposed else out) * prod(weight[1:])
    if operator == "linear":
        return prod(out) * weight[-1]
    left = operand is node.args[1 if operator in ADDED_FIRST else 0]
    return prod(out) * summed(weight, left=left, turned=False)


def sizes_for_one(node: Any) -> list[int]:
    """Return a value's shape with every free size set to one: the batch, and what is computed from it."""
    sizes = []
    for size in node.meta["val"].shape:
        expression = None if isinstance(size, int) else size.node.expr
        sizes.append(
            size if expression is None else int(expression.subs(dict.fromkeys(expression.free_symbols, 1)))
        )
    return sizes
