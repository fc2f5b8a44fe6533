"""The user's own network: an ONNX file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from qbench.cases import FILE_SUFFIX, Choice, Float
from qbench.errors import BadParameter
from qbench.formats.onnx_file import checked, digest
from qbench.formats.state import read, told
from qbench.models.base import Model

if TYPE_CHECKING:
    from qbench.formats.artifact import Artifact, TensorSpec

SUFFIX = FILE_SUFFIX


@dataclass(frozen=True, slots=True)
class OnnxFile(Model):
    """A float ONNX model: free axes, constants and carried state as `formats/axes.py` reads them.

    `state` has the pairs that are carried, `h=hn, c=cn`; `sizes` the shapes of a call with one example,
    `mel=1x40x50, rate=scalar`, where axes besides the batch are free: work is counted at these sizes.
    """

    path: str
    about: str = "your own ONNX file"
    state: str = ""
    sizes: str = ""
    format: ClassVar[str] = "onnx"

    @property
    def task(self) -> Choice:
        """Return agreement: a file brings no labels."""
        return Choice("agreement")

    def content(self) -> str:
        """Digest the file and its external data; see Model.content."""
        return digest(Path(self.path))

    def load(self) -> Artifact:
        """Read and check the file; see Model.load."""
        from qbench.formats.artifact import Artifact

        inputs, outputs = checked(Path(self.path))
        carried = told(inputs, outputs, read(self.state))
        return Artifact(
            self.format, Float(), sized(inputs, self.sizes), outputs, path=Path(self.path), carried=carried
        )


def sizes_of(inputs: Iterable[TensorSpec]) -> str:
    """Return the shapes of a call with one example in one text, as a suite holds them."""
    return ", ".join(f"{spec.name}={'x'.join(map(str, spec.one)) or 'scalar'}" for spec in inputs)


def sized(inputs: tuple[TensorSpec, ...], text: str) -> tuple[TensorSpec, ...]:
    """Return the inputs with the sizes that `sizes_of` wrote.

    Raises:
        BadParameter: it is not of that form.
    """
    try:
        pairs = [part.rpartition("=") for part in text.split(", ") if part]
        known = {
            name: () if size == "scalar" else tuple(map(int, size.split("x"))) for name, _, size in pairs
        }
    except ValueError as error:
        raise BadParameter(
            f"sizes = {text!r} are no shapes", fix="write INPUT=1x3x224x224, with a comma between inputs"
        ) from error
    return tuple(replace(spec, one=known.get(spec.name, ())) for spec in inputs)
