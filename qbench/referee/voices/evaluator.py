"""The standard's own evaluator: plain numpy, no code shared with any engine, and slow.

It is one voice and no judge. Version 1.23.2 of onnx is wrong for BatchNormalization below operator set 14
(with `momentum`, it mixes in the statistics of the batch), for Softmax, LogSoftmax and Hardmax below 13 (they
flatten), for Loop without a condition and for LSTM whose activations are named. So it is given the network in
a newer operator set, where there is an exact conversion.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from qbench.referee.voices.base import VOICES, Answering, Voice


@VOICES.register("evaluator")
class Evaluator(Voice):
    """Node by node, in numpy."""

    title: ClassVar[str] = "onnx's reference evaluator"
    maker: ClassVar[str] = "onnx"
    slow: ClassVar[bool] = True
    order: ClassVar[int] = 4

    def open(self, path: Path) -> Answering:
        """Normalise and read; see Voice.open."""
        import numpy as np
        import onnx
        from onnx.reference import ReferenceEvaluator

        from qbench.formats.normalise import normalised

        evaluator = ReferenceEvaluator(normalised(onnx.load(path)))

        def answer(inputs: dict[str, np.ndarray]) -> list[object]:
            with np.errstate(all="ignore"):
                return list(evaluator.run(None, inputs))

        return answer
