"""The session in which qbench itself runs ONNX graphs: as written, node by node, unless told otherwise.

What a backend deploys is its own business; what is computed here stands for the file: a reader of the source,
a quantized file with simulated integers, activations on calibration data, a state that is carried along.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def session_of(model: Path | bytes, *, optimized: bool = False, threads: int = 1) -> Any:
    """Open a file, or a serialized model, on the processor.

    `optimized` lets the engine fuse operators: faster, and another rounding of floats. `threads`: 0 leaves
    their number to the engine.

    Raises:
        ImportError: onnxruntime is not installed.
        Exception: whatever the engine says of a graph that it cannot run.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before the import, which starts a thread otherwise
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimized else level.ORT_DISABLE_ALL
    given = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
