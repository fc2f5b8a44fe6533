"""ONNX operators that move elements or sum along axes, in torch: reductions, slices and shapes.

See torch_operators for how these functions are called.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from qbench.quant.torch_step import Step, highest, lowest, to_tensor

if TYPE_CHECKING:
    from torch import Tensor

Operator = Callable[..., Any]


# what the standard says of the largest and of the smallest of no elements
EXTREMES: dict[str, Callable[[Any], float]] = {"amax": lowest, "amin": highest}


# --- along an axis ----------------------------------------------------------------------------------


def _reduction(name: str) -> Operator:
    """Return a reduction; its axes are an attribute or, in newer operator sets, an input."""

    def operator(step: Step, *values: Tensor) -> Tensor:
        import torch

        x = values[0]
        axes = step.facts.get("axes") or step.numbers(1, values) or []
        if not axes and step.facts.get("noop_with_empty_axes", 0):
            return x
        keep = bool(step.facts.get("keepdims", 1))
        axes = axes or list(range(x.ndim))
        if name in EXTREMES and any(x.shape[axis] == 0 for axis in axes):  # torch has none of no elements
            return x.sum(dim=axes, keepdim=keep).to(x.dtype).fill_(EXTREMES[name](x.dtype))
        return attrgetter(name)(torch)(x, dim=axes, keepdim=keep)

    return operator


def _softmax(name: str) -> Operator:
    def operator(step: Step, x: Tensor) -> Tensor:
        import torch

        return getattr(torch, name)(x, dim=step.facts.get("axis", -1))

    return operator


def _concat(step: Step, *values: Tensor) -> Tensor:
    import torch

    return torch.cat(values, dim=step.facts["axis"])


def _split(step: Step, *values: Tensor) -> tuple[Tensor, ...]:
    x, axis, parts = values[0], step.facts.get("axis", 0), len(step.node.output)
    sizes = step.numbers(1, values)
    if sizes is None:  # the last part is the smaller one
        whole, step_size = x.shape[axis], -(-x.shape[axis] // parts)
        sizes = [step_size] * (parts - 1) + [whole - step_size * (parts - 1)]
    return x.split(sizes, dim=axis)


def _slice(step: Step, *values: Tensor) -> Tensor:
    import torch

    x = values[0]
    starts, ends, axes, strides = (step.numbers(position, values) for position in (1, 2, 3, 4))
    assert starts is not None
    assert ends is not None
    axes = axes or list(range(len(starts)))
    for start, end, axis, stride in zip(starts, ends, axes, strides or [1] * len(starts), strict=True):
        taken = range(*slice(start, end, stride).indices(x.shape[axis]))
        if stride > 0:
            index: list[slice] = [slice(None)] * x.ndim
            index[axis] = slice(start, end, stride)
            x = x[tuple(index)]
        else:  # torch has no views that run backwards
            x = x.index_select(axis, torch.tensor(taken, device=x.device, dtype=torch.int64))
    return x


def _gather(step: Step, x: Tensor, indices: Tensor) -> Tensor:
    axis = step.facts.get("axis", 0) % x.ndim
    index = indices.long()
    index = (index + x.shape[axis] * (index < 0)).reshape(-1)
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    return x.index_select(axis, index).reshape(shape)


# --- shapes -----------------------------------------------------------------------------------------


def _reshape(step: Step, *values: Tensor) -> Tensor:
    x, shape = values[0], step.numbers(1, values)
    assert shape is not None
    if not step.facts.get("allowzero", 0):
        shape = [size or x.shape[axis] for axis, size in enumerate(shape)]
    return x.reshape(shape)


def _flatten(step: Step, x: Tensor) -> Tensor:
    axis = step.facts.get("axis", 1)
    return x.reshape(prod(x.shape[:axis]), prod(x.shape[axis:]))


def _transpose(step: Step, x: Tensor) -> Tensor:
    return x.permute(step.facts.get("perm") or list(reversed(range(x.ndim))))


def _squeeze(step: Step, *values: Tensor) -> Tensor:
    axes = step.numbers(1, values)
    return values[0].squeeze() if axes is None else values[0].squeeze(tuple(axes))


def _unsqueeze(step: Step, *values: Tensor) -> Tensor:
    x, axes = values[0], step.numbers(1, values) or []
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _shape(step: Step, x: Tensor) -> Tensor:
    import torch

    sizes = list(x.shape)[step.facts.get("start", 0) : step.facts.get("end")]
    return torch.tensor(sizes, dtype=torch.int64, device=x.device)


def _expand(step: Step, *values: Tensor) -> Tensor:
    import torch

    x, shape = values[0], step.numbers(1, values)
    assert shape is not None
    return x.expand(torch.broadcast_shapes(x.shape, tuple(shape)))


def _constant_of_shape(step: Step, *values: Tensor) -> Tensor:
    import torch

    shape = step.numbers(0, values)
    assert shape is not None
    value = to_tensor(step.facts["value"]) if "value" in step.facts else torch.zeros(1)
    return value.to(values[0].device).expand(shape) if shape else value.to(values[0].device).reshape([])


SHAPES: dict[str, Operator] = {
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "LogSoftmax": _softmax("log_softmax"),
    "ReduceL2": _reduction("linalg.vector_norm"),
    "ReduceMax": _reduction("amax"),
    "ReduceMean": _reduction("mean"),
    "ReduceMin": _reduction("amin"),
    "ReduceSum": _reduction("sum"),
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "Softmax": _softmax("softmax"),
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
