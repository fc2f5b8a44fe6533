"""Is a user's file one that can be measured at all? Asked before anything is planned, told in one sentence.

What the graph alone shows (quantized already, 16-bit floats) is refused without an engine. Then every engine
is asked, each in a process of its own, with one sample and with two: whether any runs the network, and
whether the batch that the file declares free is free inside as well.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qbench.backends.base import BACKENDS
from qbench.cases import DataSpec
from qbench.errors import DoesNotFit
from qbench.formats.artifact import Artifact
from qbench.formats.proof import weights_of
from qbench.formats.signature import at_most, fed, fixed_batch
from qbench.quant.qdq_file import read_qdq
from qbench.quant.qdq_model import QdqModel
from qbench.reasons import reason_of
from qbench.run.choose import model_of, source_of, task_of, values_of
from qbench.sweep import choice_of
from qbench.tasks.base import batch_of

if TYPE_CHECKING:
    from qbench.suite import SuiteModel

ASKED = "qbench.run.vet_worker"
TIME_S = 60.0  # for an engine that hangs or compiles for minutes: it is then not heard
MOST = 256  # of a batch that a constant inside the graph may fix
STANDARD = ("", "ai.onnx")
HALF = {10: "float16", 16: "bfloat16"}  # TensorProto.DataType


def vet(wanted: SuiteModel, backends: Sequence[str]) -> None:
    """Refuse a network that no run could answer about; `backends` are the engines that would be asked.

    Raises:
        DoesNotFit: it is quantized already, stored in 16-bit floats, has an operator that no engine here has,
            runs on none, or fixes its batch inside the graph.
    """
    artifact = model_of(source_of(wanted)).load()
    _float_in_32_bits(artifact)
    able = [name for name in backends if artifact.format in BACKENDS[name].runs]
    _runs(artifact, _calls(artifact, wanted), able)


# --- by the file alone ------------------------------------------------------------------------------


def _float_in_32_bits(artifact: Artifact) -> None:
    assert artifact.path is not None
    try:
        weights = weights_of(artifact)
    except Exception:  # the proof that follows in the run has its own words for a graph that cannot be read
        return
    narrow = [weight for weight in weights if weight.bits < 32]
    if not narrow:
        return
    path, of = artifact.path, f"{len(narrow)} of its {len(weights)} weights"
    if half := _half(path, {weight.name for weight in narrow}):
        raise DoesNotFit(
            f"{path} is stored in 16-bit floats: {of} are {half}; what is gained and lost is told "
            "against 32-bit float",
            fix="cast it before it is exported: model = model.float(); "
            "torch.onnx.export(model, (example.float(),), 'model.onnx')",
        )
    bits = ", ".join(str(width) for width in sorted({weight.bits for weight in narrow}))
    raise DoesNotFit(
        f"{path} is quantized already: {of} are stored in {bits} bits",
        fix="give the 32-bit float model that it was made from" + _recoded(path),
    )


def _half(path: Path, names: set[str]) -> str:
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    found = {HALF[types[name]] for name in names & types.keys() if types[name] in HALF}
    return " and ".join(sorted(found))


def _recoded(path: Path) -> str:
    """Return a command that recodes the file's integers, where they are of the form that it takes."""
    try:
        found = QdqModel(read_qdq(path, "requantize"))
    except DoesNotFit:
        return ""
    if not found.activations:
        return ""
    unsigned = any(rounded.zero_point.dtype == np.uint8 for rounded in found.activations)
    to = "s8s8" if unsigned else "u8s8"
    others = ", ".join(name for name in values_of("requantize", "to") if name != to)
    return (
        "; to write its integers in another form without it: "
        f"qbench requantize {path} --to {to} --out {path.stem}-{to}.onnx (other forms: {others})"
    )


# --- by asking ---------------------------------------------------------------------------------------


def _calls(artifact: Artifact, wanted: SuiteModel) -> dict[int, dict[str, np.ndarray]]:
    """Return calls of one and of two samples; one alone, where the file itself says how many it takes."""
    choice = choice_of(wanted.task or {}, f"task of {wanted.use}")
    task = task_of(choice)
    count = min(MOST, task.sizes()["test"])
    examples = task.examples(DataSpec(choice, "test", count))
    fixed = fixed_batch(artifact.inputs) or (1 if artifact.carried else None)
    if fixed:
        sizes = [fixed]
    else:
        sizes = [1, 2] if at_most(artifact.inputs, examples.raw, 2) == 2 else [1]
        sizes += sorted(_fixed_inside(artifact) & set(range(3, count + 1)))
    return {size: fed(artifact.inputs, batch_of(task, examples, 0, size, whole=True)) for size in sizes}


def _fixed_inside(artifact: Artifact) -> set[int]:
    """Return the first sizes that the graph's Reshapes write as constants: a batch may be fixed to one."""
    return {sizes[0] for _, sizes in _reshapes(artifact) if sizes and 0 < sizes[0] <= MOST}


def _reshapes(artifact: Artifact) -> list[tuple[str, list[int]]]:
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(artifact.path or "", load_external_data=False).graph
    stored = {tensor.name: tensor for tensor in graph.initializer if tensor.data_location != 1}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            stored[node.output[0]] = node.attribute[0].t
    return [
        (node.name or node.output[0], numpy_helper.to_array(stored[node.input[1]]).ravel().tolist())
        for node in graph.node
        if node.op_type == "Reshape" and len(node.input) > 1 and node.input[1] in stored
    ]


def _runs(artifact: Artifact, calls: Mapping[int, Mapping[str, Any]], backends: Sequence[str]) -> None:
    heard = _ask(artifact, calls, backends)
    if not heard:  # no engine is here, or none had an end: the plan and the run say so with more
        return
    able = {size for size in calls if any(said[size] == "" for said in heard.values())}
    declared = [size for size in calls if size <= 2 or fixed_batch(artifact.inputs)]
    if not able:
        raise _on_no_engine(artifact, {name: said[declared[0]] for name, said in heard.items()})
    lacking = [size for size in declared if size not in able]
    if lacking:
        raise _batch_inside(artifact, able, lacking, heard)


def _ask(
    artifact: Artifact, calls: Mapping[int, Mapping[str, Any]], backends: Sequence[str]
) -> dict[str, dict[int, str]]:
    """Return by engine and size what it said: "" for an answer, or the error. Who was silent is left out."""
    heard = {}
    with tempfile.TemporaryDirectory() as folder:
        for size, call in calls.items():
            np.savez(Path(folder) / f"{size}.npz", **{str(k): array for k, array in enumerate(call.values())})
        request = {
            "model": str(artifact.path),
            "names": list(next(iter(calls.values()))),
            "sizes": list(calls),
            "folder": folder,
            "rows": _rows(artifact),
        }
        asked = {
            name: subprocess.Popen(
                [sys.executable, "-m", ASKED, name, json.dumps(request)],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            for name in backends
        }
        for name, child in asked.items():
            said = _said(child)
            if said is not None:
                heard[name] = {size: said[str(size)] for size in calls}
    return heard


def _rows(artifact: Artifact) -> list[tuple[int, int]]:
    """Return where outputs have one row an example: position and axis, as their dimensions' names tell.

    An engine may answer two samples where the graph makes four of them, with rows that nobody asked for.
    """
    names = {
        spec.axes[spec.batch_axis]
        for spec in artifact.inputs
        if spec.batch_axis is not None and spec.axes and spec.axes[spec.batch_axis]
    }
    return [
        (position, axis)
        for position, spec in enumerate(artifact.outputs)
        for axis, name in enumerate(spec.axes)
        if name in names
    ]


def _said(child: subprocess.Popen[str]) -> dict[str, str] | None:
    try:
        out, _ = child.communicate(timeout=TIME_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        return None
    lines = out.strip().splitlines()
    try:
        found = json.loads(lines[-1]) if lines else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _on_no_engine(artifact: Artifact, said: Mapping[str, str]) -> DoesNotFit:
    import onnx

    model = onnx.load(artifact.path or "", load_external_data=False)
    own = {function.domain for function in model.functions}
    for node in model.graph.node:
        foreign = node.domain not in STANDARD and node.domain not in own
        if foreign and all(node.op_type in words for words in said.values()):
            return DoesNotFit(
                f"{artifact.path} has the operator {node.op_type} of the domain {node.domain!r} (node "
                f"{node.name or node.output[0]!r}), which no engine here has ({', '.join(said)})",
                fix="export the network with standard operators in its place, or without that part",
            )
    reasons = "; ".join(f"{name}: {reason_of(words)}" for name, words in said.items())
    return DoesNotFit(
        f"no engine here runs {artifact.path}: {reasons}",
        fix="export it with operators or an operator set that one of them has, or install another engine",
    )


def _batch_inside(
    artifact: Artifact, able: set[int], lacking: Sequence[int], heard: Mapping[str, Mapping[int, str]]
) -> DoesNotFit:
    only, node = min(able), ""
    told = [words for said in heard.values() for words in said.values()]
    for name, sizes in _reshapes(artifact):
        if sizes and sizes[0] in able and any(name in words for words in told):
            node, only = f": the Reshape {name!r} writes {sizes}", sizes[0]
    spec = next(spec for spec in artifact.inputs if spec.batch_axis is not None)
    number = [one.name for one in artifact.inputs].index(spec.name)
    return DoesNotFit(
        f"{artifact.path} declares the batch of {spec.name!r} free and fixes it to {only} inside{node}; "
        f"asked for {' and for '.join(map(str, lacking))}, no engine answers",
        fix="export it with a free batch (dynamic_shapes), or say in the file what holds: "
        f"m = onnx.load('{artifact.path}'); m.graph.input[{number}].type.tensor_type.shape"
        f".dim[{spec.batch_axis}].dim_value = {only}; onnx.save(m, 'fixed.onnx')",
    )
