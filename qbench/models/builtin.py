"""The offline zoo: networks trained by `python -m qbench.models.train`, their weights inside the package."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from qbench.cases import Choice, Float
from qbench.errors import BadFile
from qbench.models.base import MODELS, Model
from qbench.models.zoo.networks import SHAPES, source_digest
from qbench.models.zoo.weight_file import WEIGHTS, load_weights

if TYPE_CHECKING:
    from pathlib import Path

    from qbench.formats.artifact import Artifact


@dataclass(frozen=True, slots=True)
class ZooModel(Model):
    """A trained network: an architecture, and the weights for one data set."""

    name: str
    dataset: str
    about: str
    format: ClassVar[str] = "torch"

    @property
    def task(self) -> Choice:
        """Return the classification of its own data set."""
        return Choice("image_classification", (("dataset", self.dataset),))

    @property
    def weights(self) -> Path:
        """Return where its weights are."""
        return WEIGHTS / f"{self.name}.safetensors"

    def content(self) -> str:
        """Digest the weight file and the code that builds the network; see Model.content."""
        try:
            digest = hashlib.sha256(self.weights.read_bytes())
        except OSError as error:
            raise BadFile(
                f"the weights of {self.name} cannot be read: {self.weights}: {error.strerror}",
                fix=f"restore the file, or train it: python -m qbench.models.train {self.name}",
            ) from error
        digest.update(source_digest(SHAPES[self.name]).encode())
        return digest.hexdigest()[:16]

    def load(self) -> Artifact:
        """Build the network and fill in the weights; see Model.load."""
        from qbench.formats.artifact import Artifact, TensorSpec

        shape = SHAPES[self.name]
        network = shape.build()
        load_weights(network, self.weights)
        side = shape.side
        return Artifact(
            format=self.format,
            state=Float(),
            inputs=(TensorSpec("pixel_values", "float32", (None, 3, side, side)),),
            outputs=(TensorSpec("logits", "float32", (None, shape.num_labels)),),
            module=network.eval(),
        )


for zoo_model in (
    ZooModel("resnet-digits", "digits", "residual network on real handwritten digits, 32x32: the smoke test"),
    ZooModel("resnet-glyphs", "glyphs", "residual network on letters and digits in many fonts, 64x64"),
    ZooModel(
        "mobilenet-glyphs", "glyphs", "depthwise-separable network on letters and digits; int8 hurts it"
    ),
    ZooModel("vit-glyphs", "glyphs", "small vision transformer on letters and digits"),
    ZooModel("resnet-cifar10", "cifar10", "residual network on real photographs, 32x32"),
    ZooModel("mobilenet-cifar10", "cifar10", "depthwise-separable network on real photographs, 32x32"),
    ZooModel("vit-cifar10", "cifar10", "small vision transformer on real photographs, 32x32"),
):
    MODELS.register(zoo_model.name)(zoo_model)
