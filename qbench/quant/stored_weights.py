"""Replacing the stored weights of an ONNX network's products, one use at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qbench.errors import DoesNotFit
from qbench.quant.qdq_graph import ONNX_MACS, OnnxGraph
from qbench.quant.weight_rows import as_rows

if TYPE_CHECKING:
    import numpy as np


def layers_of(model: Any, kinds: tuple[str, ...], technique: str) -> list[tuple[Any, int]]:
    """Return the nodes of these kinds that multiply with a stored weight, and the weight's position.

    Raises:
        DoesNotFit: none has a weight in 32-bit float; the types that were found are named.
    """
    from onnx import TensorProto

    graph = OnnxGraph(model)
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    found = [
        (node, position)
        for node in model.graph.node
        if node.op_type in kinds
        for position in ONNX_MACS[node.op_type][0]
        if node.input[position] in types and node.input[1 - position] not in graph.known
    ]
    layers = [(node, at) for node, at in found if types[node.input[at]] == TensorProto.FLOAT]
    if not layers:
        told = sorted({TensorProto.DataType.Name(types[node.input[at]]).lower() for node, at in found})
        raise DoesNotFit(
            f"{technique} rounds stored weights in 32-bit float; the {len(found)} layers of this network "
            f"have none (found: {', '.join(told) or 'weights that are computed'})",
            fix="give the network in 32-bit float",
        )
    return layers


def replace_weights(
    model: Any,
    layers: list[tuple[Any, int]],
    change: Callable[[np.ndarray], np.ndarray],
    technique: str,
) -> None:
    """Put `change`, of a matrix (output channels, length of a sum), in the place of every layer's weight.

    What else uses the tensor keeps it as it was.

    Raises:
        DoesNotFit: a weight holds NaN or an infinite number; it is named.
    """
    import numpy as np
    from onnx import numpy_helper

    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for number, (node, position) in enumerate(layers):
        name = node.input[position]
        weight = numpy_helper.to_array(stored[name])
        bad = int(weight.size - np.isfinite(weight).sum())
        if bad:
            raise DoesNotFit(
                f"{technique} cannot round the weight {name!r}: {bad} of its {weight.size} elements are NaN "
                "or infinite",
                fix="train the network again, or repair its weights; they are broken in 32-bit float already",
            )
        rows, back = as_rows(node, position, weight)
        changed = np.ascontiguousarray(back(change(rows)).astype("f4"))
        node.input[position] = f"{name}_{number}_on_grid"
        model.graph.initializer.append(numpy_helper.from_array(changed, node.input[position]))
    used = {name for node in model.graph.node for name in node.input}
    used |= {value.name for value in model.graph.output}
    for tensor in [t for t in stored.values() if t.name not in used]:
        model.graph.initializer.remove(tensor)
