"""Where a QDQ file rounds: onnxruntime's own quantizer decides, as its engine fuses what it writes.

Which tensors it rounds does not depend on their ranges, so it is asked twice: with placeholders, to learn
which activations need a range, and with the ranges found.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from qbench.errors import DoesNotFit
from qbench.quant import opset
from qbench.quant.between import FUSED, between_layers, open_ends, plain_pads
from qbench.quant.biases import apart_biases
from qbench.quant.coverage import InFloat, named
from qbench.quant.fold import fold_affine, fold_batch_norm
from qbench.quant.observers import Range
from qbench.quant.onnx_session import session_of
from qbench.quant.qdq_graph import MOVED, copied, outer, put_in_order
from qbench.quant.ranges import Run
from qbench.reasons import reason_of

if TYPE_CHECKING:
    import numpy as np

# Their outputs need more than eight bits, and no engine has integer kernels for them.
IN_FLOAT = {
    "Softmax", "LayerNormalization", "InstanceNormalization", "BatchNormalization", "EmbedLayerNormalization",
    "Attention", "LSTM", "CumSum", "ArgMax", "TopK",
}  # fmt: skip
INTEGER = ("QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat", "MatMulInteger", "ConvInteger")
WIDE_OPSET = 21  # the first in which QuantizeLinear has 16 bits


def prepare(network: Any) -> None:
    """Put a network in the form whose nodes are told apart and can be rounded, in place, exactly.

    BatchNormalization, and what else scales and shifts channels, goes into the convolution before it; biases
    that cannot be rounded come out of their layers; a Pad of zeros names no zero; and every node has a name
    of its own.
    """
    fold_batch_norm(network)
    fold_affine(network)
    apart_biases(network)
    plain_pads(network)
    named(network)


@dataclass(frozen=True, slots=True)
class Layout:
    """What the quantizer is asked for; see onnxruntime.quantization.QDQQuantizer."""

    scheme: Literal["u8s8", "s8s8"] = "u8s8"
    activation_bits: Literal[8, 16] = 8
    per_channel: bool = True
    reduce_range: bool = False
    symmetric: bool = False  # of activations: the zero_point is the middle code
    kept: tuple[str, ...] = ()  # names of nodes that stay in float
    operators: tuple[str, ...] = ()  # the only kinds that are rounded; empty: all that can be

    def raised(self, network: Any) -> Any:
        """Return the network in an operator set that has the types.

        Raises:
            DoesNotFit: it cannot be raised.
        """
        return opset.raised(network, WIDE_OPSET) if self.activation_bits == 16 else network

    def rounded(self, network: Any) -> list[str]:
        """Return the activations that need a range; copies of a bias that nodes share are none."""
        wanted = self._quantizer(network, {})
        made = {name for node in network.graph.node for name in node.output}
        made |= {value.name for value in network.graph.input} - set(wanted.initializers)
        ends = open_ends(network, self.kept, self.operators)
        return [name for name in wanted.quantized_value_map if name in made - ends]

    def watched(self, network: Any) -> list[str]:
        """Return the same, and outputs that are not rounded: data tells whether they are numbers at all."""
        ends = open_ends(network, self.kept, self.operators)
        outputs = [value.name for value in network.graph.output if value.name in ends]
        return [*self.rounded(network), *outputs]

    def written(self, network: Any, ranges: dict[str, Range]) -> Any:
        """Return the QDQ model, its nodes in order; the network given stays as it is."""
        quantizer = self._quantizer(network, ranges)
        model = quantizer.model.model
        put_in_order(model)
        unrounded(model, open_ends(network, self.kept, self.operators))
        return model

    def between(self, network: Any) -> InFloat:
        """Return the operators between layers that stay in float; see between.py."""
        return between_layers(network, self.kept, self.operators)

    def _whole(self, network: Any) -> dict[str, list[dict[str, Any]]]:
        """Return what has one scale, whatever is asked for: stacked matrices have no axis of channels.

        onnxruntime's MatMul takes a scale a column where its weight is one matrix, and else one scale.
        """
        ranks = {tensor.name: len(tensor.dims) for tensor in network.graph.initializer}
        products = [node for node in network.graph.node if node.op_type == "MatMul"]
        stacked = {name for node in products for name in node.input if ranks.get(name, 2) != 2}
        return {name: [{"quant_type": self._types()[0]}] for name in sorted(stacked)}

    def _types(self) -> tuple[Any, Any]:
        from onnxruntime.quantization import QuantType

        sign = "Q" if self.scheme == "s8s8" else "QU"
        return QuantType.QInt8, QuantType[f"{sign}Int{self.activation_bits}"]

    def _kinds(self, known: set[str]) -> list[str]:
        """Return the kinds of operator that are rounded; what a layer ends in goes with the layer.

        Left behind, a Relu would be computed in float between two roundings, the first of them of a range
        half of which it throws away.
        """
        if not self.operators:
            return sorted(known - IN_FLOAT)
        return sorted({*self.operators, *FUSED})

    def _quantizer(self, network: Any, ranges: dict[str, Range]) -> Any:
        """Return onnxruntime's quantizer after its work on a copy of the network.

        A tensor without a range makes it stop: where one is not given, a placeholder stands, and no tensor
        that it quantizes has one when `ranges` were recorded for all that it quantized before.
        """
        import copy

        import numpy as np
        from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
        from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

        made = [name for node in network.graph.node for name in node.output]
        whole = dict.fromkeys([value.name for value in network.graph.input] + made, (0.0, 1.0)) | ranges
        told = {
            name: TensorData(lowest=np.array(low, "f4"), highest=np.array(high, "f4"))
            for name, (low, high) in whole.items()
        }
        quantizer = QDQQuantizer(
            copy.deepcopy(network),
            self.per_channel,
            self.reduce_range,
            *self._types(),
            TensorsData(CalibrationMethod.MinMax, told),
            [],
            [*self.kept, *self.between(network).nodes],
            self._kinds({*QDQRegistry, *QLinearOpsRegistry}),
            {"ActivationSymmetric": self.symmetric, "TensorQuantOverrides": self._whole(network)},
        )
        quantizer.quantize_model()
        return quantizer


def unrounded(model: Any, tensors: Collection[str]) -> None:
    """Take the rounding of these activations out of a QDQ model, in place."""
    made = {name: node for node in model.graph.node for name in node.output}
    ends = {value.name for value in model.graph.output}
    renamed: dict[str, str] = {}
    gone = set()
    for node in model.graph.node:
        if node.op_type != "QuantizeLinear" or node.input[0].removesuffix(MOVED) not in tensors:
            continue
        restores = [
            n for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0] == node.output[0]
        ]
        own = node.input[0].removesuffix(MOVED)
        if own in ends:  # what was an output has moved to make room for its rounded self
            maker = made[node.input[0]]
            renamed[node.input[0]] = own
            maker.output[list(maker.output).index(node.input[0])] = own
        renamed |= {restore.output[0]: own for restore in restores}
        gone |= {node.name, *(restore.name for restore in restores)}
    kept = [copied(node) for node in model.graph.node if node.name not in gone]
    for node in kept:
        for place, name in enumerate(node.input):
            node.input[place] = renamed.get(name, name)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    used = {name for node in kept for name in (*node.input, *outer(node))} | ends
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name not in used]:
        model.graph.initializer.remove(tensor)


def runner(network: Any, names: list[str], *, optimized: bool = False) -> Run:
    """Return a function from a batch to the named tensors of a network on it, computed as written.

    `optimized` lets the engine fuse what lies between them: faster, and another rounding of floats.

    Raises:
        DoesNotFit: onnxruntime lacks one of the operators, or the types of one; it is named. The function
            returned raises it where an operator stops on the batch.
    """
    import onnx

    watched = copied(network)
    given = {value.name for value in network.graph.input}
    wanted = [name for name in names if name not in given]
    del watched.graph.output[:]
    watched.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in wanted)
    with _told("cannot load this network"):
        session = session_of(watched.SerializeToString(), optimized=optimized, threads=0)

    def run(batch: dict[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
        yield from ((name, batch[name]) for name in names if name in given)
        with _told("stops in this network"):
            found = session.run(wanted, batch) if wanted else ()
        yield from zip(wanted, found, strict=True)

    return run


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn what the engine raises, of kinds of its own, into one of ours with the reason in it."""
    try:
        yield
    except Exception as error:
        raise DoesNotFit(
            f"onnxruntime, which computes values on calibration data, {what}: {reason_of(str(error))}",
            fix="leave out the techniques that calibrate, or export the network without this operator",
        ) from error


def fused(path: Path | None) -> int:
    """Return how many products the engine makes integer ones of, when it fuses what a QDQ file writes."""
    import tempfile

    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "fused.onnx")
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        nodes = onnx.load(options.optimized_model_filepath).graph.node
        return sum(node.op_type in INTEGER for node in nodes)
