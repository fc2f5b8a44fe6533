"""SmoothQuant: outliers in the inputs of matrix products move into the weights, exactly, before a quantizer.

One scale for a whole activation is made by its widest channel. x W = (x / s) (s W), with a factor s for each
input channel: the activation gets narrower where it was wide, and the weight, which can have a scale a
column, takes it over (Xiao et al. 2022, arXiv:2211.10438, section 4).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from qbench.quant.products import fact
from qbench.quant.qdq_graph import outer
from qbench.quant.qdq_layout import runner
from qbench.quant.ranges import Batch

PRODUCTS = ("Gemm", "MatMul")
DEAD = 1e-5  # of the widest channel: one that is hardly there is left alone, lest its weights become enormous


@dataclass(frozen=True, slots=True)
class Taken:
    """An activation and the products that multiply it with a stored matrix."""

    tensor: str
    nodes: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Smoothed:
    """What was done; `ratio` is of the widest channel to the median one, before and after, at its worst."""

    tensors: int
    folded: int  # of these, factors that a LayerNormalization took over: they cost nothing
    ratio: tuple[float, float]


def taken_by_products(model: Any) -> list[Taken]:
    """Return the activations that products take from the left, with the products of each."""
    ranks = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
    found: dict[str, list[Any]] = {}
    for node in model.graph.node:
        if node.op_type not in PRODUCTS or ranks.get(node.input[1]) != 2 or node.input[0] in ranks:
            continue
        if not fact(node, "transA", 0):
            found.setdefault(node.input[0], []).append(node)
    return [Taken(tensor, tuple(nodes)) for tensor, nodes in found.items()]


def widths(model: Any, taken: Iterable[Taken], batches: Iterable[Batch]) -> dict[str, np.ndarray]:
    """Return the largest magnitude of every channel (channels,) of these activations, over all examples."""
    run = runner(model, [one.tensor for one in taken])
    found: dict[str, np.ndarray] = {}
    for batch in batches:
        for name, values in run(batch):
            own = np.abs(values.reshape(-1, values.shape[-1])).max(axis=0, initial=0.0)
            found[name] = np.maximum(found[name], own) if name in found else own
    return found


def ratio_of(wide: np.ndarray) -> float:
    """Return how many times the median channel's width the widest has; of live channels."""
    live = wide[wide > DEAD * wide.max()] if wide.size else wide
    return float(live.max() / np.median(live)) if live.size else 1.0


def factors(wide: np.ndarray, weights: list[np.ndarray], alpha: float) -> np.ndarray:
    """Return s (channels,): what an activation is divided by, and the rows of its weights multiplied.

    Shapes:
        wide: (channels,). weights: each (channels, columns).

    Source:
        arXiv:2211.10438, eq. 4: s = max|x| ** alpha / max|w| ** (1 - alpha).
    """
    rows = np.max([np.abs(weight).max(axis=1) for weight in weights], axis=0)
    live = (wide > DEAD * wide.max()) & (rows > DEAD * rows.max())
    made = np.ones(len(wide))
    made[live] = wide[live].astype("f8") ** alpha / rows[live].astype("f8") ** (1 - alpha)
    return made.astype("f4")


def smooth(model: Any, taken: list[Taken], wide: dict[str, np.ndarray], alpha: float) -> Smoothed:
    """Smooth these activations, in place; `wide` has the width of their channels."""
    folded = 0
    worst = (1.0, 1.0)
    for one in taken:
        made = factors(wide[one.tensor], [_rows(model, node) for node in one.nodes], alpha)
        _multiply(model, one, made)
        folded += _divide(model, one, made)
        worst = max(worst, (ratio_of(wide[one.tensor]), ratio_of(wide[one.tensor] / made)))
    return Smoothed(len(taken), folded, worst)


def _stored(model: Any, name: str) -> np.ndarray:
    from onnx import numpy_helper

    return np.asarray(numpy_helper.to_array(next(t for t in model.graph.initializer if t.name == name)))


def _rows(model: Any, node: Any) -> np.ndarray:
    """Return a product's weight as (channels in, columns)."""
    weight = _stored(model, node.input[1])
    return weight.T if fact(node, "transB", 0) else weight


def _multiply(model: Any, one: Taken, made: np.ndarray) -> None:
    """Give every product a weight of its own with its rows multiplied: another may share the old one."""
    own: dict[tuple[str, int], str] = {}
    for node in one.nodes:
        key = node.input[1], fact(node, "transB", 0)
        if key not in own:
            own[key] = f"{node.input[1]}_for_{one.tensor}"
            rows = _rows(model, node) * made[:, None]
            _put(model, own[key], rows.T if key[1] else rows)
        node.input[1] = own[key]
    _drop_unused(model)


def _divide(model: Any, one: Taken, made: np.ndarray) -> bool:
    """Divide the activation, in the LayerNormalization that makes it where nobody else takes it."""
    from onnx import helper

    maker = next((node for node in model.graph.node if one.tensor in node.output), None)
    users = [node for node in model.graph.node if one.tensor in (*node.input, *outer(node))]
    ends = {value.name for value in model.graph.output}
    stored = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
    if (
        maker is not None
        and maker.op_type == "LayerNormalization"
        and one.tensor not in ends
        and {user.output[0] for user in users} == {node.output[0] for node in one.nodes}
        and all(stored.get(name) == 1 for name in maker.input[1:])
    ):
        for place in range(1, len(maker.input)):
            name = f"{one.tensor}_smoothed_{place}"
            _put(model, name, _stored(model, maker.input[place]) / made)
            maker.input[place] = name
        _drop_unused(model)
        return True
    over, divided = f"{one.tensor}_over_smoothing", f"{one.tensor}_smoothed"
    _put(model, over, 1 / made)
    for node in one.nodes:
        node.input[0] = divided
    first = next(place for place, node in enumerate(model.graph.node) if divided in node.input)
    product = helper.make_node(
        "Mul", [one.tensor, over], [divided], f"{one.nodes[0].name or divided}_smoothing"
    )
    model.graph.node.insert(first, product)
    return False


def _put(model: Any, name: str, array: np.ndarray) -> None:
    from onnx import numpy_helper

    model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array, "f4"), name))


def _drop_unused(model: Any) -> None:
    used = {name for node in model.graph.node for name in (*node.input, *outer(node))}
    used |= {value.name for value in model.graph.output}
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name not in used]:
        model.graph.initializer.remove(tensor)
