"""Every network of the zoo by name, whatever its architecture: what is built, and from which source."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from qbench.models.zoo import mobilenet, resnet, vit

if TYPE_CHECKING:
    from torch import nn


class Shape(Protocol):
    """What every architecture's shape, a frozen dataclass, has."""

    @property
    def num_labels(self) -> int:
        """Return how many logits there are."""

    @property
    def side(self) -> int:
        """Return the pixels of a side of the square image."""

    def build(self) -> nn.Module:
        """Return a network with random weights, in eval mode, from pixel_values to logits."""


SHAPES: dict[str, Shape] = {**resnet.SHAPES, **mobilenet.SHAPES, **vit.SHAPES}


def source_digest(shape: Shape) -> str:
    """Return a digest of the shape and of the file that builds it, without a heavy import."""
    source = Path(sys.modules[type(shape).__module__].__file__ or "").read_bytes()
    return hashlib.sha256(repr(shape).encode() + source).hexdigest()
