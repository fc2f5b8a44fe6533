"""Dynamic int8: weights fixed beforehand, the scales of activations computed from every input as it comes."""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from qbench.cases import Quantized, Scheme, State
from qbench.errors import DoesNotFit
from qbench.quant.onnx_layers import quietly, read_network
from qbench.strategies.base import STRATEGIES, Calibration, Route, Strategy, takes_fp32

if TYPE_CHECKING:
    from qbench.formats.artifact import Artifact

COVERS = ("Conv", "Gemm", "MatMul")


@STRATEGIES.register("dynamic_int8")
@dataclass(frozen=True, slots=True)
class DynamicInt8(Strategy):
    """Integer weights; each activation tensor is quantized on its way in. Needs no data.

    In an ONNX file convolutions and matrix products are covered; in a torch module, linear layers only.
    """

    about: ClassVar[str] = "int8 weights, activation scales computed at run time; needs no data"
    source: ClassVar[str] = (
        "onnxruntime.quantization.quantize_dynamic; "
        "torchao.quantization.Int8DynamicActivationInt8WeightConfig"
    )
    routes: ClassVar[tuple[Route, ...]] = (
        Route("onnx", "onnx", "onnxruntime-gpu onnxruntime onnx"),
        Route("torch", "torch", "torchao torch", engines=("aot_inductor", "torch_eager")),
    )
    needs_calibration: ClassVar[bool] = False

    def state(self, before: State) -> State:
        """Return eight bits both ways, dynamic, one scale a tensor; see Strategy.state."""
        takes_fp32("dynamic_int8", before)
        return Quantized(Scheme(8, 8, "per_tensor", dynamic=True))

    def apply(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Artifact:  # noqa: ARG002
        """Rewrite the layers with their integer forms; see Strategy.apply."""
        if artifact.format == "torch":
            return replace(artifact, module=_linear_layers(artifact.module), state=self.state(artifact.state))
        with quietly():
            from onnxruntime.quantization import QuantType, quantize_dynamic

            path = folder / "model.onnx"
            network = read_network(artifact.path, COVERS, "dynamic_int8")
            quantize_dynamic(network, str(path), weight_type=QuantType.QInt8)
        return replace(artifact, path=path, state=self.state(artifact.state))


def _linear_layers(module: Any) -> Any:
    """Return a copy whose linear layers multiply integers, in tensors that torch.export can trace.

    Raises:
        DoesNotFit: the module has no linear layer; the kinds that it has are named.
    """
    from torch import nn

    if not any(isinstance(part, nn.Linear) for part in module.modules()):
        kinds = Counter(type(part).__name__ for part in module.modules() if not list(part.children()))
        found = ", ".join(f"{kind} x{count}" for kind, count in kinds.most_common())
        raise DoesNotFit(
            f"dynamic_int8 covers linear layers of a torch module; this network has none (found: {found})",
            fix="leave dynamic_int8 out for this network on this engine",
        )
    with quietly(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the library, about its own deprecated parts
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig, PerTensor, quantize_
        from torchao.utils import unwrap_tensor_subclass

        covered = copy.deepcopy(module)
        # The library would also change settings of the compiler for this whole process.
        quantize_(
            covered,
            Int8DynamicActivationInt8WeightConfig(granularity=PerTensor(), set_inductor_config=False),
        )
        return unwrap_tensor_subclass(covered)
