"""Everything of qbench that reads an ONNX graph, as a function from a published case to answers.

A reader that only rewrites a graph is asked what the rewritten graph answers, by the engine that runs it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from cases import Node, stored

from qbench.errors import QbenchError
from qbench.reasons import reason_of

Reader = Callable[[Node], Sequence[Any]]
COVERS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN")


@contextmanager
def file_of(model: Any):
    """Give the path of a file that holds a model."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        yield path


def torch(node: Node) -> list[np.ndarray]:
    """Through ONNX-to-torch, in the operator set that training raises a network to."""
    import torch
    from onnx import numpy_helper

    from qbench.quant.onnx_layers import OPSET
    from qbench.quant.opset import raised
    from qbench.quant.torch_network import torch_network
    from qbench.quant.torch_step import to_tensor

    network = torch_network(raised(node.model, OPSET))
    given = {name: to_tensor(numpy_helper.from_array(array)) for name, array in node.given.items()}
    with torch.no_grad():
        answers = network(given)
    return [one.float().numpy() if one.dtype == torch.bfloat16 else one.numpy() for one in answers]


def runner(node: Node) -> list[Any]:
    """Through the session that computes intermediate values for calibration."""
    return run(node.model, node)


def run(model: Any, node: Node) -> list[Any]:
    """Return what `quant.qdq_layout.runner` computes of a model on the case's inputs."""
    from qbench.quant.qdq_layout import runner

    names = {value.name for value in model.graph.input}
    given = {name: array for name, array in node.given.items() if name in names}
    return [array for _, array in runner(model, list(node.answers))(given)]


def signature(node: Node) -> list[Any]:
    """By what onnx_signature says of inputs and outputs: names, element types and numbers of axes."""
    from qbench.formats.edges import onnx_signature

    with file_of(node.model) as path:
        inputs, outputs = onnx_signature(path)
    for specs, arrays in ((inputs, node.given), (outputs, node.answers)):
        assert [spec.name for spec in specs] == list(arrays)
        for spec in specs:
            array = arrays[spec.name]
            assert spec.dtype == array.dtype.name, f"{spec.name}: {spec.dtype} for {array.dtype}"
            free = zip(spec.shape, array.shape, strict=True)
            assert all(size in (None, true) for size, true in free), f"{spec.name}: {spec.shape}"
    return list(node.answers.values())


def weights(node: Node) -> list[Any]:
    """By whether the weight reader gets through the case, its inputs given and stored; see test_weights."""
    from qbench.quant.qdq_graph import onnx_weights, opened, weights_in

    with file_of(node.model) as path:
        onnx_weights(path)
    for free in (1, 0):
        weights_in(opened(stored(node, free)))
    return list(node.answers.values())


def normalised(node: Node) -> list[Any]:
    """Through the engine, of the normalised graph."""
    from qbench.formats.normalise import normalised

    return run(normalised(node.model), node)


def raised(node: Node) -> list[Any]:
    """Through the engine, of the graph in operator set 21, which 4-bit weights need."""
    from qbench.quant.opset import raised

    return run(raised(node.model, 21), node)


def read_network(node: Node) -> list[Any]:
    """Through the engine, of the graph as quantizers get it: all inputs but the first are weights."""
    from qbench.quant.onnx_layers import read_network

    with file_of(stored(node)) as path:
        return run(read_network(path, COVERS, "a quantizer"), node)


def float_form(node: Node) -> list[Any]:
    """Through the engine, of codes simulated in float, a restoring node put behind those that are outputs."""
    from qbench.errors import DoesNotFit
    from qbench.quant.float_form import float_form
    from qbench.quant.qdq_file import read_qdq

    with file_of(_restoring(stored(node))) as path:
        network = float_form(read_qdq(path, "simulate"))
    left = {one.op_type for one in network.graph.node} & {"QuantizeLinear", "DequantizeLinear"}
    if left:
        raise DoesNotFit(f"{left} is left", fix="none")
    found = run(network, node)
    return [_codes(node, name, one) for name, one in zip(node.answers, found, strict=True)]


def _restoring(model: Any) -> Any:
    """Return the model with a DequantizeLinear behind each output that is codes, in operator set 21.

    From 21 on the two operators have only gained element types; onnxruntime knows no set newer than 26.
    """
    from onnx import TensorProto, helper

    nodes = list(model.graph.node)
    if {node.op_type for node in nodes} <= {"QuantizeLinear", "DequantizeLinear"}:
        model.opset_import[0].version, model.ir_version = 21, 10
    for quantizes in [node for node in nodes if node.op_type == "QuantizeLinear"]:
        (out,) = [value for value in model.graph.output if value.name == quantizes.output[0]]
        quantizes.output[0] = "codes"
        names = ["codes", *quantizes.input[1:]]
        facts = {a.name: helper.get_attribute_value(a) for a in quantizes.attribute}
        kept = {name: facts[name] for name in ("axis", "block_size") if name in facts}
        model.graph.node.append(helper.make_node("DequantizeLinear", names, [out.name], **kept))
        out.type.tensor_type.elem_type = TensorProto.FLOAT
    return model


def _codes(node: Node, name: str, found: np.ndarray) -> np.ndarray:
    """Return restored values as the published codes where they meet these exactly."""
    right = node.answers[name]
    if "QuantizeLinear" not in node.operators:
        return found
    scale, zero = list(node.given.values())[1], (list(node.given.values()) + [np.zeros(1, "i8")])[2]
    axis = next((a.i for one in node.model.graph.node for a in one.attribute if a.name == "axis"), 1)
    shape = [-1 if at == axis else 1 for at in range(right.ndim)] if scale.size > 1 else []
    scale, zero = scale.reshape(shape), (zero if zero.size > 1 else zero.reshape(())).astype("i8")
    zero = zero.reshape(shape) if zero.ndim else zero
    restored = ((right.astype("i8") - zero) * scale).astype("f4")
    return right if np.allclose(restored, found, rtol=1e-6) else found


def voice(name: str) -> Reader:
    """Return one of the referee's voices as a reader: whatever it raises, it gives no answer then."""

    def answers(node: Node) -> Sequence[Any]:
        from qbench.referee.voices.base import VOICES

        try:
            with file_of(node.model) as path:
                return VOICES[name]().open(path)(dict(node.given))
        except Exception as error:
            raise Silent(f"no answer: {reason_of(str(error))}", fix="ask another voice") from error

    return answers


class Silent(QbenchError):
    """A voice gave no answer, which is its right."""


READERS: dict[str, Reader] = {
    "torch": torch,
    "runner": runner,
    "signature": signature,
    "weights": weights,
    "normalised": normalised,
    "raised": raised,
    "read_network": read_network,
    "float_form": float_form,
    "voice_evaluator": voice("evaluator"),
    "voice_onnxruntime": voice("onnxruntime"),
    "voice_onnxruntime_plain": voice("onnxruntime_plain"),
    "voice_openvino": voice("openvino"),
    "voice_torch": voice("torch"),
}
SLOW = {"voice_onnxruntime_plain", "voice_openvino", "voice_torch"}  # the first and the last have kin above
# Those that are asked, too, about the cases in which an operator is written out in simpler ones.
WRITTEN_OUT = {"torch", "runner", "weights"}
