"""A QDQ ONNX model opened for change: its stored weights, its biases and the scales of its activations.

QuantizeLinear and DequantizeLinear around an operator say in which integers it may be computed; what an
engine makes of them is the engine's. Weights in 4 bits are restored by a Cast to 8 before they meet
DequantizeLinear: onnxruntime 1.31 and openvino 2026.4.1 both fold that when they load the file and multiply
in 8-bit kernels, where a 4-bit DequantizeLinear makes both compute in float (measured on this zoo).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from qbench.errors import DoesNotFit
from qbench.quant.biases import BIASED
from qbench.quant.opset import opset_of
from qbench.quant.qdq_graph import MOVED, ONNX_MACS
from qbench.quant.store import Store

SUFFIX = "_DequantizeLinear_Output"  # what onnxruntime's quantizer appends to a restored weight's name
INT4_OPSET, INT4_IR = 21, 10  # the first that have the type


@dataclass(slots=True)
class StoredWeight:
    """Codes in the file that a multiply-accumulate node takes through a DequantizeLinear."""

    node: Any  # the first that multiplies with it
    position: int  # of the weight among the node's inputs
    restore: Any  # the DequantizeLinear
    stored: str  # the initializer that holds the codes
    codes: np.ndarray
    scale: np.ndarray  # () or (channels,)
    zero_point: np.ndarray  # the same
    axis: int | None  # of the channels; None: one scale

    @property
    def restored(self) -> np.ndarray:
        """Return the weight in float32, in its own shape."""
        return restored(self.codes, self.scale, self.zero_point, self.axis)


@dataclass(slots=True)
class Rounded:
    """An activation that is rounded: its QuantizeLinear, and what that says."""

    tensor: str
    node: Any
    scale: np.ndarray
    zero_point: np.ndarray


class QdqModel(Store):
    """The model, which every change below changes in place; give it a copy."""

    def __init__(self, model: Any) -> None:
        """Index the model."""
        super().__init__(model)
        self.weights = list(self._weights())
        self.activations = [
            Rounded(node.input[0], node, *self._scale(node))
            for node in self.graph.nodes
            if node.op_type == "QuantizeLinear" and node.input[0] not in self.graph.known
        ]

    def _scale(self, node: Any) -> tuple[np.ndarray, np.ndarray]:
        scale = self.array(node.input[1])
        if len(node.input) > 2 and node.input[2]:
            return scale, self.array(node.input[2])
        return scale, np.zeros(scale.shape, default_type(node))

    def _weights(self) -> Any:
        seen = set()
        for node in self.graph.nodes:
            for position in ONNX_MACS.get(node.op_type, ((), ()))[0]:
                name = node.input[position] if position < len(node.input) else ""
                restore = self.graph.maker.get(name)
                if restore is None or restore.op_type != "DequantizeLinear" or name in seen:
                    continue
                stored = self._codes_behind(restore.input[0])
                if stored is None:
                    continue
                seen.add(name)
                scale, zero = self._scale(restore)
                axis = next((a.i for a in restore.attribute if a.name == "axis"), 1)
                codes = self.array(stored).astype(np.int32)
                along = axis if scale.size > 1 else None
                yield StoredWeight(node, position, restore, stored, codes, scale, zero, along)

    def _codes_behind(self, name: str) -> str | None:
        maker = self.graph.maker.get(name)
        if maker is not None and maker.op_type == "Cast":
            name = maker.input[0]
        return name if name in self.graph.stored else None

    def users(self, weight: StoredWeight) -> list[Any]:
        """Return the nodes that multiply with a weight where its own does: that one first."""
        name, place = weight.node.input[weight.position], weight.position
        products = [node for node in self.graph.nodes if node.op_type in ONNX_MACS]
        return [node for node in products if node.input[place : place + 1] == [name]]

    # --- changing it --------------------------------------------------------------------------------------

    def set_weight(self, weight: StoredWeight, codes: np.ndarray, scale: np.ndarray, bits: int) -> None:
        """Store symmetric codes of the weight's own shape, and their scale: () or (channels,).

        Four bits are packed two to a byte; every other width takes a byte a code. One scale in the place of
        many makes the weight per tensor; a scale that other nodes share stays theirs.
        """
        shape = weight.scale.shape if scale.size == weight.scale.size else scale.shape
        weight.codes, weight.scale = codes.astype(np.int32), scale.astype("f4").reshape(shape)
        weight.axis = weight.axis if scale.size > 1 else None
        weight.zero_point = np.zeros(shape, np.int8)
        self.give([weight.restore], 1, weight.scale, "scale")
        if len(weight.restore.input) > 2 and weight.restore.input[2]:
            self.give([weight.restore], 2, weight.zero_point, "zero_point")
        if bits == 4:
            self._pack(weight, codes)
        else:
            self.put(weight.stored, codes.astype(np.int8))
        widen = self.graph.maker.get(weight.restore.input[0])
        if widen is not None and widen.op_type == "Cast":  # it may have widened unsigned codes before
            next(a for a in widen.attribute if a.name == "to").i = _onnx_type(np.int8)

    def set_float(self, weight: StoredWeight, array: np.ndarray) -> None:
        """Store a weight in float, where no integer type of the format says what it holds."""
        name = weight.node.input[weight.position]
        for node in list(self.model.graph.node):
            if name in node.output:
                self.model.graph.node.remove(node)
        self.graph.maker.pop(name, None)
        self.drop(weight.stored)
        self.put(name, array.astype("f4"))

    def _pack(self, weight: StoredWeight, codes: np.ndarray) -> None:
        from onnx import TensorProto, helper

        self._need_int4()
        wide = weight.stored
        packed = f"{wide.removesuffix('_int4')}_int4"
        self.put_tensor(helper.make_tensor(packed, TensorProto.INT4, codes.shape, _nibbles(codes), raw=True))
        weight.stored = packed
        if wide == packed:
            return
        self.drop(wide)
        if wide not in self.graph.maker:  # another node may restore the same codes
            cast = helper.make_node("Cast", [packed], [wide], f"{wide}_widen", to=TensorProto.INT8)
            self.model.graph.node.insert(0, cast)
            self.graph.maker[wide] = self.model.graph.node[0]

    def restorers(self, activation: Rounded) -> list[Any]:
        """Return the DequantizeLinear nodes that take this activation's codes."""
        code = activation.node.output[0]
        return [n for n in self.graph.nodes if n.op_type == "DequantizeLinear" and n.input[0] == code]

    def set_activation(
        self, activation: Rounded, scale: float, zero_point: int, kind: type[np.integer] | None = None
    ) -> None:
        """Give an activation another scale and zero_point, of the type that it has or of another.

        What shares both of them with it in the file goes on sharing them.
        """
        said = _names(activation.node)
        alike = [other for other in self.activations if _names(other.node) == said]
        nodes = [node for other in alike for node in (other.node, *self.restorers(other))]
        dtype = kind or activation.zero_point.dtype
        new_scale = np.array(scale, "f4").reshape(activation.scale.shape)
        new_zero = np.broadcast_to(np.array(zero_point).astype(dtype), new_scale.shape)
        self.give(nodes, 1, new_scale, "scale")
        if kind or any(len(node.input) > 2 and node.input[2] for node in nodes) or new_zero.any():
            self.give(nodes, 2, new_zero, "zero_point")
        for other in alike:
            other.scale, other.zero_point = new_scale, new_zero

    def input_scale(self, node: Any) -> float | None:
        """Return the scale of what a node's first input is rounded to; None where it is not rounded."""
        restore = self.graph.maker.get(node.input[0])
        if restore is None or restore.op_type != "DequantizeLinear":
            return None
        return float(self.array(restore.input[1]).reshape(-1)[0])

    def bias(self, node: Any) -> np.ndarray | None:
        """Return a node's bias in float32 where it is stored in integers, else None."""
        restore = self.graph.maker.get(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        if (
            restore is None
            or restore.op_type != "DequantizeLinear"
            or restore.input[0] not in self.graph.stored
        ):
            return None
        scale, zero = self._scale(restore)
        along = 0 if scale.size > 1 else None
        return restored(self.array(restore.input[0]).astype(np.int64), scale, zero, along)

    def set_bias(self, weight: StoredWeight, bias: np.ndarray) -> None:
        """Store a bias (channels,) for the weight's node: 32-bit integers in steps of the product's scale.

        A node that had none is given one. Biases stay in float where the input is not rounded.

        Raises:
            DoesNotFit: the node is a matrix product, which has no bias of its own.
        """
        from onnx import helper

        node, given = weight.node, self.input_scale(weight.node)
        if node.op_type not in BIASED:
            raise DoesNotFit(
                f"{node.op_type} has no bias to correct", fix="leave bias_correction out for this network"
            )
        name = node.input[2] if len(node.input) > 2 else ""
        if given is None:
            name = name or f"{node.name}_bias"
            self.put(name, bias.astype("f4"))
        else:
            scale = (given * weight.scale.astype("f8")).astype("f4")
            scale = np.broadcast_to(scale, bias.shape) if scale.size > 1 else scale.reshape(())
            codes = np.rint(bias / np.maximum(scale.astype("f8"), 1e-30))
            codes = np.clip(codes, -(2**31) + 1, 2**31 - 1).astype(np.int32)
            restore = self.graph.maker.get(name)
            users = [user for user in self.graph.nodes if name in user.input]
            if restore is None or restore.op_type != "DequantizeLinear" or len(users) > 1:
                # any name that is free: a float bias may have this one, and another user
                made = self.free_name(f"{node.name or node.output[0]}_corrected")
                restore = helper.make_node(
                    "DequantizeLinear",
                    [f"{made}_quantized", f"{made}_scale"],
                    [made],
                    f"{made}_DequantizeLinear",
                    axis=0,
                )
                self.model.graph.node.insert(0, restore)
                restore = self.model.graph.node[0]
                self.graph.maker[made] = restore
                self.graph.nodes.append(restore)
                name = made
            self.give([restore], 0, codes, "quantized")
            self.give([restore], 1, scale, "scale")
            if len(restore.input) > 2 and restore.input[2]:
                self.give([restore], 2, np.zeros(scale.shape, np.int32), "zero_point")
        del node.input[2:]
        node.input.append(name)

    def _need_int4(self) -> None:
        """Check that the file can hold 4 bits: a larger number alone would give nodes another meaning.

        Raises:
            DoesNotFit: it cannot; whoever opens a file for 4 bits raises it first (opset.raised).
        """
        found = opset_of(self.model)
        if found < INT4_OPSET:
            raise DoesNotFit(
                f"weights of 4 bits need ONNX operator set {INT4_OPSET}; this network has {found}",
                fix=f"export it again with opset_version={INT4_OPSET} or newer",
            )
        self.model.ir_version = max(self.model.ir_version, INT4_IR)


def _nibbles(codes: np.ndarray) -> bytes:
    """Return codes of four bits two to a byte, the first in the lower half: as numbers they take more."""
    flat = np.append(codes.ravel(), np.zeros(codes.size % 2, codes.dtype)) & 15
    return (flat[::2] | flat[1::2] << 4).astype(np.uint8).tobytes()


def float_name(tensor: str) -> str:
    """Return what a tensor of the file is called in the float network: outputs have moved."""
    return tensor.removesuffix(MOVED)


def default_type(node: Any) -> type[np.integer]:
    """Return the type of a QuantizeLinear's codes where it has no zero_point: what it says, or uint8."""
    from onnx import helper

    said = next((a.i for a in node.attribute if a.name == "output_dtype"), 0)
    return helper.tensor_dtype_to_np_dtype(said).type if said else np.uint8


def _onnx_type(kind: type[np.integer]) -> int:
    from onnx import helper

    return int(helper.np_dtype_to_tensor_dtype(np.dtype(kind)))


def _names(node: Any) -> tuple[str, str]:
    return node.input[1], node.input[2] if len(node.input) > 2 else ""


def restored(codes: np.ndarray, scale: np.ndarray, zero_point: np.ndarray, axis: int | None) -> np.ndarray:
    """Return codes in float32: (codes - zero_point) * scale, with a scale a channel along `axis` or one."""
    if axis is None:
        scale, zero_point = scale.reshape(-1)[:1], zero_point.reshape(-1)[:1]
        return ((codes - zero_point.astype(np.int64)) * scale).astype("f4")
    shape = [1] * codes.ndim
    shape[axis] = -1
    return ((codes - zero_point.astype(np.int64).reshape(shape)) * scale.reshape(shape)).astype("f4")
