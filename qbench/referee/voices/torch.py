"""The network as torch operators: the reader that our own training stands on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from qbench.referee.voices.base import VOICES, Answering, Voice

if TYPE_CHECKING:
    import numpy as np


@VOICES.register("torch")
class Torch(Voice):
    """Operator by operator, in torch."""

    title: ClassVar[str] = "torch, by qbench's own reader"
    maker: ClassVar[str] = "torch"
    slow: ClassVar[bool] = True
    order: ClassVar[int] = 3

    def open(self, path: Path) -> Answering:
        """Read into a module; see Voice.open."""
        import onnx
        import torch

        from qbench.formats.normalise import normalised
        from qbench.quant.torch_network import torch_network

        torch.set_num_threads(1)
        module = torch_network(normalised(onnx.load(path))).eval()

        def answer(inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            with torch.no_grad():
                outputs = module({name: torch.from_numpy(inputs[name]) for name in module.inputs})
            return [tensor.numpy() for tensor in outputs]

        return answer
