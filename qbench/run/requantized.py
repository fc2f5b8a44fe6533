"""A user's own quantized file, its integers written in another form: `qbench requantize`."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from qbench.cases import Choice, Quantized, Scheme
from qbench.errors import BadParameter, CannotWrite
from qbench.formats.artifact import Artifact
from qbench.formats.onnx_file import checked
from qbench.quant.qdq_file import read_qdq
from qbench.quant.qdq_model import QdqModel
from qbench.quant.recode import width
from qbench.run.choose import strategy_of
from qbench.strategies.base import Calibration


def requantized(model: Path, to: str, out: Path) -> list[str]:
    """Write the recoded file, whole or not at all, and return what is to be said of it.

    Raises:
        BadFile: no ONNX file.
        BadParameter: no such form, or the new file would replace the old one.
        CannotWrite: no room, or no right to write.
        DoesNotFit: its integers are not told by QuantizeLinear and DequantizeLinear, or are so already.
    """
    if out.resolve() == model.resolve():
        raise BadParameter(f"--out {out} is the model itself", fix="name another file to write")
    strategy = strategy_of(Choice("requantize", (("to", to),)))
    inputs, outputs = checked(model)
    artifact = Artifact("onnx", Quantized(_scheme(model)), inputs, outputs, path=model)
    with tempfile.TemporaryDirectory() as folder:
        after = strategy.apply(artifact, Calibration("", {}), Path(folder))
        assert after.path is not None
        temporary = out.with_name(f".{out.name}.{os.getpid()}")
        try:
            shutil.copyfile(after.path, temporary)
            os.replace(temporary, out)
        except OSError as error:
            raise CannotWrite(
                f"{out} cannot be written: {error.strerror or error}", fix="name another file with --out"
            ) from error
        finally:
            temporary.unlink(missing_ok=True)
    return [f"{note.what}: {note.found}" for note in after.notes]


def _scheme(model: Path) -> Scheme:
    """Return how the file's weights and activations are written, read from it.

    Raises:
        DoesNotFit: see read_qdq.
    """
    found = QdqModel(read_qdq(model, "requantize"))
    bits = max((width(found, weight) for weight in found.weights), default=8)
    channels = any(weight.axis is not None for weight in found.weights)
    activations = 8 if found.activations else None
    return Scheme(bits, activations, "per_channel" if channels else "per_tensor")
