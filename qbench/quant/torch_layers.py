"""ONNX's layers in torch: products, pools and normalizations.

See torch_operators for how these functions are called. Where torch's own layer is narrower than ONNX's
(one pad for both sides, no crop), the input is padded beforehand or the output cropped.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, floor
from typing import TYPE_CHECKING, Any

from qbench.quant.torch_step import Step, lowest, padded

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-5  # the default of every normalization
Pairs = list[tuple[int, int]]  # what is added before and after each of the last axes


# --- products ---------------------------------------------------------------------------------------


def _spread(kernel: list[int], step: Step) -> list[int]:
    """Return how many elements a kernel spans on each axis."""
    return [(k - 1) * d + 1 for k, d in zip(kernel, _every(step, "dilations", kernel), strict=True)]


def _every(step: Step, name: str, kernel: list[int]) -> list[int]:
    return step.facts.get(name) or [1] * len(kernel)


def _halves(total: int, *, more_after: bool) -> tuple[int, int]:
    less = total // 2
    return (less, total - less) if more_after else (total - less, less)


def _pads(step: Step, x: Tensor, kernel: list[int]) -> Pairs:
    """Return the pads that the node gives or asks for, for each spatial axis."""
    rule, count = step.facts.get("auto_pad", "NOTSET"), len(kernel)
    if rule.startswith("SAME"):
        strides = _every(step, "strides", kernel)
        totals = [
            max((ceil(size / stride) - 1) * stride + span - size, 0)
            for size, stride, span in zip(x.shape[2:], strides, _spread(kernel, step), strict=True)
        ]
        return [_halves(total, more_after=rule == "SAME_UPPER") for total in totals]
    pads = step.facts.get("pads") if rule == "NOTSET" else None
    return list(zip(pads[:count], pads[count:], strict=True)) if pads else [(0, 0)] * count


def _conv(step: Step, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    from torch.nn import functional

    kernel = list(weight.shape[2:])
    pads, padding = _pads(step, x, kernel), [0] * len(kernel)
    if all(before == after for before, after in pads):
        padding = [before for before, _ in pads]
    else:
        x = padded(x, pads)
    settings = (
        _every(step, "strides", kernel),
        padding,
        _every(step, "dilations", kernel),
        step.facts.get("group", 1),
    )
    return getattr(functional, f"conv{len(kernel)}d")(x, weight, bias, *settings)


def _conv_transpose(step: Step, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    from torch.nn import functional

    kernel = list(weight.shape[2:])
    extra = step.facts.get("output_padding") or [0] * len(kernel)
    strides, dilations = _every(step, "strides", kernel), _every(step, "dilations", kernel)
    operator = getattr(functional, f"conv_transpose{len(kernel)}d")
    y = operator(x, weight, None, strides, 0, extra, step.facts.get("group", 1), dilations)
    y = padded(y, [(-before, -after) for before, after in _crops(step, x, y, kernel)])
    return y if bias is None else y + bias.reshape(-1, *[1] * len(kernel))


def _crops(step: Step, x: Tensor, y: Tensor, kernel: list[int]) -> Pairs:
    """Return what a transposed convolution's full output loses on each side."""
    rule, wanted = step.facts.get("auto_pad", "NOTSET"), step.facts.get("output_shape")
    if not wanted and rule.startswith("SAME"):
        sizes = zip(x.shape[2:], _every(step, "strides", kernel), strict=True)
        wanted = [size * stride for size, stride in sizes]
    if not wanted:
        return _pads(step, x, kernel)
    totals = [have - size for have, size in zip(y.shape[2:], wanted, strict=True)]
    return [_halves(total, more_after=rule == "SAME_UPPER") for total in totals]


def _gemm(step: Step, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    a = a.t() if step.facts.get("transA", 0) else a
    b = b.t() if step.facts.get("transB", 0) else b
    alpha, beta = step.facts.get("alpha", 1.0), step.facts.get("beta", 1.0)
    y = a @ b if alpha == 1 else alpha * (a @ b)
    if c is None:
        return y
    return y + (c if beta == 1 else beta * c)


def _matmul(_: Step, a: Tensor, b: Tensor) -> Tensor:
    return a @ b


# --- pools ------------------------------------------------------------------------------------------


def _frame(step: Step, x: Tensor) -> tuple[Pairs, Pairs]:
    """Return a pool's pads, and those with which whole windows alone fit.

    A window that would start in the pads behind the input is left out, also where sizes are rounded up.
    """
    kernel = step.facts["kernel_shape"]
    pads, framed = _pads(step, x, kernel), []
    rounded = ceil if step.facts.get("ceil_mode", 0) else floor
    sizes = zip(x.shape[2:], pads, _spread(kernel, step), _every(step, "strides", kernel), strict=True)
    for size, (before, after), span, stride in sizes:
        windows = rounded((size + before + after - span) / stride) + 1
        if (windows - 1) * stride >= size + before:
            windows -= 1
        framed.append((before, (windows - 1) * stride + span - size - before))
    return pads, framed


def _max_pool(step: Step, x: Tensor) -> Tensor:
    from torch.nn import functional

    kernel = step.facts["kernel_shape"]
    x = padded(x, _frame(step, x)[1], lowest(x.dtype))
    operator = getattr(functional, f"max_pool{len(kernel)}d")
    return operator(x, kernel, _every(step, "strides", kernel), 0, _every(step, "dilations", kernel))


def _average_pool(step: Step, x: Tensor) -> Tensor:
    from torch.nn import functional

    kernel = step.facts["kernel_shape"]
    pads, framed = _frame(step, x)
    operator, strides = getattr(functional, f"avg_pool{len(kernel)}d"), _every(step, "strides", kernel)
    y = operator(padded(x, framed), kernel, strides)
    counted = x.new_ones([1, 1, *x.shape[2:]])
    if step.facts.get("count_include_pad", 0):
        counted = padded(counted, pads, 1.0)
        framed = [(0, all_ - after) for (_, after), (_, all_) in zip(pads, framed, strict=True)]
    return y / operator(padded(counted, framed), kernel, strides)


def _global_average(_: Step, x: Tensor) -> Tensor:
    return x.mean(dim=list(range(2, x.ndim)), keepdim=True)


def _global_max(_: Step, x: Tensor) -> Tensor:
    return x.amax(dim=list(range(2, x.ndim)), keepdim=True)


# --- normalizations ---------------------------------------------------------------------------------


def _per_channel(values: Tensor, x: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (x.ndim - 2))


def _standardized(x: Tensor, axes: list[int], epsilon: float) -> Tensor:
    import torch

    variance, mean = torch.var_mean(x, dim=axes, correction=0, keepdim=True)
    return (x - mean) * torch.rsqrt(variance + epsilon)


def _batch_norm(
    step: Step, x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor
) -> Tensor:
    from torch.nn import functional

    epsilon = step.facts.get("epsilon", EPSILON)
    return functional.batch_norm(x, mean, variance, scale, shift, training=False, eps=epsilon)


def _instance_norm(step: Step, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    y = _standardized(x, list(range(2, x.ndim)), step.facts.get("epsilon", EPSILON))
    return y * _per_channel(scale, x) + _per_channel(shift, x)


def _group_norm(step: Step, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    groups, channels = step.facts["num_groups"], x.shape[1]
    if scale.numel() != channels:  # before operator set 21: one for each group
        scale, shift = (values.repeat_interleave(channels // groups) for values in (scale, shift))
    parts = x.reshape(x.shape[0], groups, -1)
    y = _standardized(parts, [2], step.facts.get("epsilon", EPSILON)).reshape(x.shape)
    return y * _per_channel(scale, x) + _per_channel(shift, x)


def _layer_norm(step: Step, x: Tensor, scale: Tensor, shift: Tensor | None = None) -> Tensor:
    from torch.nn import functional

    shape = x.shape[step.facts.get("axis", -1) :]
    y = functional.layer_norm(x, shape, eps=step.facts.get("epsilon", EPSILON)) * scale
    return y if shift is None else y + shift


def _rms_norm(step: Step, x: Tensor, scale: Tensor) -> Tensor:
    from torch.nn import functional

    shape = list(x.shape[step.facts.get("axis", -1) :])
    return functional.rms_norm(x, shape, eps=step.facts.get("epsilon", EPSILON)) * scale


def _norm_limit(step: Step) -> str | None:
    return "in training mode" if step.facts.get("training_mode", 0) else None


def _pool_limit(step: Step) -> str | None:
    return "with dilations" if set(step.facts.get("dilations") or [1]) != {1} else None


# --- the tables -------------------------------------------------------------------------------------

LAYERS: dict[str, Callable[..., Any]] = {
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average,
    "GlobalMaxPool": _global_max,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "MatMul": _matmul,
    "MaxPool": _max_pool,
    "RMSNormalization": _rms_norm,
}
LAYER_LIMITS: dict[str, Callable[[Step], str | None]] = {
    "AveragePool": _pool_limit,
    "BatchNormalization": _norm_limit,
}
