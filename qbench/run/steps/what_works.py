"""An engine answers wrongly: is there a way to ask it that makes it right? Only what was seen is advised."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from qbench.backends.base import BACKENDS, Placement, Session
from qbench.formats.artifact import Artifact, TensorSpec
from qbench.formats.calls import Span, by_example, call_of
from qbench.formats.reference import Kept, Told
from qbench.formats.signature import fixed_batch
from qbench.run.steps.session import Opened

Near = Callable[[list[np.ndarray], list[np.ndarray]], bool]  # found and wanted: do they meet?
REPORT = "report it to the engine's makers"


def advice(opened: Opened, kept: Kept, near: Near, what: str) -> str:
    """Return what to do about an engine that is wrong: leave it out, or what made it right here.

    Its makers hear of it only where two that share no code agree against it: one may be wrong itself.
    """
    instead = next((name for name in _named(kept.told) if name != opened.case.deployment.backend), "")
    leave = f"leave this engine out for this {what} (--backend{' ' * bool(instead)}{instead})"
    works = next(_seen_right(opened, kept, near), None)
    if works:
        leave += f", or {works}: so asked, it was right here"
    return f"{leave}{';' if works else ', and'} {REPORT}" if kept.told.confirmed else leave


def _named(told: Told) -> list[str]:
    return [title for title in told.agreed if title in BACKENDS]


def _seen_right(opened: Opened, kept: Kept, near: Near) -> Iterator[str]:
    fixed = fixed_batch(opened.artifact.inputs)
    sizes: list[tuple[int | None, str]] = [(1, "export the network with its batch fixed at 1")]
    if fixed:
        sizes = [(None, "export the network with a free batch"), *(sizes if fixed > 1 else [])]
    for size, words in sizes:
        with _opened_again(opened, size) as (session, artifact):
            if session is not None and _meets(session, artifact, kept, near, size):
                yield words


def _meets(session: Session, artifact: Artifact, kept: Kept, near: Near, size: int | None) -> bool:
    count = max(stop for _, stop in kept.spans)
    spans: list[Span] = [(0, count)] if size is None else [(row, row + 1) for row in range(count)]
    try:
        said = [session.run(call_of(artifact.inputs, kept.inputs, span)) for span in spans]
    except Exception:  # the engine's own kinds: so it does not work
        return False
    pairs = zip(by_example(artifact.outputs, spans, said), kept.by_example(artifact.outputs), strict=True)
    both = [(found, wanted) for found, wanted in pairs if found is not None and wanted is not None]
    return bool(both) and near([found for found, _ in both], [wanted for _, wanted in both])


@contextmanager
def _opened_again(opened: Opened, size: int | None) -> Iterator[tuple[Session | None, Artifact]]:
    """Open the same network with another batch in its file; None where that cannot be done."""
    placed, artifact = opened.case.deployment, opened.artifact
    with tempfile.TemporaryDirectory() as home:
        session = None
        if artifact.format == "onnx" and artifact.path is not None:
            artifact = replace(
                artifact,
                path=Path(home) / "model.onnx",
                inputs=tuple(_sized(spec, size) for spec in artifact.inputs),
            )
            try:
                _write(opened.artifact, artifact, size)
                placement = Placement(placed.device, placed.threads, placed.streams, placed.options)
                session = BACKENDS[placed.backend]().load(artifact, placement)
            except Exception:  # the file's library's and the engine's own kinds: so it does not work
                session = None
        yield session, artifact


def _sized(spec: TensorSpec, size: int | None) -> TensorSpec:
    axis = spec.batch_axis
    if axis is None or axis >= len(spec.shape):
        return spec
    return replace(spec, shape=(*spec.shape[:axis], size, *spec.shape[axis + 1 :]))


def _write(before: Artifact, after: Artifact, size: int | None) -> None:
    import onnx

    model = onnx.load(before.path or "")
    specs = {spec.name: spec for spec in (*before.inputs, *before.outputs)}
    del model.graph.value_info[:]  # of another batch
    for value in (*model.graph.input, *model.graph.output):
        axis = specs[value.name].batch_axis if value.name in specs else None
        dims = value.type.tensor_type.shape.dim
        if axis is None or axis >= len(dims):
            continue
        if size is None:
            dims[axis].dim_param = "batch"
        else:
            dims[axis].dim_value = size
    onnx.save(model, after.path or "")
