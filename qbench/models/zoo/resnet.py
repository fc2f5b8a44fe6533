"""Residual networks of transformers, small enough to train on a laptop, and one of the usual size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class ResNetShape:
    """What decides a network's parameters and its work: a hashable stand-in for a ResNetConfig."""

    embedding_size: int  # channels after the first 7 x 7 convolution
    hidden_sizes: tuple[int, ...]  # channels of each stage; every stage but the first halves the image
    depths: tuple[int, ...]  # residual layers of each stage
    num_labels: int
    side: int  # pixels, of a square image
    layer_type: str = "basic"  # two 3 x 3 convolutions a layer; "bottleneck" has 1 x 1, 3 x 3, 1 x 1
    pool: bool = True  # the first convolution is followed by a pooling that halves the image once more

    def build(self) -> nn.Module:
        """Return a network with random weights, in eval mode; see `build`."""
        return build(self)


SHAPES = {
    "resnet-digits": ResNetShape(16, (16, 32, 64), (1, 1, 1), num_labels=10, side=32),
    # 39 million multiply-adds: the least at which int8 is seen above the cost of calling an engine.
    "resnet-glyphs": ResNetShape(32, (32, 64, 128, 256), (2, 2, 2, 2), num_labels=34, side=64),
    "resnet-cifar10": ResNetShape(32, (32, 64, 128), (2, 2, 2), num_labels=10, side=32, pool=False),
}


def build(shape: ResNetShape) -> nn.Module:
    """Return a network with random weights, in eval mode; seed torch first to get the same ones again.

    Its forward takes pixel_values, float32 (N, 3, side, side) as `qbench.data.base.preprocess` returns
    them, and returns the logits alone, (N, num_labels): exporters dislike the output classes of
    transformers.
    """
    from torch import Tensor, nn
    from transformers import ResNetConfig, ResNetForImageClassification

    class ImageClassifier(nn.Module):
        """Pixels in, logits out."""

        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, pixel_values: Tensor) -> Tensor:
            return self.network(pixel_values=pixel_values, return_dict=True).logits

    config = ResNetConfig(
        embedding_size=shape.embedding_size,
        hidden_sizes=list(shape.hidden_sizes),
        depths=list(shape.depths),
        layer_type=shape.layer_type,
        num_labels=shape.num_labels,  # type: ignore[call-arg]  # a field of its base, unknown to mypy
    )
    network = ResNetForImageClassification(config)
    if not shape.pool:  # transformers' config cannot say this; 32 pixels would be 8 before the first layer
        network.resnet.embedder.pooler = nn.Identity()  # type: ignore[assignment]
    return ImageClassifier(network).eval()
