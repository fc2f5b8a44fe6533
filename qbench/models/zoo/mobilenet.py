"""Networks of depthwise-separable convolutions: the kind that loses most when it is quantized by tensor.

A depthwise convolution has nine weights a channel, BatchNorm scales each channel by its own factor, and
one scale for all channels of a layer then leaves some of them a handful of levels (R. Krishnamoorthi,
Quantizing deep convolutional networks, arXiv:1806.08342, section 3.1; M. Nagel et al., Data-free
quantization, ICCV 2019). The blocks are those of MobileNetV2 (M. Sandler et al., CVPR 2018), which
transformers has too, but only in sizes for 224 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class MobileNetShape:
    """What decides a network's parameters and its work."""

    stem: int  # channels after the first 3 x 3 convolution, which halves the image
    stages: tuple[tuple[int, int, int], ...]  # (channels, blocks, stride of the first block) of each
    expansion: int  # channels inside a block, in multiples of those that enter it
    head: int  # channels after the last 1 x 1 convolution, before the mean over the image
    num_labels: int
    side: int  # pixels, of a square image

    def build(self) -> nn.Module:
        """Return a network with random weights, in eval mode; see `build`."""
        return build(self)


SHAPES = {
    "mobilenet-glyphs": MobileNetShape(
        16, ((24, 2, 2), (48, 3, 2), (96, 3, 2)), expansion=4, head=256, num_labels=34, side=64
    ),
    "mobilenet-cifar10": MobileNetShape(
        24, ((24, 1, 1), (40, 3, 2), (80, 3, 2)), expansion=4, head=256, num_labels=10, side=32
    ),
}


def build(shape: MobileNetShape) -> nn.Module:
    """Return a network with random weights, in eval mode; seed torch first to get the same ones again.

    Its forward takes pixel_values, float32 (N, 3, side, side), and returns the logits (N, num_labels).
    """
    from torch import Tensor, nn

    def convolution(enter: int, leave: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
        padding = kernel // 2
        layer = nn.Conv2d(enter, leave, kernel, stride, padding, groups=groups, bias=False)
        nn.init.kaiming_normal_(layer.weight, mode="fan_out")
        return [layer, nn.BatchNorm2d(leave)]

    class Block(nn.Module):
        """Widen, filter each channel alone, narrow; added to what entered where the shapes agree."""

        def __init__(self, enter: int, leave: int, stride: int) -> None:
            super().__init__()
            wide = enter * shape.expansion
            self.layers = nn.Sequential(
                *convolution(enter, wide, 1),
                nn.ReLU6(),
                *convolution(wide, wide, 3, stride, groups=wide),
                nn.ReLU6(),
                *convolution(wide, leave, 1),
            )
            self.adds = stride == 1 and enter == leave

        def forward(self, x: Tensor) -> Tensor:
            return x + self.layers(x) if self.adds else self.layers(x)

    class MobileNet(nn.Module):
        """Pixels in, logits out."""

        def __init__(self) -> None:
            super().__init__()
            layers = [*convolution(3, shape.stem, 3, stride=2), nn.ReLU6()]
            enter = shape.stem
            for channels, blocks, stride in shape.stages:
                for number in range(blocks):
                    layers.append(Block(enter, channels, stride if number == 0 else 1))
                    enter = channels
            layers += [*convolution(enter, shape.head, 1), nn.ReLU6()]
            self.features = nn.Sequential(*layers)
            self.classifier = nn.Linear(shape.head, shape.num_labels)

        def forward(self, pixel_values: Tensor) -> Tensor:
            return self.classifier(self.features(pixel_values).mean((2, 3)))

    return MobileNet().eval()
