"""onnxruntime, as it is deployed and once more with every rewriting of the graph turned off."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

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
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before the import, which starts a thread otherwise
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimized else level.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(None, inputs)
