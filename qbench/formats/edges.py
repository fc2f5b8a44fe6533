"""The known conversions between formats, and which states survive each of them.

An edge writes its product into a folder of its own; libraries are imported inside, so that the planner can
read this table without any of them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qbench.cases import Float, State
from qbench.errors import DoesNotFit
from qbench.formats.artifact import Artifact, TensorSpec
from qbench.formats.axes import placed
from qbench.formats.ir import to_openvino
from qbench.formats.packages import baked_in, to_package
from qbench.quant.program import read_program, write_program

NAMED = re.compile(r"[A-Za-z]")  # "?" and "-1" are names that some exporters give to a nameless dimension


@dataclass(frozen=True, slots=True)
class Edge:
    """One conversion: what it takes and gives, whose versions decide it, and what it cannot carry."""

    name: str
    takes: str
    gives: str
    provider: str  # distribution names, separated by spaces
    survives: Callable[[State], bool]
    convert: Callable[[Artifact, Path], Artifact]
    bakes: Callable[[], str] = str  # what else its product depends on: this processor, a compiler


def _not_simulated(state: State) -> bool:
    return state.kind != "fake_quant"


def _fp32(state: State) -> bool:
    return isinstance(state, Float) and state.dtype == "fp32"


def export(artifact: Artifact, folder: Path) -> Artifact:
    """Trace a live module into a torch.export program with a free batch dimension.

    Raises:
        Exception: whatever torch.export says of a module that it cannot trace.
    """
    return traced(artifact, artifact.module.eval(), folder)


def traced(artifact: Artifact, module: Any, folder: Path) -> Artifact:
    """Trace this module, whose inputs are the artifact's, as it is: the mode that it is in stays.

    Raises:
        Exception: whatever torch.export says of a module that it cannot trace.
    """
    import torch

    example = tuple(
        torch.zeros([2 if size is None else size for size in spec.shape], dtype=getattr(torch, spec.dtype))
        for spec in artifact.inputs
    )
    batch = torch.export.Dim("batch")
    shapes: Any = tuple(
        {axis: batch for axis, size in enumerate(spec.shape) if size is None} for spec in artifact.inputs
    )
    parameters = inspect.signature(module.forward).parameters.values()
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        shapes = (shapes,)  # torch.export sees *inputs as one argument that is a tuple
    with torch.no_grad():
        program = torch.export.export(module, example, dynamic_shapes=shapes)
    path = folder / "model.pt2"
    write_program(program, path)
    return replace(artifact, format="exported", path=path, module=None)


def to_onnx(artifact: Artifact, folder: Path) -> Artifact:
    """Translate an exported program into ONNX, one file unless it is too large for one."""
    import onnx
    import torch

    program: Any = torch.onnx.export(
        read_program(artifact.path),
        dynamo=True,
        input_names=[spec.name for spec in artifact.inputs],
        output_names=[spec.name for spec in artifact.outputs],
        verbose=False,
    )
    path = folder / "model.onnx"
    program.save(str(path))
    model = onnx.load(path, load_external_data=False)  # a large network's weights stay where they are
    # Shapes noted for intermediate values go stale when a quantizer transposes a weight: onnxruntime's own
    # quantize_dynamic then stops with a shape-inference error (seen with onnxruntime 1.31).
    del model.graph.value_info[:]
    _forget_where(model)
    onnx.save(model, path)
    return replace(artifact, format="onnx", path=path)


def _forget_where(model: Any) -> None:
    """Take off what the exporter notes of every node: stack traces, with the folders of this machine."""
    del model.metadata_props[:], model.graph.metadata_props[:]
    model.doc_string = model.graph.doc_string = ""
    functions = [node for function in model.functions for node in function.node]
    for node in (*model.graph.node, *functions):
        del node.metadata_props[:]
        node.doc_string = ""


EDGES: tuple[Edge, ...] = (
    Edge("export", "torch", "exported", "torch", _not_simulated, export),
    Edge("to_onnx", "exported", "onnx", "torch onnx onnxscript", _fp32, to_onnx),
    Edge("to_openvino", "onnx", "openvino", "openvino", _fp32, to_openvino),
    Edge("to_package", "exported", "pt2", "torch", _not_simulated, to_package, baked_in),
)


def named(name: str) -> Edge:
    """Return the edge of this name."""
    return next(edge for edge in EDGES if edge.name == name)


def onnx_files(path: Path) -> list[Path]:
    """Return an ONNX file and the files beside it that hold its external data.

    Raises:
        Exception: whatever onnx says of a file that is no ONNX model.
    """
    import onnx
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    tensors = onnx.load(path, load_external_data=False).graph.initializer
    names = dict.fromkeys(ExternalDataInfo(t).location for t in tensors if uses_external_data(t))
    return [path, *(path.parent / name for name in names)]


def onnx_signature(path: Path) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Return the inputs and outputs of an ONNX file, free dimensions as None, with their batch axes.

    Raises:
        DoesNotFit: an input or output is no tensor.
    """
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    stored = {tensor.name for tensor in graph.initializer}
    inputs = tuple(_spec(value) for value in graph.input if value.name not in stored)
    return placed(inputs, tuple(_spec(value) for value in graph.output))


def _spec(value: Any) -> TensorSpec:
    """Return what the file says of one input or output; a dimension is free where it is unset, 0 or -1."""
    import onnx

    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        raise DoesNotFit(
            f"{value.name} is a {(kind or 'value without a type').removesuffix('_type')}, no tensor",
            fix="export the network without it (scikit-learn's converters: options={'zipmap': False})",
        )
    tensor = value.type.tensor_type
    dims = tensor.shape.dim
    shape = tuple(dim.dim_value if dim.dim_value > 0 else None for dim in dims)
    axes = tuple(dim.dim_param if NAMED.search(dim.dim_param) else "" for dim in dims)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    return TensorSpec(value.name, dtype, shape, 0, axes)
