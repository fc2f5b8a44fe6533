"""`qbench try`: the suite `try.toml` with the user's own file and inputs in it."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from qbench.errors import BadFile
from qbench.models.file import SUFFIX, OnnxFile
from qbench.run.pool import fitted
from qbench.suite import Suite, SuiteModel
from qbench.suite_file import load_suite


def own_suite(model: str, inputs: Path) -> Suite:
    """Return the suite, its model and inputs checked before anything is planned.

    Raises:
        BadFile: the model is no ONNX file, the inputs are no .npz file, or they do not belong together.
    """
    if not model.endswith(SUFFIX):
        raise BadFile(
            f"{model} is no .onnx file", fix="export your model with torch.onnx.export(..., 'model.onnx')"
        )
    OnnxFile(model).content()  # a missing file is told as such, not as a broken one
    _check_together(OnnxFile(model), inputs)
    task = {"use": "agreement", "inputs": str(inputs)}
    suite = load_suite("try")
    stem = re.sub(r"[^A-Za-z0-9_]+", "-", Path(model).stem).strip("-")
    return replace(suite, name=f"{suite.name}-{stem}", model=[SuiteModel(model, task)])


def for_network(suite: Suite, model: str, named: Collection[str]) -> tuple[Suite, list[str]]:
    """Return the suite with the techniques that are for this network, and why each rule said so; see pool.

    `named` techniques are kept whatever the rules say.
    """
    from qbench.quant.network_facts import facts_of

    return fitted(suite, facts_of(Path(model)), named)


def _check_together(model: OnnxFile, inputs: Path) -> None:
    """Compare names, types and shapes of the model's inputs with the arrays."""
    from qbench.tasks.agreement import Agreement

    arrays = Agreement(str(inputs)).arrays()
    for spec in model.load().inputs:
        wanted = "x".join("N" if size is None else str(size) for size in spec.shape)
        if spec.name not in arrays:
            raise BadFile(
                f"{model.path} has an input {spec.name!r}; {inputs} holds {', '.join(sorted(arrays))}",
                fix=f"numpy.savez('{inputs.name}', {spec.name}=array) with {spec.dtype} of shape {wanted}",
            )
        given = arrays[spec.name]
        same = len(given.shape) == len(spec.shape) and all(
            size in (None, there) for size, there in zip(spec.shape[1:], given.shape[1:], strict=True)
        )
        if not same or given.dtype.name != spec.dtype:
            found = "x".join(map(str, given.shape))
            raise BadFile(
                f"{inputs}: {spec.name} is {given.dtype} of shape {found}; "
                f"{model.path} takes {spec.dtype} {wanted}",
                fix=f"save {spec.dtype} samples of shape {'x'.join(['N', *wanted.split('x')[1:]])}, N being "
                "their number: 200 or more, whatever batch the network takes",
            )
