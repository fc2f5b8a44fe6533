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
from qbench.quant.coverage import Coverage, InFloat, named, some_left_or_raise, uncovered
from qbench.quant.onnx_layers import quietly, read_network
from qbench.strategies.base import STRATEGIES, Calibration, Route, Strategy, takes_fp32

if TYPE_CHECKING:
    from qbench.formats.artifact import Artifact

CONVOLUTIONS = ("Conv",)
# What onnxruntime multiplies in integers with scales that it takes at run time, or stores so.
LAYERS = ("MatMul", "Gemm", "LSTM", "Attention")
TABLES = ("Gather", "EmbedLayerNormalization")
OWN = ("Attention", "EmbedLayerNormalization")  # of its own domain alone; opset 23 has another Attention
DOMAIN = "com.microsoft"


@STRATEGIES.register("dynamic_int8")
@dataclass(frozen=True, slots=True)
class DynamicInt8(Strategy):
    """Integer weights; each activation tensor is quantized on its way in. Needs no data.

    In an ONNX file matrix products, recurrent layers and tables that are looked up are covered; in a torch
    module, linear layers only. Convolutions are not unless asked for: onnxruntime 1.31 computes them 4 to 14
    times slower so than in float.

    operators: the only kinds of operator that are quantized, with commas between ("Conv,MatMul,Gemm").
    keep_float: layers that stay in float, with commas between: names of nodes, of outputs or of weights.
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

    operators: str = ""
    keep_float: str = ""

    def __post_init__(self) -> None:
        """Check the parameters."""
        self._coverage()

    def state(self, before: State) -> State:
        """Return eight bits both ways, dynamic, one scale a tensor; see Strategy.state."""
        takes_fp32("dynamic_int8", before)
        return Quantized(Scheme(8, 8, "per_tensor", dynamic=True))

    def apply(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Artifact:  # noqa: ARG002
        """Rewrite the layers with their integer forms; see Strategy.apply."""
        if artifact.format == "torch":
            if self._coverage():
                raise DoesNotFit(
                    "dynamic_int8: operators and keep_float name parts of an ONNX file, and this is a module",
                    fix="leave them out for this engine",
                )
            return replace(artifact, module=_linear_layers(artifact.module), state=self.state(artifact.state))
        from qbench.formats.artifact import Note

        path = folder / "model.onnx"
        with quietly():
            kept = self._on_onnx(artifact.path, path)
        notes = (*artifact.notes, *(Note(what, found) for what, found in kept.notes()))
        return replace(artifact, path=path, state=self.state(artifact.state), notes=notes)

    def _coverage(self) -> Coverage:
        return Coverage.read(
            "dynamic_int8", (*LAYERS, *CONVOLUTIONS), self.operators, self.keep_float, also=TABLES
        )

    def _on_onnx(self, source: Path | None, path: Path) -> InFloat:
        """Write the quantized file; return what stays in float."""
        from onnxruntime.quantization import QuantType, quantize_dynamic

        coverage = self._coverage()
        operators = coverage.operators or (*LAYERS, *TABLES)
        covers = tuple(kind for kind in operators if kind not in TABLES)
        network = read_network(source, covers, "dynamic_int8")
        named(network)
        foreign = {
            node.name: f"{node.op_type} of ONNX itself, which onnxruntime has no integers for"
            for node in network.graph.node
            if node.op_type in OWN and node.op_type in operators and node.domain != DOMAIN
        }
        turned = {
            node.name: "LSTM with the batch first (layout 1), which the engine's integer LSTM does not know"
            for node in network.graph.node
            if node.op_type == "LSTM" and any(a.name == "layout" and a.i for a in node.attribute)
        }
        kept = coverage.kept(network, "dynamic_int8") | InFloat(foreign) | InFloat(turned)
        some_left_or_raise(network, covers, kept, "dynamic_int8")
        # The library makes MatMul and Add of a Gemm before it asks what it may quantize.
        others = [node.name for node in network.graph.node if node.op_type not in operators]
        excluded = [*kept.nodes, *others]
        quantize_dynamic(
            network,
            str(path),
            op_types_to_quantize=sorted({*operators} | ({"MatMul"} if "Gemm" in operators else set())),
            nodes_to_exclude=[*excluded, *(f"{name}_MatMul" for name in excluded)],
            weight_type=QuantType.QInt8,
        )
        return kept | uncovered(network, covers)


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
