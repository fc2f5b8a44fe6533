"""Small vision transformers: matrix products, softmax, LayerNorm and GELU in place of convolutions.

A transformer of this size learns little in minutes from bare patches, so the image reaches it through a
few strided convolutions (T. Xiao et al., Early convolutions help transformers see better, NeurIPS 2021).
Attention is written out, for it then exports to MatMul and Softmax, which every quantizer knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class ViTShape:
    """What decides a network's parameters and its work."""

    stem: tuple[int, ...]  # channels of the 3 x 3 convolutions of the stem; each halves the image
    width: int  # numbers a token
    layers: int
    heads: int
    num_labels: int
    side: int  # pixels, of a square image
    widening: int = 4  # of the two linear layers that follow attention

    @property
    def tokens(self) -> int:
        """Return how many tokens an image becomes."""
        return (self.side >> len(self.stem)) ** 2

    def build(self) -> nn.Module:
        """Return a network with random weights, in eval mode; see `build`."""
        return build(self)


SHAPES = {
    "vit-glyphs": ViTShape((32, 64, 96), 128, layers=4, heads=4, num_labels=34, side=64, widening=2),
    "vit-cifar10": ViTShape((32, 64, 96), 128, layers=6, heads=4, num_labels=10, side=32, widening=3),
}


def build(shape: ViTShape) -> nn.Module:
    """Return a network with random weights, in eval mode; seed torch first to get the same ones again.

    Its forward takes pixel_values, float32 (N, 3, side, side), and returns the logits (N, num_labels).
    """
    import torch
    from torch import Tensor, nn

    width, each = shape.width, shape.width // shape.heads

    class Attention(nn.Module):
        """Softmax attention with several heads, as plain matrix products."""

        def __init__(self) -> None:
            super().__init__()
            self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
            self.output = nn.Linear(width, width)

        def forward(self, x: Tensor) -> Tensor:
            tokens = x.shape[1]

            def split(y: Tensor) -> Tensor:  # (N, tokens, width) to (N, heads, tokens, each)
                return y.reshape(-1, tokens, shape.heads, each).transpose(1, 2)

            query, key, value = split(self.query(x)), split(self.key(x)), split(self.value(x))
            weights = (query @ key.transpose(2, 3) * each**-0.5).softmax(-1)
            return self.output((weights @ value).transpose(1, 2).reshape(-1, tokens, width))

    class Layer(nn.Module):
        """Attention, then two linear layers; each is normalized before and added to what entered."""

        def __init__(self) -> None:
            super().__init__()
            self.before_attention, self.attention = nn.LayerNorm(width), Attention()
            self.before_linear = nn.LayerNorm(width)
            wide = width * shape.widening
            self.linear = nn.Sequential(nn.Linear(width, wide), nn.GELU(), nn.Linear(wide, width))

        def forward(self, x: Tensor) -> Tensor:
            x = x + self.attention(self.before_attention(x))
            return x + self.linear(self.before_linear(x))

    class ViT(nn.Module):
        """Pixels in, logits out."""

        def __init__(self) -> None:
            super().__init__()
            stem: list[nn.Module] = []
            enter = 3
            for channels in shape.stem:
                stem += [nn.Conv2d(enter, channels, 3, 2, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
                enter = channels
            self.stem = nn.Sequential(*stem, nn.Conv2d(enter, width, 1))
            self.position = nn.Parameter(torch.randn(1, shape.tokens, width) * 0.02)
            self.layers = nn.Sequential(*(Layer() for _ in range(shape.layers)))
            self.norm = nn.LayerNorm(width)
            self.classifier = nn.Linear(width, shape.num_labels)

        def forward(self, pixel_values: Tensor) -> Tensor:
            tokens = self.stem(pixel_values).flatten(2).transpose(1, 2)
            return self.classifier(self.norm(self.layers(tokens + self.position)).mean(1))

    return ViT().eval()
