"""A stack of square matrix products: what a device can sustain where nothing else is in the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class MatmulShape:
    """How wide and how many; the image is only what the task hands over, flattened."""

    num_labels: int  # the width of every product but the first
    depth: int
    side: int

    def build(self) -> nn.Module:
        """Return the stack with random weights, in eval mode; rectified between, so that ranges stay."""
        import torch
        from torch import Tensor, nn

        class Stack(nn.Module):
            """Pixels in, `num_labels` sums out."""

            def __init__(self, widths: list[int]) -> None:
                super().__init__()
                pairs = zip(widths, widths[1:], strict=False)
                products = [nn.Linear(a, b, bias=False) for a, b in pairs]
                for product in products:
                    nn.init.kaiming_normal_(product.weight, nonlinearity="relu")
                self.products = nn.ModuleList(products)

            def forward(self, pixel_values: Tensor) -> Tensor:
                x = pixel_values.flatten(1)
                for product in self.products:
                    x = torch.relu(product(x))
                return x

        return Stack([3 * self.side * self.side, *[self.num_labels] * self.depth]).eval()
