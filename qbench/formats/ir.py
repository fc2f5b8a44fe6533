"""The conversion of an ONNX file into an OpenVINO IR, every weight as wide as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from qbench.quant.ir_graph import runtime, save_ir

if TYPE_CHECKING:
    from qbench.formats.artifact import Artifact


def to_openvino(artifact: Artifact, folder: Path) -> Artifact:
    """Translate an ONNX file into `model.xml` with `model.bin` beside it.

    Raises:
        Exception: whatever openvino says of an operator that it lacks.
    """
    model = runtime().convert_model(str(artifact.path))
    return replace(artifact, format="openvino", path=save_ir(model, folder))
