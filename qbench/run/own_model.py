"""`qbench try`: the suite `try.toml` with the user's own file and inputs in it."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qbench.errors import BadFile
from qbench.formats import samples
from qbench.formats.onnx_file import checked
from qbench.formats.samples import Samples, read_npz
from qbench.formats.state import Pairs, paired, told, written
from qbench.models.file import SUFFIX, OnnxFile, sizes_of
from qbench.quality.compare import read_kinds, refuse_unknown
from qbench.run.pool import fitted, usual_profile
from qbench.suite import Suite, SuiteModel
from qbench.suite_file import load_suite

EXPORT = "export your model with torch.onnx.export(..., 'model.onnx')"
SAMPLES = (".npz", ".npy")
MACS_PER_S = 3e10  # of 32-bit float on two cores of a server's processor, a network's layers fused


@dataclass(frozen=True, slots=True)
class OwnModel:
    """The suite of a user's own model, and what was understood of its inputs, a line each."""

    suite: Suite
    said: tuple[str, ...]


def own_suite(model: str, inputs: Path, state: Sequence[str] = (), kinds: Sequence[str] = ()) -> OwnModel:
    """Return the suite, its model and inputs checked before anything is planned. No engine is imported.

    `state` has what is carried from call to call, each `INPUT=OUTPUT`, beside what names and shapes show.
    `kinds` has how outputs are read, each `NAME=KIND`, where it is not as their values show.

    Raises:
        BadFile: the model is no ONNX file, the inputs are no .npz file, or they do not belong together.
        BadParameter: `state` names no input and output of one shape, or `kinds` no output or no kind.
    """
    _in_order(model, inputs)
    found, carried = _understood(Path(model), inputs, state)
    task: dict[str, Any] = {"use": "agreement", "inputs": str(inputs), "model": model}
    if carried:
        task["state"] = written(carried)
    if kinds:
        task["output_kinds"] = ", ".join(kinds)
        refuse_unknown(read_kinds(kinds), [spec.name for spec in checked(Path(model))[1]])
    suite = load_suite("try")
    stem = re.sub(r"[^A-Za-z0-9_]+", "-", Path(model).stem).strip("-")
    own = SuiteModel(model, task, state=written(carried), sizes=sizes_of(found.inputs))
    return OwnModel(replace(suite, name=f"{suite.name}-{stem}", model=[own]), found.said)


def for_network(suite: Suite, model: str, named: Collection[str]) -> tuple[Suite, list[str], str]:
    """Return the suite with the techniques that are for this network, why, and the profile for its size.

    `named` techniques are kept whatever the rules say.
    """
    from qbench.quant.network_facts import facts_of

    (own,) = suite.model
    sizes = {spec.name: spec.one for spec in OnnxFile(model, sizes=own.sizes).load().inputs if spec.one}
    network = facts_of(Path(model), sizes)
    suite, told = fitted(suite, network, named)
    return replace(suite, call_s=(network.macs or 0) / MACS_PER_S), told, usual_profile(network)


def _in_order(model: str, inputs: Path) -> None:
    """Refuse what cannot be a model by its name; the two given the other way round are told so.

    Raises:
        BadFile: so it is.
    """
    if str(inputs).endswith(SUFFIX):
        swapped = f"qbench try {inputs} --inputs {model}" if model.endswith(SAMPLES) else None
        raise BadFile(
            f"--inputs {inputs} is a model, not samples",
            fix=f"write `{swapped}`: the model first"
            if swapped
            else "give an .npz file: numpy.savez('samples.npz', INPUT_NAME=array)",
        )
    if model.endswith(SAMPLES):
        raise BadFile(
            f"{model} holds samples and is no .onnx file", fix="name the model first, then --inputs"
        )
    if Path(model).is_dir():
        raise BadFile(f"{model} is a folder", fix="name the .onnx file in it")
    if not model.endswith(SUFFIX):
        raise BadFile(f"{model} is no .onnx file", fix=EXPORT)


def _understood(model: Path, npz: Path, state: Sequence[str]) -> tuple[Samples, Pairs]:
    """Return the samples as the network takes them, and which inputs are carried from call to call.

    Pairs are found by names and shapes for those inputs that have no value for each sample.
    """
    inputs, outputs = checked(model)
    arrays = read_npz(str(npz))
    source = f"--inputs {npz}"
    said = told(inputs, outputs, state)
    named = {name for pair in said for name in pair}
    found = [pair for pair in paired(inputs, outputs, ()) if not named & set(pair)]
    kept = [(into, out) for into, out in found if into not in arrays or _once(arrays, into, inputs)]
    carried = (*said, *kept) if len(said) + len(kept) < len(inputs) else said
    found_samples = samples.fitted(arrays, inputs, carried, source=source)
    return _different(found_samples, source, stream=bool(carried)), carried


def _different(found: Samples, source: str, *, stream: bool) -> Samples:
    """Return the samples, with a line of warning where many are copies; a stream may repeat a call.

    Raises:
        BadFile: so few differ that nothing could be told.
    """
    unlike = found.count if stream else samples.distinct(found)
    if unlike < samples.FEWEST:
        raise BadFile(
            f"{source} holds {found.count} samples, of which {unlike} differ from the others",
            fix=f"give at least {samples.FEWEST} different ones; 200 or more make differences visible",
        )
    if unlike == found.count:
        return found
    copies = (
        f"only {unlike} of the {found.count} samples are different: copies prove nothing more, and intervals"
    )
    return replace(found, said=(*found.said, f"{copies} that count them are too narrow"))


def _once(arrays: dict[str, Any], name: str, inputs: Sequence[Any]) -> bool:
    """Tell whether an array has one value of an input, and no more: a state's first."""
    spec = next(spec for spec in inputs if spec.name == name)
    array, axis = arrays[name], spec.batch_axis
    if array.ndim != len(spec.shape):
        return bool(array.ndim == len(spec.shape) + 1 and len(array) == 1)
    return axis is None or array.shape[axis] == 1
