"""Other integers for a QDQ model's, worked out from those that it has: no float network and no data.

What the file computes stays. An operator that its quantizer left out because a range ended there (Relu,
Relu6) is put back where the range ends elsewhere afterwards; biases, in steps of input scale x weight
scale, are recoded where one of the two changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from qbench.errors import DoesNotFit
from qbench.quant.affine import TINY, WeightGrid, activation_scale, scales
from qbench.quant.biases import BIASED
from qbench.quant.qdq_model import QdqModel, Rounded, StoredWeight

WIDTHS = {"int8": 8, "uint8": 8, "int16": 16, "uint16": 16}
# their outputs have no sign that their first input has not
MOVES = {
    "MaxPool", "AveragePool", "GlobalAveragePool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze",
    "Identity", "Slice",
}  # fmt: skip
ENDS = ("Relu", "Clip", "Sigmoid", "Softmax", "HardSigmoid")  # end a range themselves
Recoded = tuple[np.ndarray, np.ndarray]  # codes of the weight's own shape; scale () or (channels,)


# --- activations ------------------------------------------------------------------------------------------


def limits(activation: Rounded) -> tuple[int, int]:
    """Return the least and the greatest code of an activation's type.

    Raises:
        DoesNotFit: it is neither 8 nor 16 bits wide.
    """
    kind = activation.zero_point.dtype
    if kind.name not in WIDTHS:
        raise DoesNotFit(
            f"requantize takes activations in 8 or 16 bits; {activation.tensor!r} is in {kind.name}",
            fix="leave requantize out for this network",
        )
    found = np.iinfo(kind)
    return int(found.min), int(found.max)


def ends(activation: Rounded) -> tuple[float, float]:
    """Return the range that an activation's codes span.

    Raises:
        DoesNotFit: it has several scales, or a width that is not known here.
    """
    if activation.scale.size > 1:
        raise DoesNotFit(
            f"requantize takes one scale an activation; {activation.tensor!r} has {activation.scale.size}",
            fix='write to = "s8s8", which keeps scales as they are',
        )
    low, high = limits(activation)
    scale, zero = float(activation.scale.reshape(-1)[0]), int(activation.zero_point.reshape(-1)[0])
    return (low - zero) * scale, (high - zero) * scale


def with_sign(model: QdqModel, *, signed: bool) -> bool:
    """Move all codes and zero points by half of their span, which is exact; return whether any had to."""
    moved = [a for a in model.activations if (limits(a)[0] < 0) != signed]
    for activation in moved:
        kind = activation.zero_point.dtype
        if (kind.kind == "i") == signed:  # moved together with one that shares its scale
            continue
        half = 2 ** (WIDTHS[kind.name] - 1)
        zero = activation.zero_point.astype(np.int64) + (-half if signed else half)
        _set(
            model, activation, activation.scale, zero, f"{'' if signed else 'u'}{kind.name.removeprefix('u')}"
        )
    return bool(moved)


def centred(model: QdqModel) -> float:
    """Give every activation the zero point 0 of signed codes; return the most that a step grew, 1 if none."""
    grew = [1.0]
    wanted = {}
    for activation in model.activations:
        low, high = ends(activation)
        bits = WIDTHS[activation.zero_point.dtype.name]
        signed = activation.zero_point.dtype.kind == "i"
        if not (signed and not activation.zero_point.any()):
            scale, _ = activation_scale(low, high, bits, symmetric=True)
            wanted[activation.node.output[0]] = (scale, f"int{bits}", low, high)
    needs = [a for a in model.activations if a.node.output[0] in wanted and _ends_there(model, a)]
    for activation in list(model.activations):
        if activation.node.output[0] in wanted:
            scale, kind, _, _ = wanted[activation.node.output[0]]
            grew.append(scale / float(activation.scale.reshape(-1)[0]))
            _set(model, activation, np.float32(scale), 0, kind)
    for activation in needs:
        _, _, low, high = wanted[activation.node.output[0]]
        _put_back(model, activation, low, high, relu=low == 0)
    return max(grew) if wanted else 0.0


def in_powers_of_two(model: QdqModel) -> float:
    """Round every activation's scale up to a power of two; return the most that a step grew, 1 if none."""
    grew, wanted = [1.0], {}
    for activation in model.activations:
        before = float(activation.scale.reshape(-1)[0])
        if power_of_two(before) != before:
            wanted[activation.node.output[0]] = (ends(activation), before)
    needs = [a for a in model.activations if a.node.output[0] in wanted and _ends_there(model, a)]
    for activation in list(model.activations):
        if activation.node.output[0] in wanted:
            _, before = wanted[activation.node.output[0]]
            grew.append(float(power_of_two(before)) / before)
            zero = int(activation.zero_point.reshape(-1)[0])
            _set(model, activation, power_of_two(before), zero)
    for activation in needs:
        (low, high), _ = wanted[activation.node.output[0]]
        _put_back(model, activation, low, high, relu=False)
    return max(grew)


def _set(model: QdqModel, activation: Rounded, scale: Any, zero: Any, kind: str = "") -> None:
    model.set_activation(activation, scale, zero, np.dtype(kind).type if kind else None)


def _ends_there(model: QdqModel, activation: Rounded) -> bool:
    """Tell whether a range ends at 0 by itself: an operator that did that may have been left out."""
    low, high = ends(activation)
    return (low == 0 or high == 0) and not _bounded(model, activation.tensor)


def _bounded(model: QdqModel, tensor: str) -> bool:
    maker = model.graph.maker.get(tensor)
    if maker is None or maker.op_type in ENDS:
        return True
    if maker.op_type in MOVES:
        return _bounded(model, maker.input[0])
    if maker.op_type == "Concat":
        return all(_bounded(model, name) for name in maker.input)
    rounded = [a for a in model.activations if a.node.output[0] == maker.input[0]]
    return maker.op_type == "DequantizeLinear" and bool(rounded) and 0 in ends(rounded[0])


def _put_back(model: QdqModel, activation: Rounded, low: float, high: float, *, relu: bool) -> None:
    """Round, end the range, and round again: the layout whose multiplication engines still fuse."""
    from onnx import helper

    rounds, tensor = activation.node, activation.tensor
    stem = model.free_name(f"{tensor}_whole")
    grid = list(rounds.input[1:])
    made = [
        helper.make_node("QuantizeLinear", [tensor, *grid], [f"{stem}_codes"], f"{stem}_QuantizeLinear"),
        helper.make_node("DequantizeLinear", [f"{stem}_codes", *grid], [stem], f"{stem}_DequantizeLinear"),
    ]
    if relu:
        made.append(helper.make_node("Relu", [stem], [f"{stem}_ended"], f"{stem}_Relu"))
    else:
        for word, value in (("least", low), ("greatest", high)):
            model.put(f"{stem}_{word}", np.array(value, "f4"))
        sides = [f"{stem}_least", f"{stem}_greatest"]
        made.append(helper.make_node("Clip", [stem, *sides], [f"{stem}_ended"], f"{stem}_Clip"))
    place = next(i for i, node in enumerate(model.model.graph.node) if node.output[:1] == rounds.output[:1])
    for node in reversed(made):
        model.model.graph.node.insert(place, node)
    model.model.graph.node[place + len(made)].input[0] = f"{stem}_ended"


# --- weights ----------------------------------------------------------------------------------------------


def power_of_two(scale: Any) -> np.ndarray:
    """Return the least power of two that is no smaller."""
    return np.exp2(np.ceil(np.log2(np.maximum(np.asarray(scale, "f8"), TINY)))).astype("f4")


def width(model: QdqModel, weight: StoredWeight) -> int:
    """Return the bits of a weight's codes as they are stored.

    Raises:
        DoesNotFit: they are neither 4 nor 8.
    """
    from onnx import TensorProto

    known = {"INT8": 8, "UINT8": 8, "INT4": 4, "UINT4": 4}
    name = TensorProto.DataType.Name(model.graph.stored[weight.stored].data_type)
    if name not in known:
        raise DoesNotFit(
            f"requantize takes weights in 8 or 4 bits; {weight.stored!r} is in {name}",
            fix="leave requantize out for this network",
        )
    return known[name]


def nearest_codes(weight: StoredWeight, bits: int, *, whole: bool = False, clip: bool = False) -> Recoded:
    """Return symmetric codes, one scale a channel, or one at all where it has one or `whole` asks for it.

    `clip` chooses the scale of the least squared error instead of the one that holds the largest weight.
    """
    rows = _rows(weight.restored, weight.axis)
    kind = "per_tensor" if whole or weight.axis is None else "per_channel"
    grid = WeightGrid(bits, "per_tensor" if kind == "per_tensor" else "per_channel",
                      observer="mse" if clip else "minmax")  # fmt: skip
    scale = scales(rows, grid)[0].reshape(-1)
    return _codes(weight, scale, grid.low, grid.high), scale if scale.size > 1 else scale.reshape(())


def power_of_two_codes(weight: StoredWeight, bits: int) -> Recoded:
    """Return codes in steps that are powers of two, each the least that is no finer than before."""
    scale = weight.scale.reshape(-1)
    if weight.zero_point.any():  # symmetric codes need steps that reach the farther end
        scale = np.asarray(nearest_codes(weight, bits)[1]).reshape(-1)
    scale = power_of_two(scale)
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return _codes(weight, scale, low, high), scale.reshape(weight.scale.shape)


def _codes(weight: StoredWeight, scale: np.ndarray, low: int, high: int) -> np.ndarray:
    shape = [1] * weight.codes.ndim
    if scale.size > 1:
        shape[weight.axis or 0] = -1
    codes = np.rint(weight.restored.astype("f8") / scale.astype("f8").reshape(shape))
    return np.clip(codes, low, high).astype(np.int32)


def _rows(array: np.ndarray, axis: int | None) -> np.ndarray:
    """Return a matrix with a row a channel."""
    if axis is None:
        return array.reshape(1, -1)
    return np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)


def recode(model: QdqModel, weights: list[StoredWeight], new: Callable[[StoredWeight], Recoded], bits: int) -> list[float]:  # fmt: skip  # noqa: E501
    """Store other codes of these weights; return how far each moved: the root of the share of its squares.

    Raises:
        DoesNotFit: two scales belong to one stored tensor.
    """
    seen: dict[str, np.ndarray] = {}
    moved = []
    for weight in weights:
        before = weight.restored
        if not np.array_equal(seen.setdefault(weight.stored, before), before):
            raise DoesNotFit(
                f"the codes {weight.stored!r} are restored with two different scales",
                fix="leave requantize out for this network",
            )
        name = weight.stored
        codes, scale = new(weight)
        model.set_weight(weight, codes, scale, bits)
        seen[weight.stored] = seen[name]
        squares = float((before.astype("f8") ** 2).sum())
        error = float(((weight.restored.astype("f8") - before) ** 2).sum())
        moved.append((error / squares) ** 0.5 if squares else 0.0)
    return moved


# --- biases -----------------------------------------------------------------------------------------------


class Biases:
    """The integer biases of a model before it is changed, to be written in the steps it has afterwards."""

    def __init__(self, model: QdqModel) -> None:
        """Read them."""
        self.model = model
        self.weights = {weight.restore.output[0]: weight for weight in model.weights}
        self.before = [
            (node, bias, self._step(node))
            for node in model.graph.nodes
            if node.op_type in BIASED and node.input[1] in self.weights
            if (bias := model.bias(node)) is not None
        ]

    def _step(self, node: Any) -> np.ndarray | None:
        given = self.model.input_scale(node)
        return None if given is None else given * self.weights[node.input[1]].scale.astype("f8")

    def rewrite(self) -> None:
        """Recode those whose step has changed."""
        for node, bias, before in self.before:
            after = self._step(node)
            if after is not None and not np.array_equal(after, before if before is not None else np.nan):
                self.model.set_bias(replace(self.weights[node.input[1]], node=node), bias)
