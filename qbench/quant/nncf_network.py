"""What the NNCF strategies share: the networks as NNCF takes them, and what it is told of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qbench.errors import DoesNotFit
from qbench.quant.fold import fold_batch_norm
from qbench.quant.ir_graph import ir_weights, runtime
from qbench.quant.onnx_layers import read_network
from qbench.quant.silent_nncf import kinds_of

if TYPE_CHECKING:
    import numpy as np

COVERS = ("Conv", "Gemm", "MatMul", "ConvTranspose")
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


def read_onnx(path: Path | None, technique: str) -> Any:
    """Return an ONNX network with a product to quantize, normalizations folded.

    Engines fold them: else a range would be that of what nobody computes.

    Raises:
        DoesNotFit: there is none; the kinds that were found are named.
    """
    network = read_network(path, COVERS, technique)
    fold_batch_norm(network)
    return network


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


def asked(nncf: Any, model: Any, batches: list[dict[str, np.ndarray]], *, smooth: bool) -> dict[str, Any]:
    """Return what is asked of every quantization: all of the data, the kind of network, what is smoothed."""
    alphas = nncf.AdvancedSmoothQuantParameters()
    if not smooth:
        alphas.convolution = alphas.matmul = -1
    return {
        "subset_size": len(batches),
        "model_type": nncf.ModelType.TRANSFORMER if is_transformer(model) else None,
        "advanced_parameters": nncf.AdvancedQuantizationParameters(smooth_quant_alphas=alphas),
    }
