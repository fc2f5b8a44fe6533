"""The user's own network: an ONNX file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from qbench.cases import Choice, Float
from qbench.errors import BadFile
from qbench.models.base import Model

if TYPE_CHECKING:
    from qbench.formats.artifact import Artifact

SUFFIX = ".onnx"


@dataclass(frozen=True, slots=True)
class OnnxFile(Model):
    """A float ONNX model with a free first dimension, as torch.onnx.export writes it."""

    path: str
    about: str = "your own ONNX file"
    format: ClassVar[str] = "onnx"

    @property
    def task(self) -> Choice:
        """Return agreement: a file brings no labels."""
        return Choice("agreement")

    def content(self) -> str:
        """Digest the file and its external data; see Model.content."""
        path = Path(self.path)
        try:
            written = path.read_bytes()
            digest = hashlib.sha256(written)
            # The file names its external data; looking for the neighbours' names needs no import of onnx.
            for beside in sorted(path.parent.iterdir()):
                if beside.is_file() and beside != path and beside.name.encode() in written:
                    digest.update(beside.read_bytes())
        except OSError as error:
            raise BadFile(
                f"{self.path}: {error.strerror}", fix="name an ONNX file, for example model.onnx"
            ) from error
        return digest.hexdigest()[:16]

    def load(self) -> Artifact:
        """Read and check the file; see Model.load."""
        import onnx

        from qbench.formats.artifact import Artifact
        from qbench.formats.edges import onnx_signature

        try:
            onnx.checker.check_model(self.path)
            inputs, outputs = onnx_signature(Path(self.path))
        except Exception as error:  # onnx raises protobuf's DecodeError, its own ValidationError and more
            raise BadFile(
                f"{self.path} is no valid ONNX model: {error}", fix="export it again with torch.onnx.export"
            ) from error
        for spec in inputs:
            if not spec.shape or any(size is None for size in spec.shape[1:]):
                raise BadFile(
                    f"{self.path}: input {spec.name} has shape {spec.shape}; only the first may be free",
                    fix="fix the others when you export it (dynamic_shapes)",
                )
        return Artifact(self.format, Float(), inputs, outputs, path=Path(self.path))
