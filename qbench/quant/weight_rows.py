"""A stored ONNX weight as a matrix with a row for every output channel, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

Back = Callable[["np.ndarray"], "np.ndarray"]


def as_rows(node: Any, position: int, weight: np.ndarray) -> tuple[np.ndarray, Back]:
    """Return a weight as (output channels, length of a sum), and what puts such a matrix into its shape.

    `position` is the weight's among the inputs of a Conv, ConvTranspose, Gemm or MatMul. Within a row the
    elements follow as in the file: input channel first, then the kernel. A stack of matrices has the rows of
    all of them.
    """
    axis, facts = 0, {a.name: a.i for a in node.attribute}
    if node.op_type == "ConvTranspose":  # (in, out / groups, kernel...), the groups one after the other
        groups = facts.get("group", 1)
        split = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:]).swapaxes(1, 2)
        return _flat(split, 2, lambda array: array.swapaxes(1, 2).reshape(weight.shape))
    if weight.ndim < 2:
        return weight.reshape(1, -1), lambda rows: rows.reshape(weight.shape)
    if node.op_type in ("Gemm", "MatMul"):
        turned = facts.get("transA" if position == 0 else "transB", 0)
        axis = -2 if (position == 0) != bool(turned) else -1
    if axis == -1:  # (..., length, out)
        return _flat(weight.swapaxes(-1, -2), weight.ndim - 1, lambda array: array.swapaxes(-1, -2))
    return _flat(weight, weight.ndim - 1 if axis == -2 else 1, lambda array: array)


def _flat(array: np.ndarray, leading: int, then: Back) -> tuple[np.ndarray, Back]:
    """Return an array with its leading axes as rows, and the way back, `then` last."""
    shape, rows = array.shape, 1
    for size in array.shape[:leading]:
        rows *= size
    return array.reshape(rows, -1), lambda matrix: then(matrix.reshape(shape))
