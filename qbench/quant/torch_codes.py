"""ONNX's QuantizeLinear and DequantizeLinear in torch: integers and back. The rounding has no gradient.

See torch_operators for how these functions are called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qbench.quant.torch_step import ELEMENTS, Step, element, named_type

if TYPE_CHECKING:
    from torch import Tensor

CODES = {
    "INT4": (-8, 7),
    "UINT4": (0, 15),
    "INT8": (-128, 127),
    "UINT8": (0, 255),
    "INT16": (-(2**15), 2**15 - 1),
    "UINT16": (0, 2**16 - 1),
}


def _beside(step: Step, values: Tensor, x: Tensor) -> Tensor:
    """Return scales or zero points in a shape that meets x: one for all, one a channel, or one a block."""
    axis, block = step.facts.get("axis", 1) % max(x.ndim, 1), step.facts.get("block_size", 0)
    if block:
        return values.repeat_interleave(block, axis).narrow(axis, 0, x.shape[axis])
    return values.reshape([-1 if at == axis else 1 for at in range(x.ndim)]) if values.ndim else values


def _code_type(step: Step) -> str:
    """Return the ONNX type of the integers that a node writes."""
    return named_type(step.facts.get("output_dtype", 0) or 2) if 2 not in step.types else step.types[2]


def _quantize(step: Step, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    name = _code_type(step)
    codes = (x / _beside(step, scale, x)).round()
    if zero is not None:
        codes = codes + _beside(step, zero, x)
    return codes.clamp(*CODES[name]).to(element(name))


def _dequantize(step: Step, codes: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    import torch

    if zero is not None:
        codes = codes.to(torch.int32) - _beside(step, zero, codes).to(torch.int32)
    return codes.to(scale.dtype) * _beside(step, scale, codes)


def _quantize_limit(step: Step) -> str | None:
    if step.given(2) and 2 not in step.types:
        return "with a zero point that is computed"
    name = _code_type(step)
    return None if name in CODES else f"to {name}"


def _dequantize_limit(step: Step) -> str | None:
    name = step.types.get(0, "INT8")
    return None if name in ELEMENTS else f"from {name}"


CODING: dict[str, Callable[..., Any]] = {"DequantizeLinear": _dequantize, "QuantizeLinear": _quantize}
CODING_LIMITS: dict[str, Callable[[Step], str | None]] = {
    "DequantizeLinear": _dequantize_limit,
    "QuantizeLinear": _quantize_limit,
}
