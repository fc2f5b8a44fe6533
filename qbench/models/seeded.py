"""Networks of the usual size with random weights, for speed alone: a seed in place of a weight file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from qbench.cases import Choice, Float
from qbench.data import noise
from qbench.data.base import preprocess
from qbench.models.base import MODELS, Model
from qbench.models.zoo.matmul import MatmulShape
from qbench.models.zoo.networks import Shape, source_digest
from qbench.models.zoo.resnet import ResNetShape

if TYPE_CHECKING:
    from torch import nn

    from qbench.formats.artifact import Artifact

SETTLING = 8  # images whose statistics BatchNorm takes over


@dataclass(frozen=True, slots=True)
class SeededModel(Model):
    """An architecture whose weights are drawn when it is loaded; its answers mean nothing, its speed does."""

    name: str
    shape: Shape
    about: str
    seed: int = 0
    format: ClassVar[str] = "torch"

    @property
    def task(self) -> Choice:
        """Return the task that asks nothing, at the network's image size."""
        return Choice("speed_only", (("side", self.shape.side),))

    def content(self) -> str:
        """Digest the seed and the code that draws the weights; see Model.content."""
        words = [self.name, str(self.seed), source_digest(self.shape)]
        digest = hashlib.sha256("\n".join(words).encode())
        for source in (__file__, noise.__file__):
            digest.update(Path(source).read_bytes())
        return digest.hexdigest()[:16]

    def load(self) -> Artifact:
        """Draw the weights; see Model.load."""
        import torch

        from qbench.formats.artifact import Artifact, TensorSpec

        side = self.shape.side
        with torch.random.fork_rng(devices=()):  # the caller's own random numbers stay as they are
            torch.manual_seed(self.seed)
            network = self.shape.build()
        _settle(network, side, self.seed)
        return Artifact(
            format=self.format,
            state=Float(),
            inputs=(TensorSpec("pixel_values", "float32", (None, 3, side, side)),),
            outputs=(TensorSpec("logits", "float32", (None, self.shape.num_labels)),),
            module=network.eval(),
        )


def _settle(network: nn.Module, side: int, seed: int) -> None:
    """Give every BatchNorm the statistics of what reaches it, as training would.

    With those it is made with, mean 0 and variance 1, each residual layer doubles the variance, and a
    quantizer meets ranges that no trained network has.
    """
    import numpy as np
    import torch

    norms = [part for part in network.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None  # a plain mean over batches: here, the one batch itself
    images = np.stack([noise.smooth_noise(side, (seed, 99, row)) for row in range(SETTLING)])  # in no split
    network.train()
    with torch.no_grad():
        network(torch.from_numpy(preprocess(images)))
    network.eval()
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum


for seeded_model in (
    SeededModel(
        "resnet18-224",
        # transformers.ResNetConfig for ResNet-18; 1.8 billion multiply-adds an image.
        ResNetShape(64, (64, 128, 256, 512), (2, 2, 2, 2), num_labels=1_000, side=224),
        "residual network of the size of ResNet-18, 224x224, random weights: for its speed alone",
    ),
    SeededModel(
        "matmul-1024",
        MatmulShape(1_024, 8, side=32),
        "eight products by matrices of a thousand square: what `qbench probe` measures a device with",
    ),
):
    MODELS.register(seeded_model.name)(seeded_model)
