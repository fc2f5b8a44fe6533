"""ONNX's Pad and Resize in torch, axis by axis with indices: torch has neither all axes nor all rules.

See torch_operators for how these functions are called.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, floor
from typing import TYPE_CHECKING, Any

from qbench.quant.torch_step import Step, padded

if TYPE_CHECKING:
    from torch import Tensor


def _mirrored(position: int, size: int) -> int:
    period = max(2 * (size - 1), 1)
    position %= period
    return position if position < size else period - position


OUTSIDE: dict[str, Callable[[int, int], int]] = {
    "reflect": _mirrored,
    "edge": lambda position, size: min(max(position, 0), size - 1),
    "wrap": lambda position, size: position % size,
}


def _pad(step: Step, *values: Tensor) -> Tensor:
    x, pads, mode = values[0], step.numbers(1, values) or [], step.facts.get("mode", "constant")
    axes = step.numbers(3, values) or list(range(x.ndim))
    pairs = [(0, 0)] * x.ndim
    for axis, before, after in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        pairs[axis] = (before, after)
    if mode == "constant":
        return padded(x, pairs, (step.numbers(2, values) or [0])[0])
    for axis, (before, after) in enumerate(pairs):
        if before or after:
            size = x.shape[axis]
            x = _taken(x, axis, [OUTSIDE[mode](at, size) for at in range(-before, size + after)])
    return x


def _taken(x: Tensor, axis: int, positions: list[int]) -> Tensor:
    import torch

    return x.index_select(axis, torch.tensor(positions, dtype=torch.int64, device=x.device))


# output position, input size, output size, scale -> coordinate in the input
COORDINATES: dict[str, Callable[[int, int, int, float], float]] = {
    "half_pixel": lambda at, _size, _new, scale: (at + 0.5) / scale - 0.5,
    "pytorch_half_pixel": lambda at, _size, new, scale: (at + 0.5) / scale - 0.5 if new > 1 else 0.0,
    "align_corners": lambda at, size, new, _scale: at * (size - 1) / (new - 1) if new > 1 else 0.0,
    "asymmetric": lambda at, _size, _new, scale: at / scale,
}
NEAREST: dict[str, Callable[[float], int]] = {
    "round_prefer_floor": lambda x: ceil(x - 0.5),
    "round_prefer_ceil": lambda x: floor(x + 0.5),
    "floor": floor,
    "ceil": ceil,
}


def _resize(step: Step, *values: Tensor) -> Tensor:
    x = values[0]
    axes = step.facts.get("axes") or list(range(x.ndim))
    scales, sizes = step.numbers(2, values), step.numbers(3, values)
    if sizes:
        scales = [new / x.shape[axis] for axis, new in zip(axes, sizes, strict=True)]
    assert scales is not None
    sizes = sizes or [floor(x.shape[axis] * scale) for axis, scale in zip(axes, scales, strict=True)]
    rule = COORDINATES[step.facts.get("coordinate_transformation_mode", "half_pixel")]
    for axis, new, scale in zip(axes, sizes, scales, strict=True):
        if scale != 1:
            size = x.shape[axis]
            x = _resampled(step, x, axis, [rule(at, size, new, scale) for at in range(new)])
    return x


def _resampled(step: Step, x: Tensor, axis: int, coordinates: list[float]) -> Tensor:
    last = x.shape[axis] - 1
    if step.facts.get("mode", "nearest") == "nearest":
        nearest = NEAREST[step.facts.get("nearest_mode", "round_prefer_floor")]
        return _taken(x, axis, [min(max(nearest(at), 0), last) for at in coordinates])
    inside = [min(max(at, 0.0), float(last)) for at in coordinates]
    lower = _taken(x, axis, [floor(at) for at in inside])
    upper = _taken(x, axis, [min(floor(at) + 1, last) for at in inside])
    shape = [-1 if at == axis else 1 for at in range(x.ndim)]
    return lower + (upper - lower) * x.new_tensor([at % 1 for at in inside]).reshape(shape)


def _pad_limit(step: Step) -> str | None:
    mode = step.facts.get("mode", "constant")
    return None if mode in ("constant", *OUTSIDE) else f"with mode {mode}"


def _resize_limit(step: Step) -> str | None:
    chosen = {
        "mode": ("nearest", "nearest", "linear"),
        "coordinate_transformation_mode": ("half_pixel", *COORDINATES),
        "nearest_mode": ("round_prefer_floor", *NEAREST),
        "antialias": (0, 0),
        "keep_aspect_ratio_policy": ("stretch", "stretch"),
    }
    for name, (default, *covered) in chosen.items():
        if step.facts.get(name, default) not in covered:
            return f"with {name} {step.facts[name]}"
    return None


RESIZING: dict[str, Callable[..., Any]] = {"Pad": _pad, "Resize": _resize}
RESIZING_LIMITS: dict[str, Callable[[Step], str | None]] = {"Pad": _pad_limit, "Resize": _resize_limit}
