"""Rounding that a gradient goes through: what quantization-aware training puts between tensors and nodes.

Forward, a number is rounded to its grid. Backward, rounding counts as the identity inside the range
(straight-through, Bengio et al. 2013, arXiv:1308.3432), and a learned scale gets the gradient of learned step
size quantization (Esser et al. 2020, arXiv:1902.08153, eq. 3 and section 2.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import log as natural_log
from math import sqrt
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
else:
    Module = object  # torch's comes in when the first is made


@dataclass(frozen=True, slots=True)
class Steps:
    """The grid of one tensor: the codes' limits, and scale and zero_point in a shape that meets it."""

    scale: Tensor
    zero_point: Tensor
    low: int
    high: int
    widest: float | None = None  # what a learned scale may not exceed; see Rounding.hold


def rounded(x: Tensor, scale: Tensor, zero_point: Tensor, low: int, high: int) -> Tensor:
    """Return x on the grid; see the module for its gradients."""
    import torch

    steps = x / scale
    soft = torch.clamp(steps + zero_point, low, high)
    hard = torch.clamp(steps.round() + zero_point, low, high)  # as the format says: halves go to even steps
    return (soft + (hard - soft).detach() - zero_point) * scale


def fused(x: Tensor, steps: Steps) -> Tensor:
    """Return the same for a scale that is not learned, in one kernel: a third of the time."""
    import torch

    if steps.scale.numel() == 1:
        scale, zero = float(steps.scale.reshape(())), int(steps.zero_point.reshape(-1)[0])
        return torch.fake_quantize_per_tensor_affine(x, scale, zero, steps.low, steps.high)
    axis = next(place for place, size in enumerate(steps.scale.shape) if size > 1)
    scales = steps.scale.reshape(-1)
    zeros = torch.zeros(scales.shape, dtype=torch.int32)  # of weights, which alone have a scale a channel
    return torch.fake_quantize_per_channel_affine(x, scales, zeros, axis, steps.low, steps.high)


def rounding(grids: dict[str, Steps], *, learned: bool) -> Rounding:
    """Return the module for TorchNetwork.through: tensors with these names are rounded, others pass."""
    return _module_class()(grids, learned=learned)


@cache
def _module_class() -> Any:
    from torch import nn

    return type("Rounding", (Rounding, nn.Module), {})


class Rounding(Module):
    """Grids by tensor name; made by `rounding`. Tensors given one and the same grid share its step."""

    def __init__(self, grids: dict[str, Steps], *, learned: bool) -> None:
        """Make a parameter of every scale, which is trained only where `learned` says so."""
        import torch
        from torch.nn import Parameter, ParameterList

        super().__init__()
        self._grids = grids
        own = {id(steps): steps for steps in grids.values()}
        places = {which: place for place, which in enumerate(own)}
        self._order = {name: places[id(steps)] for name, steps in grids.items()}
        logs = (torch.log(steps.scale) for steps in own.values())  # a step stays above 0
        self.logs = ParameterList([Parameter(log, requires_grad=learned) for log in logs])

    def scale(self, name: str) -> Tensor:
        """Return the scale of this tensor as it stands."""
        return self.logs[self._order[name]].exp()

    def hold(self) -> None:
        """Put learned scales that have grown beyond their widest back to it; for after every step."""
        import torch

        with torch.no_grad():
            for name, steps in self._grids.items():
                log = self.logs[self._order[name]]
                if steps.widest is not None and log.requires_grad:
                    log.clamp_(max=natural_log(steps.widest))

    def forward(self, name: str, x: Tensor) -> Tensor:
        """Return the tensor of this name, rounded if it has a grid."""
        steps = self._grids.get(name)
        if steps is None:
            return x
        log = self.logs[self._order[name]]
        if not log.requires_grad:
            return fused(x, steps)
        share = 1 / sqrt(x.numel() / log.numel() * max(steps.high, 1))  # section 2.2
        log = log * share + (log - log * share).detach()
        return rounded(x, log.exp(), steps.zero_point, steps.low, steps.high)


def coarse_gradients() -> Any:
    """Return the function for TorchNetwork.around: gradients are rounded to int8 on their way back.

    Chance is torch's own, which training seeds every epoch: what was killed goes on as if it had not been.

    Stochastic rounding, one scale a tensor (Gupta et al. 2015, arXiv:1502.02551; Banner et al. 2018,
    arXiv:1805.11046, section 5): what is lost in a step is right on average.
    """
    import torch

    class Coarse(torch.autograd.Function):
        """The identity, with a gradient of 255 values."""

        @staticmethod
        def forward(_: Any, x: Tensor) -> Tensor:
            return x.view_as(x)

        @staticmethod
        def backward(_: Any, *gradients: Tensor) -> Tensor:
            return stochastic_int8(gradients[0])

    def around(_: Any, x: Tensor) -> Tensor:
        return Coarse.apply(x)

    return around


def stochastic_int8(gradient: Tensor) -> Tensor:
    """Return a gradient on 255 levels, rounded up with the probability of what is left over."""
    import torch

    scale = gradient.abs().max() / 127
    if not scale > 0:
        return gradient
    return torch.floor(gradient / scale + torch.rand(gradient.shape)).clamp(-127, 127) * scale
