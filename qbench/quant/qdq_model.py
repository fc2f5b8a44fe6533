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
from qbench.quant.qdq_graph import ONNX_MACS, OnnxGraph

SUFFIX = "_DequantizeLinear_Output"  # what onnxruntime's quantizer appends to a restored weight's name
INT4_OPSET, INT4_IR = 21, 10  # the first that have the type
BIASED = ("Conv", "ConvTranspose", "Gemm")


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


class QdqModel:
    """The model, which every change below changes in place; give it a copy."""

    def __init__(self, model: Any) -> None:
        """Index the model."""
        self.model = model
        self.graph = OnnxGraph(model)
        self.weights = list(self._weights())
        self.activations = [
            Rounded(node.input[0], node, *self._scale(node))
            for node in self.graph.nodes
            if node.op_type == "QuantizeLinear" and node.input[0] not in self.graph.known
        ]

    def array(self, name: str) -> np.ndarray:
        """Return a stored tensor."""
        from onnx import numpy_helper

        return numpy_helper.to_array(self.graph.stored[name])

    def _scale(self, node: Any) -> tuple[np.ndarray, np.ndarray]:
        scale = self.array(node.input[1])
        if len(node.input) > 2 and node.input[2]:
            return scale, self.array(node.input[2])
        return scale, np.zeros(scale.shape, np.uint8)  # the format's own default

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

    # --- changing it --------------------------------------------------------------------------------------

    def put(self, name: str, array: np.ndarray) -> None:
        """Replace an initializer, or add it."""
        from onnx import numpy_helper

        self._put(numpy_helper.from_array(np.ascontiguousarray(array), name))

    def _put(self, tensor: Any) -> None:
        for kept in self.model.graph.initializer:
            if kept.name == tensor.name:
                kept.CopyFrom(tensor)
                break
        else:
            self.model.graph.initializer.append(tensor)
            kept = self.model.graph.initializer[-1]
        self.graph.stored[tensor.name] = kept

    def set_weight(self, weight: StoredWeight, codes: np.ndarray, scale: np.ndarray, bits: int) -> None:
        """Store symmetric codes of the weight's own shape, and their scale: () or (channels,) as before.

        Four bits are packed two to a byte; every other width takes a byte a code.
        """
        from onnx import TensorProto, helper

        weight.codes, weight.scale = codes.astype(np.int32), scale.astype("f4").reshape(weight.scale.shape)
        weight.zero_point = np.zeros(weight.scale.shape, np.int8)
        self.put(weight.restore.input[1], weight.scale)
        if len(weight.restore.input) > 2:
            self.put(weight.restore.input[2], weight.zero_point)
        if bits == 4:
            self._need_int4()
            packed = f"{weight.stored.removesuffix('_int4')}_int4"
            self._put(helper.make_tensor(packed, TensorProto.INT4, codes.shape, codes.ravel().tolist()))
            if weight.stored != packed:
                self._drop(weight.stored)
                wide = weight.stored
                cast = helper.make_node("Cast", [packed], [wide], f"{wide}_widen", to=TensorProto.INT8)
                self.model.graph.node.insert(0, cast)
                weight.stored = packed
        else:
            self.put(weight.stored, codes.astype(np.int8))

    def set_float(self, weight: StoredWeight, array: np.ndarray) -> None:
        """Store a weight in float, where no integer type of the format says what it holds."""
        name = weight.node.input[weight.position]
        for node in list(self.model.graph.node):
            if name in node.output:
                self.model.graph.node.remove(node)
        self.graph.maker.pop(name, None)
        self._drop(weight.stored)
        self.put(name, array.astype("f4"))

    def set_activation(self, activation: Rounded, scale: float, zero_point: int) -> None:
        """Give an activation another scale and zero_point, of the type that it has."""
        activation.scale = np.array(scale, "f4").reshape(activation.scale.shape)
        activation.zero_point = np.array(zero_point).astype(activation.zero_point.dtype)
        activation.zero_point = activation.zero_point.reshape(activation.scale.shape)
        self.put(activation.node.input[1], activation.scale)
        self.put(activation.node.input[2], activation.zero_point)

    def input_scale(self, node: Any) -> float | None:
        """Return the scale of what a node's first input is rounded to; None where it is not rounded."""
        restore = self.graph.maker.get(node.input[0])
        if restore is None or restore.op_type != "DequantizeLinear":
            return None
        return float(self.array(restore.input[1]).reshape(-1)[0])

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
            if restore is None or restore.op_type != "DequantizeLinear":
                # any name that is free: a float bias may have this one, and another user
                made = f"{node.name}_corrected"
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
                name = made
            self.put(restore.input[0], codes)
            self.put(restore.input[1], scale)
            if len(restore.input) > 2 and restore.input[2]:
                self.put(restore.input[2], np.zeros(scale.shape, np.int32))
        del node.input[2:]
        node.input.append(name)

    def _need_int4(self) -> None:
        for entry in self.model.opset_import:
            if entry.domain in ("", "ai.onnx"):
                entry.version = max(entry.version, INT4_OPSET)
        self.model.ir_version = max(self.model.ir_version, INT4_IR)

    def _drop(self, name: str) -> None:
        for tensor in self.model.graph.initializer:
            if tensor.name == name:
                self.model.graph.initializer.remove(tensor)
                break
        self.graph.stored.pop(name, None)


def restored(codes: np.ndarray, scale: np.ndarray, zero_point: np.ndarray, axis: int | None) -> np.ndarray:
    """Return codes in float32: (codes - zero_point) * scale, with a scale a channel along `axis` or one."""
    if axis is None:
        scale, zero_point = scale.reshape(-1)[:1], zero_point.reshape(-1)[:1]
        return ((codes - zero_point.astype(np.int64)) * scale).astype("f4")
    shape = [1] * codes.ndim
    shape[axis] = -1
    return ((codes - zero_point.astype(np.int64).reshape(shape)) * scale.reshape(shape)).astype("f4")
