"""Weights and arithmetic in bfloat16: half the bytes, eight bits of precision, the range of float32."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from qbench.cases import Float, State
from qbench.errors import DoesNotFit
from qbench.quant.onnx_layers import read_network
from qbench.strategies.base import STRATEGIES, Calibration, Route, Strategy, takes_fp32

if TYPE_CHECKING:
    from qbench.formats.artifact import Artifact

COVERS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN")


@STRATEGIES.register("bf16")
@dataclass(frozen=True, slots=True)
class BFloat16(Strategy):
    """Store weights as bfloat16 and ask the engine to compute in it."""

    about: ClassVar[str] = "weights and arithmetic in bfloat16"
    source: ClassVar[str] = "Kalamkar et al. 2019, arXiv:1905.12322"
    routes: ClassVar[tuple[Route, ...]] = (
        Route("torch", "torch", "torch"),
        Route("onnx", "onnx", "onnx ml_dtypes"),
    )
    needs_calibration: ClassVar[bool] = False

    def state(self, before: State) -> State:
        """Return bfloat16; see Strategy.state."""
        takes_fp32("bf16", before)
        return Float("bf16")

    def apply(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Artifact:  # noqa: ARG002
        """Cast the module, or the tensors of the ONNX file; see Strategy.apply."""
        if artifact.format == "torch":
            _has_weights_or_raise(artifact.module)
            return replace(artifact, module=_InBFloat16.around(artifact.module), state=Float("bf16"))
        path = folder / "model.onnx"
        _cast_onnx(artifact.path, path)
        return replace(artifact, path=path, state=Float("bf16"))


def _has_weights_or_raise(module: Any) -> None:
    if not any(weight.is_floating_point() and weight.dim() > 1 for weight in module.parameters()):
        kinds = Counter(type(part).__name__ for part in module.modules() if not list(part.children()))
        found = ", ".join(f"{kind} x{count}" for kind, count in kinds.most_common())
        raise DoesNotFit(
            f"bf16 stores floating weights in 16 bits; this network has none (found: {found or 'nothing'})",
            fix="leave bf16 out for this network",
        )


class _InBFloat16:
    """A maker of modules, so that this file can be read without torch."""

    @staticmethod
    def around(module: Any) -> Any:
        import copy

        import torch

        class InBFloat16(torch.nn.Module):
            """The network in bfloat16 behind float32 inputs and outputs."""

            def __init__(self, inner: torch.nn.Module) -> None:
                super().__init__()
                self.inner = inner

            def forward(self, *inputs: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
                half = [x.to(torch.bfloat16) if x.is_floating_point() else x for x in inputs]
                answers = self.inner(*half)
                if isinstance(answers, torch.Tensor):
                    return in_float(answers)
                return tuple(in_float(answer) for answer in answers)

        def in_float(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.float() if tensor.is_floating_point() else tensor

        return InBFloat16(copy.deepcopy(module).to(torch.bfloat16)).eval()


def _cast_onnx(source: Path | None, path: Path) -> None:
    """Store every floating tensor of more than one element as bfloat16, with a Cast back in the graph.

    The engine folds weight and Cast and computes in the precision that it is asked for; engines that have no
    bfloat16 kernels compute in float32, which the proof of kernel finds.
    """
    import ml_dtypes
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = read_network(source, COVERS, "bf16")
    stored, casts = [], []
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or array.size < 2:
            stored.append(tensor)
            continue
        name, codes = f"{tensor.name}_bf16", array.astype(ml_dtypes.bfloat16).view(np.uint16)
        stored.append(helper.make_tensor(name, TensorProto.BFLOAT16, array.shape, codes.tobytes(), raw=True))
        casts.append(
            helper.make_node("Cast", [name], [tensor.name], f"cast_{tensor.name}", to=TensorProto.FLOAT)
        )
    nodes = list(model.graph.node)
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(stored)
    model.graph.node.extend([*casts, *nodes])
    onnx.save(model, path)
