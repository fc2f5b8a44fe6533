"""Sixteen-bit floats: a live module that computes in them, and an ONNX file that stores them.

bfloat16 has the range of float32 and eight bits of precision; float16 (IEEE 754 binary16) has eleven bits and
ends at 65,504.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from qbench.errors import DoesNotFit
from qbench.quant.onnx_layers import read_network

if TYPE_CHECKING:
    import numpy as np

Half = Literal["bf16", "fp16"]
COVERS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN")
LARGEST = {"bf16": 3.3895313892515355e38, "fp16": 65504.0}  # finite number of each format


def half_module(module: Any, kind: Half) -> Any:
    """Return a copy of a module in 16-bit floats behind float32 inputs and outputs.

    Raises:
        DoesNotFit: it has no floating matrix, or holds a number that the format does not reach.
    """
    import copy

    import torch

    if not any(weight.is_floating_point() and weight.dim() > 1 for weight in module.parameters()):
        kinds = Counter(type(part).__name__ for part in module.modules() if not list(part.children()))
        found = ", ".join(f"{kind} x{count}" for kind, count in kinds.most_common())
        raise DoesNotFit(
            f"{kind} stores floating weights in 16 bits; this network has none (found: {found or 'nothing'})",
            fix=f"leave {kind} out for this network",
        )
    floats = ((n, t.detach().cpu()) for n, t in module.state_dict().items() if t.is_floating_point())
    fits_or_raise(((name, tensor.float().numpy()) for name, tensor in floats), kind)
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[kind]

    class InHalf(torch.nn.Module):
        """The network in 16-bit floats behind float32 inputs and outputs."""

        def __init__(self, inner: torch.nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, *inputs: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
            half = [x.to(dtype) if x.is_floating_point() else x for x in inputs]
            answers = self.inner(*half)
            if isinstance(answers, torch.Tensor):
                return in_float(answers)
            return tuple(in_float(answer) for answer in answers)

    def in_float(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.float() if tensor.is_floating_point() else tensor

    return InHalf(copy.deepcopy(module).to(dtype)).eval()


def half_onnx(source: Path | None, path: Path, kind: Half) -> None:
    """Store every floating tensor of more than one element in 16 bits, with a Cast back in the graph.

    The engine folds weight and Cast and computes in the precision that it is asked for; engines that have no
    such kernels compute in float32, which the proof of kernel finds.

    Raises:
        DoesNotFit: there is no stored weight, or one holds a number that the format does not reach.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = read_network(source, COVERS, kind)
    floats = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.FLOAT
    }
    arrays = {name: array for name, array in floats.items() if array.size > 1}
    fits_or_raise(arrays.items(), kind)
    code = {"bf16": TensorProto.BFLOAT16, "fp16": TensorProto.FLOAT16}[kind]
    stored, casts = [], []
    for tensor in model.graph.initializer:
        if tensor.name not in arrays:
            stored.append(tensor)
            continue
        name, array = f"{tensor.name}_{kind}", arrays[tensor.name]
        stored.append(helper.make_tensor(name, code, array.shape, _codes(array, kind), raw=True))
        casts.append(
            helper.make_node("Cast", [name], [tensor.name], f"cast_{tensor.name}", to=TensorProto.FLOAT)
        )
    nodes = list(model.graph.node)
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(stored)
    model.graph.node.extend([*casts, *nodes])
    onnx.save(model, path)


def fits_or_raise(tensors: Iterable[tuple[str, np.ndarray]], kind: Half) -> None:
    """Check that no finite number among these named float32 arrays is beyond the format's range.

    Raises:
        DoesNotFit: one is; it would become infinite. The first such tensor and its largest number are named.
    """
    import numpy as np

    for name, array in tensors:
        size = np.abs(array[np.isfinite(array)]).max(initial=0.0)
        if size > LARGEST[kind]:
            raise DoesNotFit(
                f"{kind} ends at {LARGEST[kind]:g}, and tensor {name!r} of this network holds {size:g}: "
                "it would become infinite",
                fix="use bf16, which has the range of fp32" if kind == "fp16" else f"leave {kind} out",
            )


def _codes(array: np.ndarray, kind: Half) -> bytes:
    if kind == "fp16":
        return array.astype("<f2").tobytes()
    import ml_dtypes

    return array.astype(ml_dtypes.bfloat16).tobytes()
