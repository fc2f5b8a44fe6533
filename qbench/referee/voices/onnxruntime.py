"""onnxruntime, as it is deployed and once more with every rewriting of the graph turned off."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from qbench.quant.onnx_session import session_of
from qbench.referee.voices.base import VOICES, Answering, Voice


@VOICES.register("onnxruntime")
class Optimized(Voice):
    """With all optimizations: what a backend runs."""

    title: ClassVar[str] = "onnxruntime"
    maker: ClassVar[str] = "onnxruntime"

    def open(self, path: Path) -> Answering:
        """Open a session; see Voice.open."""
        return _session(path, optimized=True)


@VOICES.register("onnxruntime_plain")
class Plain(Voice):
    """Node by node, as the file is written."""

    title: ClassVar[str] = "onnxruntime without optimizations"
    maker: ClassVar[str] = "onnxruntime"
    order: ClassVar[int] = 1

    def open(self, path: Path) -> Answering:
        """Open a session; see Voice.open."""
        return _session(path, optimized=False)


def _session(path: Path, *, optimized: bool) -> Answering:
    session = session_of(path, optimized=optimized)
    return lambda inputs: session.run(None, inputs)
