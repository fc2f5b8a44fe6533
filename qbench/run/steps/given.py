"""What a strategy is given of data: calibration examples, examples to learn from, examples to choose by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qbench.cases import DataSpec, Hop, key
from qbench.formats.artifact import Artifact
from qbench.records import Measurement
from qbench.run.choose import task_of
from qbench.strategies.base import Calibration, Selection, Training
from qbench.tasks.base import Examples, Task, fetch


def given(hop: Hop, artifact: Artifact, data_ids: dict[str, str]) -> Calibration:
    """Return the examples that this hop names, as inputs of the artifact's network.

    Raises:
        BadFile: stored examples are not there or torn.
    """
    fixed = artifact.inputs[0].shape[0] if artifact.inputs else None
    found = Calibration("", {}, fixed)
    if hop.calibration:
        task, examples = _of(hop.calibration, data_ids)
        found = Calibration(examples.data_id, _inputs(task, examples, fixed), fixed)
    if hop.training:
        task, examples = _of(hop.training, data_ids)
        found = replace(found, training=_training(task, examples, fixed))
    if hop.selection:
        task, examples = _of(hop.selection, data_ids)
        found = replace(found, selection=_selection(task, examples, fixed))
    return found


def _of(spec: DataSpec, data_ids: dict[str, str]) -> tuple[Task, Examples]:
    return task_of(spec.task), fetch(data_ids[key(spec)])


def _inputs(task: Task, examples: Examples, fixed: int | None) -> dict[str, np.ndarray]:
    """Return all examples as inputs; for a network of a fixed batch the last one fills up the last batch."""
    inputs = task.prepare({name: array[:] for name, array in examples.raw.items()})
    if not fixed:
        return inputs
    rows = np.minimum(np.arange(-(-len(examples) // fixed) * fixed), len(examples) - 1)
    return {name: array[rows] for name, array in inputs.items()}


def _training(task: Task, examples: Examples, fixed: int | None) -> Training:
    """Return examples to take by rows; for a network of a fixed batch there is one batch at least."""
    whole = len(examples)

    def take(rows: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        chosen = {name: array[rows % whole] for name, array in examples.raw.items()}
        return task.prepare(task.vary(chosen, rng))

    count = max(whole, fixed or 0)
    labels = None if examples.labels is None else examples.labels[np.arange(count) % whole]
    return Training(examples.data_id, count, take, labels)


def _selection(task: Task, examples: Examples, fixed: int | None) -> Selection:
    def right(outputs: np.ndarray) -> np.ndarray:
        """Judge the outputs of all examples in order, and of what filled up the last batch."""
        found = _correct(task, outputs[: len(examples)], examples)
        assert found is not None
        return np.array(found.samples, bool)

    judged = examples.labels is not None
    inputs = _inputs(task, examples, fixed)
    return Selection(examples.data_id, inputs, right if judged else None, len(examples))


def _correct(task: Task, outputs: np.ndarray, examples: Examples) -> Measurement | None:
    measured, _ = task.score(outputs, examples)
    return next((found for found in measured if found.metric == "correct"), None)
