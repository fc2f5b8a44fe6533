"""An ONNX network as a torch module: gradients reach its weights, and these go back into the file.

For quantization-aware training, distillation and fine-tuning of any network that comes as ONNX. It is no
engine: nothing here is fast, and no speed is measured with it.

The network computes what the graph says, always in inference mode (fold BatchNormalization before, or its
statistics stay as they are); an operator that would do otherwise is refused before anything runs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from math import prod
from typing import TYPE_CHECKING, Any

from qbench.errors import DoesNotFit
from qbench.quant.onnx_layers import OPSET
from qbench.quant.qdq_graph import ONNX_MACS, OnnxGraph, copied, opened
from qbench.quant.torch_operators import LIMITS, OPERATORS
from qbench.quant.torch_step import ELEMENTS, FLOATS, Step, held, read_step, to_tensor

if TYPE_CHECKING:
    import onnx
    from torch import Tensor
    from torch.nn import Module, Parameter
else:
    Module = object  # torch's comes in when the first network is made: see _module_class

Through = Callable[[str, "Tensor"], "Tensor"]
Around = Callable[[Any, "Tensor"], "Tensor"]

# operator -> inputs whose stored floats are learned: what it multiplies with, adds or scales by
LEARNED: dict[str, tuple[int, ...]] = {
    "Add": (0, 1),
    "BatchNormalization": (1, 2),
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Div": (0, 1),
    "Gemm": (0, 1, 2),
    "GroupNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "MatMul": (0, 1),
    "Mul": (0, 1),
    "PRelu": (1,),
    "RMSNormalization": (1,),
    "Sub": (0, 1),
    "Sum": tuple(range(8)),
}


def torch_network(model: onnx.ModelProto) -> TorchNetwork:
    """Return the network as a torch module; the model itself is copied and never changed.

    Raises:
        DoesNotFit: its operator set is too old, or it holds operators that are not covered; all are named.
    """
    version = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), OPSET)
    if version < OPSET:
        raise DoesNotFit(
            f"this network has ONNX operator set {version}; torch operators are known for {OPSET} and newer",
            fix=f"export it again with opset_version={OPSET} or newer",
        )
    return _module_class()(model)


@cache
def _module_class() -> Any:
    from torch import nn

    return type("TorchNetwork", (TorchNetwork, nn.Module), {})


class TorchNetwork(Module):
    """An ONNX graph that runs in torch; made by torch_network.

    `through(name, tensor)`, where set, stands between a tensor and the nodes that read it: stored weights and
    computed values alike, integers and shapes too, each name once a pass. An output of the network is what
    its node made, before `through`.

    `around(node, tensor)`, where set, stands behind every multiply-accumulate node (an ONNX NodeProto).
    """

    through: Through | None
    around: Around | None

    def __init__(self, model: onnx.ModelProto) -> None:
        """Register what is stored and read the nodes; see torch_network for what is raised."""
        super().__init__()
        self.through = self.around = None
        self._model = copied(model)
        flat = opened(self._model)
        graph = flat.graph
        stored = _stored(graph)
        nodes = [node for node in graph.node if node.op_type != "Constant"]
        self._steps = [read_step(node, stored, _types(graph)) for node in nodes]
        self.outputs = tuple(value.name for value in graph.output)
        self.inputs = tuple(value.name for value in graph.input if value.name not in stored)
        _check(graph, self._steps, stored)
        self._safe = {name: f"s{at}_{re.sub(r'[^0-9A-Za-z]', '_', name)}" for at, name in enumerate(stored)}
        self._learned = _learned(flat)
        for name, tensor in stored.items():
            self._hold(name, to_tensor(tensor))
        self._done = _last_uses(self._steps, self.outputs)

    def _hold(self, name: str, values: Tensor) -> None:
        from torch.nn import Parameter

        if name in self._learned:
            self.register_parameter(self._safe[name], Parameter(values))
        else:
            self.register_buffer(self._safe[name], values)

    @property
    def weights(self) -> dict[str, Parameter]:
        """Return what can be learned, by the names of the model's initializers."""
        return {name: getattr(self, self._safe[name]) for name in self._learned}

    def forward(self, inputs: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """Return the outputs in the model's order.

        Raises:
            DoesNotFit: an input is missing.
        """
        missing = [name for name in self.inputs if name not in inputs]
        if missing:
            raise DoesNotFit(
                f"the network reads {', '.join(self.inputs)}; not given: {', '.join(missing)}",
                fix="give a dictionary with a tensor for every input",
            )
        given = {name: held(tensor) for name, tensor in inputs.items()}
        values = {name: getattr(self, safe) for name, safe in self._safe.items()} | given
        seen: dict[str, Tensor] = {}
        for step, done in zip(self._steps, self._done, strict=True):
            read = [self._read(name, values, seen) if name else None for name in step.node.input]
            made = OPERATORS[step.kind](step, *read)
            if self.around is not None and step.kind in ONNX_MACS:
                made = self.around(step.node, made)
            made = made if isinstance(made, tuple) else (made,)
            values.update(zip(step.node.output, made, strict=False))
            for name in done:
                values.pop(name, None)
                seen.pop(name, None)
        return tuple(values[name] for name in self.outputs)

    def _read(self, name: str, values: dict[str, Tensor], seen: dict[str, Tensor]) -> Tensor:
        if self.through is None:
            return values[name]
        if name not in seen:
            seen[name] = self.through(name, values[name])
        return seen[name]

    def write_back(self) -> onnx.ModelProto:
        """Return a copy of the model with the weights' present values in its initializers."""
        from onnx import helper, numpy_helper

        model, weights = copied(self._model), self.weights
        for tensor in model.graph.initializer:
            if tensor.name in weights:
                values = weights[tensor.name].detach().cpu()
                kind = helper.tensor_dtype_to_np_dtype(tensor.data_type)
                array = values.double().numpy().astype(kind)  # numpy takes no bfloat16 from torch
                tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
        return model


def _stored(graph: Any) -> dict[str, Any]:
    """Return the TensorProtos of initializers and Constant nodes by name."""
    from onnx import helper, numpy_helper

    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name in CONSTANTS:
            attribute = node.attribute[0]
            value = helper.get_attribute_value(attribute)
            if attribute.name != "value":
                import numpy as np

                value = numpy_helper.from_array(np.array(value, CONSTANTS[attribute.name]))
            stored[node.output[0]] = value
    return stored


def _types(graph: Any) -> dict[str, str]:
    """Return the element types of the inputs that are tensors of a known one."""
    from onnx import TensorProto

    types = {value.name: value.type.tensor_type.elem_type for value in graph.input}
    return {name: TensorProto.DataType.Name(number) for name, number in types.items() if number}


CONSTANTS = {"value": "", "value_float": "f4", "value_floats": "f4", "value_int": "i8", "value_ints": "i8"}


def _learned(model: Any) -> tuple[str, ...]:
    """Return the float initializers of more than one element that some operator learns."""
    from onnx import TensorProto

    graph = OnnxGraph(model)
    learned: set[str] = set()
    for node in graph.nodes:
        for position in LEARNED.get(node.op_type, ()):
            if position < len(node.input):
                learned |= {name for name, _ in graph.behind(node.input[position])[0]}
    return tuple(
        tensor.name
        for tensor in model.graph.initializer
        if tensor.name in learned
        and prod(tensor.dims) > 1
        and TensorProto.DataType.Name(tensor.data_type) in FLOATS
    )


def _last_uses(steps: list[Step], outputs: tuple[str, ...]) -> list[list[str]]:
    """Return for each step the values that nothing reads after it: without gradients their memory is free."""
    later, found = set(outputs), []
    for step in reversed(steps):
        names = {*step.node.input, *step.node.output}
        found.append(sorted(names - later))
        later |= names
    return found[::-1]


def _check(graph: Any, steps: list[Step], stored: dict[str, Any]) -> None:
    found = Counter(_uncovered(graph, steps, stored))
    if found:
        kinds = ", ".join(f"{kind} x{count}" for kind, count in found.most_common())
        raise DoesNotFit(
            f"torch operators do not cover all of this network (not covered: {kinds})",
            fix="leave techniques that train the network out for it, or add each of them as a function in "
            "qbench/quant/torch_operators.py",
        )


def _uncovered(graph: Any, steps: list[Step], stored: dict[str, Any]) -> Iterator[str]:
    from onnx import TensorProto

    if graph.sparse_initializer:
        yield "sparse initializers"
    yield from _unheld([value for value in [*graph.input, *graph.output] if value.name not in stored])
    for node in graph.node:
        if node.op_type == "Constant" and node.output[0] not in stored:
            yield f"Constant with {node.attribute[0].name}"
    for name, tensor in stored.items():
        kind = TensorProto.DataType.Name(tensor.data_type)
        if kind not in ELEMENTS:
            yield f"{kind} in {name}"
    read = {name for step in steps for name in step.node.input} | {value.name for value in graph.output}
    for step in steps:
        reason = _reason(step, read)
        if reason is not None:
            yield reason


def _unheld(ends: list[Any]) -> Iterator[str]:
    """Yield the inputs and outputs whose values no torch tensor holds."""
    from onnx import TensorProto

    for value in ends:
        kind = value.type.WhichOneof("value")
        if kind not in (None, "tensor_type"):
            yield f"a {kind.removesuffix('_type')} as {value.name}"
        elif value.type.tensor_type.elem_type:  # 0: the file leaves it open
            name = TensorProto.DataType.Name(value.type.tensor_type.elem_type)
            if name not in ELEMENTS:
                yield f"{name} in {value.name}"


def _reason(step: Step, read: set[str]) -> str | None:
    """Return what of a node is not covered."""
    if step.kind not in OPERATORS:
        return step.kind
    limit = LIMITS[step.kind](step) if step.kind in LIMITS else None
    if limit is None and step.kind not in ("Split", "Dropout") and read.intersection(step.node.output[1:]):
        limit = "with a second output"
    return f"{step.kind} {limit}" if limit else None
