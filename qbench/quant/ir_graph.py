"""Reading an OpenVINO IR: which multiply-accumulates it holds and how their weights are stored.

The file is read and never compiled, so what is found is what a deployment carries. A weight is whatever an
operator multiplies with that does not depend on the network's input; it is followed back through the nodes
that restore it (Convert, Subtract, Multiply, FakeQuantize, Reshape, ...) to the Constants in `model.bin`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qbench.errors import BadFile
from qbench.quant.qdq_graph import Sizes, Weight, summed

if TYPE_CHECKING:
    import numpy as np

# operator -> inputs that may hold a weight
IR_MACS: dict[str, tuple[int, ...]] = {
    "Convolution": (1,),
    "GroupConvolution": (1,),
    "ConvolutionBackpropData": (1,),
    "GroupConvolutionBackpropData": (1,),
    "DeformableConvolution": (2,),
    "MatMul": (0, 1),
    "LSTMSequence": (4, 5),
    "GRUSequence": (3, 4),
    "RNNSequence": (3, 4),
    "LSTMCell": (3, 4),
    "GRUCell": (2, 3),
    "RNNCell": (2, 3),
}
LOOKED_UP = ("Gather", "GatherND", "GatherElements", "Add", "Subtract")  # tables and offsets: no products
INDICES = ("i64", "i32", "u64", "u32", "boolean", "string")  # shapes, axes and masks: no weight's numbers
JOINS = ("Concat",)  # its inputs are parts of one tensor; all other operators restore their first


@dataclass(slots=True)
class Behind:
    """The Constants that a known value is made from: codes, and what restores them."""

    codes: dict[str, Any] = field(default_factory=dict)
    beside: dict[str, Any] = field(default_factory=dict)

    def largest(self) -> tuple[str, Any] | None:
        """Return the Constant with the most elements, by name; None where only indices are behind."""
        whole = {**self.beside, **self.codes}
        return max(whole.items(), key=lambda item: prod(item[1].shape), default=None)


def runtime() -> Any:
    """Import openvino without its telemetry, which starts a thread at import and calls home.

    Raises:
        ImportError: it is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def save_ir(model: Any, folder: Path) -> Path:
    """Write a model's two files, `model.xml` and `model.bin`, and return the first.

    The library would write 32-bit floats as 16 bits unless told otherwise: then a file that says fp32 would
    hold half of it.
    """
    path = folder / "model.xml"
    runtime().save_model(model, str(path), compress_to_fp16=False)
    return path


def simulated_outputs(path: Path, calls: Sequence[dict[str, np.ndarray]]) -> list[tuple[np.ndarray, ...]]:
    """Return an IR's outputs for every call, its integers simulated: each FakeQuantize written out in float.

    An engine finds nothing there to make integer kernels of. Weights that are stored as integers are restored
    to float, which is exact; left as they are, openvino 2026.4.1 rounds activations beside them as they come.
    """
    openvino = runtime()
    model = openvino.Core().read_model(str(path))
    write_out(model)
    restore_weights(model)
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": "1"}
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    said = []
    for call in calls:
        results = compiled(call)
        said.append(tuple(results[port].copy() for port in compiled.outputs))
    return said


def write_out(model: Any) -> int:
    """Write every FakeQuantize of a model out in float operators, in place; return how many there were.

    Source:
        FakeQuantize-1, in the specification of OpenVINO's operator sets.
    """
    found = [node for node in model.get_ordered_ops() if node.get_type_name() == "FakeQuantize"]
    for node in found:
        node.output(0).replace(_written_out(node, runtime().opset13).output(0))
    model.validate_nodes_and_infer_types()
    return len(found)


def restore_weights(model: Any) -> None:
    """Compute what depends on Constants alone, in place: weights stored as integers become float, exactly."""
    runtime()
    from openvino.passes import ConstantFolding, Manager

    manager = Manager()
    manager.register_pass(ConstantFolding())
    manager.run_passes(model)


def _written_out(node: Any, opset: Any) -> Any:
    """Return the value of a FakeQuantize in elementary operations: clip, scale, round, scale back."""
    value, low, high, out_low, out_high = node.input_values()
    steps = opset.constant(float(node.get_attributes()["levels"] - 1), node.get_output_element_type(0))
    inside = opset.minimum(opset.maximum(value, low), high)
    share = opset.divide(opset.subtract(inside, low), opset.subtract(high, low))
    step = opset.divide(opset.round(opset.multiply(share, steps), "half_to_even"), steps)
    return opset.add(opset.multiply(step, opset.subtract(out_high, out_low)), out_low)


def ir_weights(path: Path | None, sizes: Sizes | None = None) -> list[Weight]:
    """Return the weights of every multiply-accumulate operator in an IR, and all other matrices in it.

    Work is counted for inputs of these `sizes`, as in `onnx_weights`.
    Bodies of loops and branches are opened. A matrix that no known operator multiplies with is listed too: a
    network cannot hide its weights behind an operator that this table lacks.

    Raises:
        BadFile: the file is no OpenVINO IR, or its `model.bin` is missing.
    """
    try:
        model = runtime().Core().read_model(str(path))
    except RuntimeError as error:
        told = str(error).strip().splitlines()[-1]
        problem = f"{path} is no OpenVINO IR: {told}"
        raise BadFile(problem, fix="delete its folder and run again: it is converted anew") from error
    _set_batch_to_one(model, sizes or {})
    operators = list(_operators(model))
    known = _known(operators)
    found = []
    for operator in operators:
        if operator.get_name() not in known:
            found += list(_weights_of(operator, known))
    return found


def rows_of(model: Any) -> list[int]:
    """Return the length of the sums of every matrix product with a stored weight, in the model's order."""
    operators = list(_operators(model))
    known = _known(operators)
    found = []
    for operator in operators:
        if operator.get_type_name() != "MatMul" or operator.get_name() in known:
            continue
        for position, port in enumerate(operator.input_values()):
            if port.get_node().get_name() in known:
                shape = [int(size) for size in port.get_shape()]
                found.append(summed(shape, left=position == 0, turned=_turned(operator, position)))
    return found


def _with(shape: Any, told: tuple[int, ...] | None) -> list[int]:
    """Return a shape with its free dimensions as told; untold, the first is one and others stay free, -1."""
    free = [place for place, size in enumerate(shape) if not size.is_static]
    sizes = [size.get_length() if size.is_static else -1 for size in shape]
    for place in free if told else free[:1]:
        sizes[place] = told[place] if told else 1
    return sizes


def _turned(operator: Any, position: int) -> bool:
    return bool(operator.get_attributes()["transpose_a" if position == 0 else "transpose_b"])


def _set_batch_to_one(model: Any, sizes: Sizes) -> None:
    """Give every input the size of a call with one example; where it refuses, its work stays uncounted.

    Of an input that is not among the sizes the first free dimension is one, and a further one stays free.
    """
    shapes = {}
    for port in model.inputs:
        shape = port.get_partial_shape()
        if shape.rank.is_static:
            told = next((sizes[name] for name in port.get_names() if name in sizes), None)
            shapes[port] = _with(shape, told)
    try:
        model.reshape(shapes)
    except RuntimeError:
        return


def _operators(model: Any) -> Iterator[Any]:
    """Yield every operator, makers before users, those of bodies after the operator that holds them."""
    for operator in model.get_ordered_ops():
        yield operator
        kind = operator.get_type_name()
        bodies = {"If": ((0,), (1,)), "Loop": ((),), "TensorIterator": ((),)}.get(kind, ())
        for which in bodies:
            yield from _operators(operator.get_function(*which))


def _known(operators: list[Any]) -> set[str]:
    """Return the operators whose values do not depend on an input of the network."""
    known: set[str] = set()
    for operator in operators:
        sources = [port.get_node().get_name() for port in operator.input_values()]
        if operator.get_type_name() == "Constant" or (sources and known.issuperset(sources)):
            known.add(operator.get_name())
    return known


def _weights_of(operator: Any, known: set[str]) -> Iterator[Weight]:
    kind = operator.get_type_name()
    for position, port in enumerate(operator.input_values()):
        if port.get_node().get_name() not in known:
            continue  # a product of two activations has no weight
        behind = _behind(port.get_node())
        largest = behind.largest()
        if largest is None:
            continue
        name, constant = largest
        multiplies = position in IR_MACS.get(kind, ())
        if not multiplies and sum(size > 1 for size in constant.shape) < 2:
            continue  # a bias, a scale, a range
        codes = behind.codes if name in behind.codes else {name: constant}
        alike = [each for each in codes.values() if each.get_element_type() == constant.get_element_type()]
        whole = {**behind.beside, **behind.codes}
        macs = _macs(operator, position) if multiplies else 0 if kind in LOOKED_UP else None
        yield Weight(
            name,
            kind,
            sum(prod(each.shape) for each in alike),
            constant.get_element_type().bitwidth,
            sum(each.get_byte_size() for each in whole.values()),
            macs,
            max(constant.shape, default=1),
            _moved(operator, position) if multiplies else 0,
            multiplied=multiplies,
        )


def _moved(operator: Any, position: int) -> int | None:
    """Count the activations that a product reads and writes for a batch of one."""
    other = operator.input_value(1 if position == 0 else 0).get_partial_shape()
    out = operator.output(0).get_partial_shape()
    if operator.get_type_name().endswith(("Sequence", "Cell")) or not (other.is_static and out.is_static):
        return None
    return prod(int(size) for size in other.to_shape()) + prod(int(size) for size in out.to_shape())


def _behind(node: Any) -> Behind:
    """Follow a known value back to its Constants; those that index or shape it are no part of it."""
    found = Behind()
    pending, seen = [(node, found.codes)], set()
    while pending:
        node, into = pending.pop()
        if node.get_name() in seen:
            continue
        seen.add(node.get_name())
        if node.get_output_element_type(0).get_type_name() in INDICES:
            continue  # a weight's shape is no weight
        if node.get_type_name() == "Constant":
            into[node.get_friendly_name()] = node
            continue
        joins = node.get_type_name() in JOINS
        for position, port in enumerate(node.input_values()):
            pending.append((port.get_node(), into if joins or not position else found.beside))
    return found


def _macs(operator: Any, position: int) -> int | None:
    """Count multiply-accumulates: output elements times the length of the sum behind each."""
    kind = operator.get_type_name()
    shapes = [port.get_partial_shape() for port in (*operator.input_values(), operator.output(0))]
    if kind.endswith(("Sequence", "Cell")) or not all(shape.is_static for shape in shapes):
        return None
    first, weight, out = (
        [int(size) for size in shape.to_shape()] for shape in (shapes[0], shapes[position], shapes[-1])
    )
    if "Convolution" in kind:  # weight (groups, out / groups, in / groups, kernel...); the first if grouped
        summed_over = prod(weight[2 if kind.startswith("Group") else 1 :])
        return prod(first if kind.endswith("BackpropData") else out) * summed_over
    return prod(out) * summed(weight, left=position == 0, turned=_turned(operator, position))
