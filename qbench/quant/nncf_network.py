"""What the NNCF strategies share: the networks as NNCF takes them, and what it is told of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qbench.errors import DoesNotFit
from qbench.quant.coverage import Coverage, InFloat, named, some_left_or_raise
from qbench.quant.fold import fold_affine, fold_batch_norm
from qbench.quant.ir_graph import ir_weights, runtime
from qbench.quant.onnx_layers import read_network
from qbench.quant.qdq_model import QdqModel
from qbench.quant.silent_nncf import kinds_of

COVERS = ("Conv", "Gemm", "MatMul", "ConvTranspose")
# What nncf 3.4.0 rounds the inputs of, in either format; all other operators pass integers on or take floats.
ROUNDED = (
    *COVERS, "Add", "AveragePool", "BatchNormalization", "Gather", "GlobalAveragePool", "GRU", "HardSigmoid",
    "LSTM", "Max", "Min", "Mul", "Pow", "Reciprocal", "Resize", "Sub",
)  # fmt: skip
KINDS = {"auto": None, "transformer": True, "none": False}  # model_type, as a suite writes it
AS_NNCF = 0.95  # its own share of a matrix product's outliers that moves into the weights
ATTENTION = ("ScaledDotProductAttention", "Attention", "MultiHeadAttention")


def read_ir(path: Path | None, technique: str) -> Any:
    """Return an IR with a product to quantize.

    Raises:
        DoesNotFit: there is none; the kinds that were found are named.
    """
    model = runtime().Core().read_model(str(path))
    if not any(weight.multiplied for weight in ir_weights(path)):
        raise DoesNotFit(
            f"{technique} covers convolutions and matrix products with a stored weight; this network has "
            f"none of them (found: {kinds_of(model)})",
            fix=f"leave {technique} out for this network",
        )
    return model


def read_onnx(path: Path | None, technique: str, covers: tuple[str, ...] = COVERS) -> Any:
    """Return an ONNX network with a product to quantize, normalizations folded.

    Engines fold them: else a range would be that of what nobody computes.

    Raises:
        DoesNotFit: there is none; the kinds that were found are named.
    """
    network = read_network(path, covers, technique)
    fold_batch_norm(network)
    fold_affine(network)
    named(network)
    return network


def one_scale_where_stacked(model: Any) -> None:
    """Give every stacked matrix of an ONNX model that nncf has quantized one scale, in place.

    nncf 3.4.0 gives it one a channel, which onnxruntime's MatMul takes of a single matrix alone.
    """
    opened = QdqModel(model)
    for weight in opened.weights:
        if weight.node.op_type == "MatMul" and weight.codes.ndim != 2 and weight.axis is not None:
            array = weight.restored
            scale = np.maximum(np.abs(array).max(), np.finfo("f4").tiny) / np.float32(127)
            codes = np.clip(np.rint(array / scale), -127, 127)
            opened.set_weight(weight, codes, np.asarray(scale, "f4"), 8)


def is_transformer(model: Any) -> bool:
    """Tell whether a network in either format has attention."""
    if hasattr(model, "graph"):
        made = {name: node.op_type for node in model.graph.node for name in node.output}
        edges = [(made.get(name, ""), node.op_type) for node in model.graph.node for name in node.input]
    else:
        edges = [
            (port.get_node().get_type_name(), operator.get_type_name())
            for operator in model.get_ordered_ops()
            for port in operator.input_values()
        ]
    return attends(edges)


def attends(edges: list[tuple[str, str]]) -> bool:
    """Tell whether a network has attention, from its edges (operator that gives, operator that takes)."""
    return any(giver in ATTENTION or (giver, taker) == ("Softmax", "MatMul") for giver, taker in edges)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a quantization by NNCF, beside its data."""

    coverage: Coverage = Coverage()
    transformer: bool | None = None  # None: where the network has attention
    preset: str = "auto"  # symmetric activations, but for a transformer: nncf's own choice
    alpha: float = AS_NNCF  # of SmoothQuant, 0 to 1; below 0: nothing is smoothed

    def told(self, nncf: Any, model: Any, count: int, technique: str) -> tuple[dict[str, Any], InFloat]:
        """Return the arguments for nncf, over `count` batches, and what stays in float by request.

        Raises:
            DoesNotFit: a layer that is to stay in float is not there, or no layer is left.
        """
        kept, scope = self._scope(nncf, model, technique)
        as_transformer = is_transformer(model) if self.transformer is None else self.transformer
        alphas = nncf.AdvancedSmoothQuantParameters()
        alphas.matmul = self.alpha if self.alpha >= 0 else -1
        alphas.convolution = -1
        how = {
            "subset_size": count,
            "preset": None if self.preset == "auto" else nncf.QuantizationPreset(self.preset),
            "model_type": nncf.ModelType.TRANSFORMER if as_transformer else None,
            "ignored_scope": scope,
            "advanced_parameters": nncf.AdvancedQuantizationParameters(smooth_quant_alphas=alphas),
        }
        return how, kept

    def _scope(self, nncf: Any, model: Any, technique: str) -> tuple[InFloat, Any]:
        on_ir = not hasattr(model, "graph")
        if on_ir:
            kept = self.coverage.kept_of_ir(model, technique)
            found, wanted, known = (
                {operator.get_type_name() for operator in model.get_ordered_ops()},
                self.coverage.of_ir(),
                Coverage(ROUNDED).of_ir(),
            )
        else:
            kept = self.coverage.kept(model, technique)
            some_left_or_raise(model, self.coverage.layers(COVERS), kept, technique)
            found, wanted, known = (
                {node.op_type for node in model.graph.node},
                self.coverage.operators,
                ROUNDED,
            )
        types = sorted(found & set(known) - set(wanted)) if wanted else []
        scope = nncf.IgnoredScope(names=sorted(kept.nodes), types=types) if types or kept.nodes else None
        return kept, scope
