"""Make examples once and keep them under their id, so that every other step reads the same bytes."""

from __future__ import annotations

from qbench.cases import DataSpec
from qbench.records import Evidence, Measured
from qbench.run.choose import task_of
from qbench.run.protocol import StepRequest, Trace
from qbench.tasks.base import store


def make_data(request: StepRequest, trace: Trace) -> Measured:
    """Render or load the examples and store them."""
    spec = request.step.subject
    assert isinstance(spec, DataSpec)
    trace.stage = "data"
    examples = task_of(spec.task).examples(spec)
    store(examples)
    evidence = (Evidence("data id", examples.data_id), Evidence("examples", str(len(examples))))
    return Measured((), evidence=evidence)
