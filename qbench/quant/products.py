"""A convolution or a matrix product as what it is: rows of activations times a matrix.

Positions of the output are sampled evenly, all examples together: a few thousand tell as much of a layer's
inputs as all of them do.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

ROWS = 1024  # positions of a layer's output that are looked at, unless told otherwise
PRODUCTS = ("Conv", "Gemm", "MatMul")  # what is known here


@dataclass(frozen=True, slots=True)
class Windows:
    """What a layer multiplies its weight with: (groups, rows, channels, kernel positions)."""

    values: np.ndarray
    positions: int  # rows in all; some of them are looked at


def windows(
    node: Any, shape: tuple[int, ...], values: np.ndarray, fill: float = 0, most: int = ROWS
) -> Windows | None:
    """Return what this node multiplies its weight with; None where its form is not known here.

    Shapes:
        shape: of the weight as stored. values: of the node's first input. `fill` is what padding puts.
    """
    if node.op_type == "Conv":
        return _convolution(node, shape, values, fill, most)
    if node.op_type not in PRODUCTS or len(shape) != 2 or fact(node, "transA", 0):
        return None
    rows = values.reshape(-1, values.shape[-1])
    return Windows(rows[_spread(len(rows), most)][None, :, :, None], len(rows))


def as_matrix(node: Any, weight: np.ndarray) -> np.ndarray:
    """Return a stored weight as (channels out, what each is a sum over); `from_matrix` undoes it."""
    if node.op_type == "Conv":
        return weight.reshape(len(weight), -1)
    if node.op_type == "ConvTranspose":
        return np.moveaxis(weight, 1, 0).reshape(weight.shape[1], -1)
    if node.op_type == "Gemm" and fact(node, "transB", 0):
        return weight
    return np.moveaxis(weight, -1, 0).reshape(weight.shape[-1], -1)


def from_matrix(node: Any, matrix: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return a matrix in the shape in which its weight is stored."""
    if node.op_type == "Conv" or (node.op_type == "Gemm" and fact(node, "transB", 0)):
        return matrix.reshape(shape)
    axis = 1 if node.op_type == "ConvTranspose" else len(shape) - 1
    moved = (shape[axis], *(size for place, size in enumerate(shape) if place != axis))
    return np.ascontiguousarray(np.moveaxis(matrix.reshape(moved), 0, axis))


def _convolution(
    node: Any, shape: tuple[int, ...], values: np.ndarray, fill: float, most: int
) -> Windows | None:
    """Gather the sampled output positions' inputs."""
    facts = {a.name: list(a.ints) for a in node.attribute if a.ints}
    kernel = shape[2:]
    dims = len(kernel)
    strides, dilations = (facts.get(name, [1] * dims) for name in ("strides", "dilations"))
    automatic = next((a.s for a in node.attribute if a.name == "auto_pad"), b"NOTSET")
    if automatic not in (b"NOTSET", b"VALID"):
        return None
    pads = facts.get("pads", [0] * 2 * dims) if automatic == b"NOTSET" else [0] * 2 * dims
    around = [(0, 0), (0, 0), *zip(pads[:dims], pads[dims:], strict=True)]
    padded = np.pad(values, around, constant_values=fill)
    spans = [1 + (size - 1) * step for size, step in zip(kernel, dilations, strict=True)]
    free = zip(padded.shape[2:], spans, strides, strict=True)
    outs = [(size - span) // stride + 1 for size, span, stride in free]
    positions = len(values) * prod(outs)
    chosen = np.unravel_index(_spread(positions, most), (len(values), *outs))
    offsets = np.stack([grid.ravel() for grid in np.indices(kernel)])  # (dims, kernel positions)
    index = [
        chosen[axis + 1][:, None] * strides[axis] + offsets[axis] * dilations[axis] for axis in range(dims)
    ]
    last = np.moveaxis(padded, 1, -1)
    found = np.moveaxis(last[(chosen[0][:, None], *index)], 2, 1)  # (rows, channels, kernel positions)
    count = fact(node, "group", 1)
    rows, channels, taps = found.shape
    grouped = found.reshape(rows, count, channels // count, taps)
    return Windows(np.moveaxis(grouped, 1, 0), positions)


def fact(node: Any, name: str, usual: int) -> int:
    """Return an integer attribute of a node, or what the format says where it is not given."""
    return next((attribute.i for attribute in node.attribute if attribute.name == name), usual)


def _spread(count: int, most: int) -> np.ndarray:
    """Return at most so many positions, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))
