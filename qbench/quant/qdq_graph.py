"""Reading a deployed graph: which multiply-accumulates it holds and how their weights are stored.

A weight is followed from its operator back through the nodes that only restore it (dequantize, cast,
transpose, reshape) to what lies in the file; scales and zero points on that path count as its bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from qbench.errors import BadFile

# operator -> (input that holds the weight, inputs that hold its scale and zero point)
ONNX_MACS: dict[str, tuple[int, tuple[int, ...]]] = {
    "Conv": (1, ()),
    "ConvTranspose": (1, ()),
    "Gemm": (1, ()),
    "MatMul": (1, ()),
    "ConvInteger": (1, (3,)),
    "MatMulInteger": (1, (3,)),
    "QLinearConv": (3, (4, 5)),
    "QLinearMatMul": (3, (4, 5)),
    "DynamicQuantizeMatMul": (1, (2, 3)),
    "MatMulNBits": (1, (2, 3)),
}
RESTORING = ("DequantizeLinear", "Cast", "Transpose", "Reshape", "Identity")


@dataclass(frozen=True, slots=True)
class Weight:
    """One multiply-accumulate operator's weight, as the file stores it."""

    name: str
    operator: str
    elements: int
    bits: int  # width of one stored code
    stored_bytes: int  # codes, scales and zero points
    macs: int | None = None  # of one inference of one example; None where shapes could not be inferred

    @property
    def float_bytes(self) -> int:
        """Return what the weight takes in 32-bit float."""
        return self.elements * 4


def onnx_weights(path: Path | None) -> list[Weight]:
    """Return the weights of every multiply-accumulate operator in an ONNX file.

    Raises:
        BadFile: the file is no ONNX model.
    """
    import onnx

    try:
        model = onnx.load(path)
    except Exception as error:  # onnx raises protobuf's own DecodeError and several of its own
        raise BadFile(f"{path} is no ONNX model: {error}", fix="export it again with torch.onnx.export") from error
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    maker = {output: node for node in model.graph.node for output in node.output}
    shapes = _shapes_for_one(model)
    weights = []
    for node in model.graph.node:
        if node.op_type not in ONNX_MACS:
            continue
        position, extras = ONNX_MACS[node.op_type]
        if position >= len(node.input):
            continue
        tensor, beside = _stored_behind(node.input[position], stored, maker)
        if tensor is None:
            continue  # a product of two activations has no weight
        beside += [stored[node.input[i]] for i in extras if i < len(node.input) and node.input[i] in stored]
        bits = _bits(tensor.data_type)
        size = sum(_tensor_bytes(t) for t in {t.name: t for t in [tensor, *beside]}.values())
        elements = prod(tensor.dims)
        if node.op_type == "MatMulNBits":  # packed: several codes a byte
            facts = {a.name: a.i for a in node.attribute}
            bits, elements = facts["bits"], facts["K"] * facts["N"]
        macs = _macs(node, list(tensor.dims), shapes)
        weights.append(Weight(tensor.name, node.op_type, elements, bits, size, macs))
    return weights


def _stored_behind(name: str, stored: dict[str, Any], maker: dict[str, Any]) -> tuple[Any, list[Any]]:
    """Follow a value back to the tensor in the file, collecting scales and zero points on the way."""
    beside: list[Any] = []
    while name not in stored:
        node = maker.get(name)
        if node is None or node.op_type not in RESTORING:
            return None, []
        beside += [stored[extra] for extra in node.input[1:] if extra in stored and node.op_type != "Reshape"]
        name = node.input[0]
    return stored[name], beside


def _bits(data_type: int) -> int:
    from onnx import TensorProto

    narrow = {TensorProto.INT4: 4, TensorProto.UINT4: 4}
    bytes_each = {
        TensorProto.INT8: 1, TensorProto.UINT8: 1, TensorProto.FLOAT8E4M3FN: 1, TensorProto.FLOAT8E5M2: 1,
        TensorProto.INT16: 2, TensorProto.UINT16: 2, TensorProto.FLOAT16: 2, TensorProto.BFLOAT16: 2,
        TensorProto.DOUBLE: 8, TensorProto.INT64: 8,
    }  # fmt: skip
    return narrow.get(data_type) or 8 * bytes_each.get(data_type, 4)


def _tensor_bytes(tensor: Any) -> int:
    return -(-prod(tensor.dims) * _bits(tensor.data_type) // 8)


def _shapes_for_one(model: Any) -> dict[str, list[int]]:
    """Infer every value's shape for a batch of one; empty where inference gives up."""
    import onnx

    one = onnx.ModelProto()
    one.CopyFrom(model)
    for value in one.graph.input:
        for dim in value.type.tensor_type.shape.dim:
            if not dim.HasField("dim_value"):
                dim.dim_value = 1
    for value in one.graph.output:
        value.type.tensor_type.ClearField("shape")
    del one.graph.value_info[:]
    try:
        inferred = onnx.shape_inference.infer_shapes(one, data_prop=True).graph
    except Exception:  # shape inference is a courtesy: without it the count is withheld
        return {}
    return {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in [*inferred.value_info, *inferred.output]
    }


def _macs(node: Any, weight_shape: list[int], shapes: dict[str, list[int]]) -> int | None:
    """Count multiply-accumulates: output elements times the length of the sum behind each."""
    out = shapes.get(node.output[0])
    if not out or 0 in out:
        return None
    if "Conv" in node.op_type:  # weight (out, in / groups, kernel...): all but the first are summed over
        return prod(out) * prod(weight_shape[1:])
    if node.op_type == "MatMulNBits":
        return prod(out) * next(a.i for a in node.attribute if a.name == "K")
    transposed = any(a.name == "transB" and a.i for a in node.attribute)
    return prod(out) * (weight_shape[-1] if transposed else weight_shape[0])


EXPORTED_MACS = ("conv", "linear", "addmm", "matmul", "mm", "bmm")


def exported_weights(path: Path | None) -> list[Weight]:
    """Return the weights of every multiply-accumulate operator in a torch.export program.

    Raises:
        BadFile: the file is no torch.export program.
    """
    import torch

    try:
        program = torch.export.load(path)
    except Exception as error:  # torch raises RuntimeError, ValueError and zip errors alike
        raise BadFile(f"{path} is no torch.export program: {error}", fix="delete its folder and run again") from error
    names = program.graph_signature.inputs_to_parameters | program.graph_signature.inputs_to_buffers
    weights = []
    for node in program.graph.nodes:
        operator = str(node.target).removeprefix("aten.").split(".")[0]
        if node.op != "call_function" or not operator.startswith(EXPORTED_MACS):
            continue
        for argument in node.args:
            tensor = program.state_dict.get(names.get(getattr(argument, "name", ""), ""))
            if tensor is not None and tensor.dim() > 1:
                size = tensor.numel() * tensor.element_size()
                macs = _exported_macs(node, tensor)
                weights.append(
                    Weight(names[argument.name], operator, tensor.numel(), 8 * tensor.element_size(), size, macs)
                )
    return weights


def _exported_macs(node: Any, weight: Any) -> int | None:
    shape = [size if isinstance(size, int) else 1 for size in node.meta["val"].shape]  # the free batch is one
    return prod(shape) * prod(weight.shape[1:])
