"""One node of an ONNX graph as the torch operators take it: attributes and fixed inputs, read once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

FEW = 64  # a shape, a list of axes, a table of pads: longer ones are no settings of a node

# ONNX element type -> torch's. torch computes with no narrower integers and hardly with unsigned ones:
# those are held in the next type that takes all their values.
ELEMENTS = {
    "FLOAT": "float32",
    "DOUBLE": "float64",
    "FLOAT16": "float16",
    "BFLOAT16": "bfloat16",
    "BOOL": "bool",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "UINT16": "int32",
    "UINT32": "int64",
    "UINT64": "int64",
    "INT4": "int8",
    "UINT4": "uint8",
}
WIDENED = ("UINT16", "UINT32", "UINT64", "INT4", "UINT4")
FLOATS = ("FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16")


@dataclass(frozen=True, slots=True)
class Step:
    """A node, its attributes by name, and those of its inputs that are stored and short, as lists."""

    node: Any
    kind: str  # with its domain, where that is not ONNX's own
    facts: dict[str, Any]
    fixed: dict[int, list[Any]] = field(default_factory=dict)  # position -> numbers
    types: dict[int, str] = field(default_factory=dict)  # position -> ONNX type of what is stored or given

    def given(self, position: int) -> bool:
        """Tell whether the node has this input; an empty name stands for one that is left out."""
        return position < len(self.node.input) and bool(self.node.input[position])

    def numbers(self, position: int, values: tuple[Tensor | None, ...]) -> list[Any] | None:
        """Return an input's numbers, None where it is left out; a stored one costs no copy to the host."""
        if position in self.fixed:
            return self.fixed[position]
        value = values[position] if position < len(values) else None
        return None if value is None else value.reshape(-1).tolist()


def read_step(node: Any, stored: dict[str, Any], given: dict[str, str] | None = None) -> Step:
    """Read a node; `stored` holds TensorProtos by name, `given` the element types of the network's inputs."""
    from onnx import TensorProto, helper

    kind = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
    facts = {a.name: _plain(helper.get_attribute_value(a)) for a in node.attribute}
    known = {at: stored[name] for at, name in enumerate(node.input) if name in stored}
    kinds = given or {}
    types = {at: kinds[name] for at, name in enumerate(node.input) if name in kinds}
    types |= {at: TensorProto.DataType.Name(tensor.data_type) for at, tensor in known.items()}
    short = {at: t for at, t in known.items() if len(t.dims) < 2 and sum(t.dims) <= FEW}
    fixed = {at: to_tensor(t).reshape(-1).tolist() for at, t in short.items() if types[at] in ELEMENTS}
    return Step(node, kind, facts, fixed, types)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return list(value) if isinstance(value, (list, tuple)) else value


def to_tensor(stored: Any) -> Tensor:
    """Return a TensorProto's values in the torch type that ELEMENTS names."""
    import torch
    from onnx import TensorProto, numpy_helper

    name = TensorProto.DataType.Name(stored.data_type)
    array = numpy_helper.to_array(stored)
    if name == "BFLOAT16":
        return torch.from_numpy(array.astype("f4")).to(torch.bfloat16)  # numpy has no such type of its own
    return torch.from_numpy(array.astype(ELEMENTS[name]))


def held(values: Tensor) -> Tensor:
    """Return an input's values in the type that ELEMENTS names for it."""
    import torch

    wider = {torch.uint16: torch.int32, torch.uint32: torch.int64, torch.uint64: torch.int64}
    return values.to(wider[values.dtype]) if values.dtype in wider else values


def element(name: str) -> Any:
    """Return the torch type that holds this ONNX element type."""
    import torch

    return getattr(torch, ELEMENTS[name])


def named_type(number: int) -> str:
    """Return the name of an ONNX element type."""
    from onnx import TensorProto

    return TensorProto.DataType.Name(number)


def lowest(kind: Any) -> float:
    """Return what no number of a torch type is smaller than."""
    import torch

    if kind is torch.bool:
        return 0
    return float("-inf") if kind.is_floating_point else torch.iinfo(kind).min


def highest(kind: Any) -> float:
    """Return what no number of a torch type is larger than."""
    import torch

    if kind is torch.bool:
        return 1
    return float("inf") if kind.is_floating_point else torch.iinfo(kind).max


def padded(x: Tensor, pairs: list[tuple[int, int]], value: float = 0.0) -> Tensor:
    """Return x with its last axes padded, or cropped where a number is negative."""
    from torch.nn import functional

    if not any(before or after for before, after in pairs):
        return x
    return functional.pad(x, [size for pair in reversed(pairs) for size in pair], value=value)
