"""ONNX operators in torch, one small function for each: arithmetic and activations, and the table of all.

A function takes the node's Step and its inputs in ONNX's order (None for one that is left out) and returns
its output, or a tuple of them. The table OPERATORS is the whole coverage; LIMITS says what of an operator is
not covered. What the operators mean: https://onnx.ai/onnx/operators/, from operator set 13 on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import TYPE_CHECKING, Any

from qbench.quant.torch_codes import CODING, CODING_LIMITS
from qbench.quant.torch_layers import LAYER_LIMITS, LAYERS
from qbench.quant.torch_resize import RESIZING, RESIZING_LIMITS
from qbench.quant.torch_shapes import SHAPES
from qbench.quant.torch_step import ELEMENTS, WIDENED, Step, element, named_type

if TYPE_CHECKING:
    from torch import Tensor

Operator = Callable[..., Any]


# --- one element at a time --------------------------------------------------------------------------


def _same(name: str) -> Operator:
    """Return the operator that torch has under this name, with the same inputs and the same meaning."""

    def operator(_: Step, *values: Tensor) -> Tensor:
        import torch

        return getattr(torch, name)(*values)

    return operator


def _folded(name: str) -> Operator:
    """Return an operator over any number of inputs, made of torch's for two."""

    def operator(_: Step, *values: Tensor) -> Tensor:
        import torch

        return reduce(getattr(torch, name), values)

    return operator


def _activation(name: str, **defaults: Any) -> Operator:
    """Return a function of torch.nn.functional that takes the node's attributes under ONNX's names."""

    def operator(step: Step, x: Tensor) -> Tensor:
        from torch.nn import functional

        facts = {key: step.facts.get(key, default) for key, default in defaults.items()}
        return getattr(functional, name)(x, **facts)

    return operator


def _leaky_relu(step: Step, x: Tensor) -> Tensor:
    from torch.nn import functional

    return functional.leaky_relu(x, step.facts.get("alpha", 0.01))


def _prelu(_: Step, x: Tensor, slope: Tensor) -> Tensor:
    import torch

    return torch.where(x < 0, slope * x, x)


def _hard_sigmoid(step: Step, x: Tensor) -> Tensor:
    return (step.facts.get("alpha", 0.2) * x + step.facts.get("beta", 0.5)).clamp(0, 1)


def _clip(_: Step, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    return x if low is None and high is None else x.clamp(low, high)


def _div(_: Step, x: Tensor, y: Tensor) -> Tensor:
    import torch

    return torch.div(x, y, rounding_mode=None if x.is_floating_point() else "trunc")


def _pow(_: Step, x: Tensor, y: Tensor) -> Tensor:
    import torch

    return torch.pow(x, y).to(x.dtype)


def _cast(step: Step, x: Tensor) -> Tensor:
    return x.to(element(named_type(step.facts["to"])))


def _cast_like(_: Step, x: Tensor, like: Tensor) -> Tensor:
    return x.to(like.dtype)


def _identity(_: Step, x: Tensor) -> Tensor:
    return x


def _dropout(_: Step, x: Tensor, *_settings: Tensor | None) -> tuple[Tensor, Tensor]:
    import torch

    return x, torch.ones_like(x, dtype=torch.bool)


# --- the tables -------------------------------------------------------------------------------------

OPERATORS: dict[str, Operator] = {
    "Abs": _same("abs"),
    "Add": _same("add"),
    "And": _same("logical_and"),
    "Cast": _cast,
    "CastLike": _cast_like,
    "Ceil": _same("ceil"),
    "Clip": _clip,
    "Cos": _same("cos"),
    "Div": _div,
    "Dropout": _dropout,
    "Elu": _activation("elu", alpha=1.0),
    "Equal": _same("eq"),
    "Erf": _same("erf"),
    "Exp": _same("exp"),
    "Floor": _same("floor"),
    "Gelu": _activation("gelu", approximate="none"),
    "Greater": _same("gt"),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _activation("hardswish"),
    "Identity": _identity,
    "LeakyRelu": _leaky_relu,
    "Less": _same("lt"),
    "Log": _same("log"),
    "Max": _folded("maximum"),
    "Min": _folded("minimum"),
    "Mul": _same("mul"),
    "Neg": _same("neg"),
    "Not": _same("logical_not"),
    "Or": _same("logical_or"),
    "PRelu": _prelu,
    "Pow": _pow,
    "Reciprocal": _same("reciprocal"),
    "Relu": _same("relu"),
    "Sigmoid": _same("sigmoid"),
    "Sin": _same("sin"),
    "Softplus": _activation("softplus"),
    "Sqrt": _same("sqrt"),
    "Sub": _same("sub"),
    "Sum": _folded("add"),
    "Tanh": _same("tanh"),
    "Where": _same("where"),
    **SHAPES,
    **LAYERS,
    **RESIZING,
    **CODING,
}


def _cast_limit(step: Step) -> str | None:
    name = named_type(step.facts["to"])
    return None if name in ELEMENTS and name not in WIDENED else f"to {name}"


def _cast_like_limit(step: Step) -> str | None:
    name = step.types.get(1, "FLOAT")
    return None if name in ELEMENTS and name not in WIDENED else f"to {name}"


def _dropout_limit(step: Step) -> str | None:
    trains = step.given(2) and step.fixed.get(2) != [False]
    return "in training mode" if trains else None


LIMITS: dict[str, Callable[[Step], str | None]] = {
    "Cast": _cast_limit,
    "CastLike": _cast_like_limit,
    "Dropout": _dropout_limit,
    **LAYER_LIMITS,
    **RESIZING_LIMITS,
    **CODING_LIMITS,
}
