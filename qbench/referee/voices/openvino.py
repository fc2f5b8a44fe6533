"""openvino in 32 bits: left to itself it would compute in bfloat16 where the processor has it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from qbench.referee.voices.base import VOICES, Answering, Voice

if TYPE_CHECKING:
    import numpy as np

SETTINGS = {
    "PERFORMANCE_HINT": "LATENCY",
    "NUM_STREAMS": "1",
    "INFERENCE_NUM_THREADS": "1",
    "INFERENCE_PRECISION_HINT": "f32",
}


@VOICES.register("openvino")
class OpenVino(Voice):
    """Compiled for the processor."""

    title: ClassVar[str] = "openvino"
    maker: ClassVar[str] = "openvino"
    order: ClassVar[int] = 2

    def open(self, path: Path) -> Answering:
        """Read and compile; see Voice.open."""
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # it calls home
        import openvino

        core = openvino.Core()
        compiled = core.compile_model(core.read_model(str(path)), "CPU", SETTINGS)

        def answer(inputs: dict[str, np.ndarray]) -> list[object]:
            # a request of its own a call: what an engine keeps between two calls is no part of the answer
            results = compiled.create_infer_request().infer(inputs)
            return [results[port] for port in compiled.outputs]

        return answer
