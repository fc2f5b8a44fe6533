"""What a strategy is given of data: calibration examples, examples to learn from, examples to choose by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qbench.cases import DataSpec, Hop, key
from qbench.formats.artifact import Artifact, Note, TensorSpec
from qbench.formats.signature import at_most, fed, fixed_batch, taken
from qbench.records import Measurement
from qbench.run.choose import task_of
from qbench.strategies.base import Calibration, Selection, Training
from qbench.tasks.base import Examples, Task, fetch

FEW = 16  # below so many calibration examples the largest and smallest values seen are those of a lucky draw


def given(hop: Hop, artifact: Artifact, data_ids: dict[str, str]) -> Calibration:
    """Return the examples that this hop names, as inputs of the artifact's network.

    Raises:
        BadFile: stored examples are not there or torn.
    """
    specs = artifact.inputs
    fixed = fixed_batch(specs)
    found = Calibration("", {}, fixed, specs=specs)
    if hop.calibration:
        task, examples = _of(hop.calibration, data_ids)
        found = replace(found, data_id=examples.data_id, inputs=_inputs(task, examples, fixed))
        found = replace(found, fixed_batch=fixed or _one_a_call(specs, found.inputs))
    if hop.training:
        task, examples = _of(hop.training, data_ids)
        found = replace(found, training=_training(task, examples, specs))
    if hop.selection:
        task, examples = _of(hop.selection, data_ids)
        found = replace(found, selection=_selection(task, examples, specs))
    return found


def too_few(hop: Hop, data_ids: dict[str, str]) -> tuple[Note, ...]:
    """Return a warning where this hop's calibration examples are fewer than FEW: how many, and what to do.

    Counted before the last one fills up a fixed batch.
    """
    count = len(_of(hop.calibration, data_ids)[1]) if hop.calibration else FEW
    if count >= FEW:
        return ()
    rest = "example, and all ranges rest on it" if count == 1 else "examples, and all ranges rest on them"
    found = (
        f"{count} {rest}; 256 are usual: with `qbench try` give four times as many samples, "
        "in a suite write [calibration] count = 256"
    )
    return (Note(f"calibration of {hop.use.name}", found, warns=True),)


def _of(spec: DataSpec, data_ids: dict[str, str]) -> tuple[Task, Examples]:
    return task_of(spec.task), fetch(data_ids[key(spec)])


def _inputs(task: Task, examples: Examples, fixed: int | None) -> dict[str, np.ndarray]:
    """Return all examples as inputs; for a network of a fixed batch the last one fills up the last batch."""
    inputs = task.prepare({name: array[:] for name, array in examples.raw.items()})
    if not fixed:
        return inputs
    rows = np.minimum(np.arange(-(-len(examples) // fixed) * fixed), len(examples) - 1)
    return {name: taken(array, rows) for name, array in inputs.items()}


def _one_a_call(specs: tuple[TensorSpec, ...], inputs: dict[str, np.ndarray]) -> int | None:
    """Return 1 where a call takes one example only: an input without a batch axis differs between them."""
    return 1 if at_most(specs, inputs, 2) == 1 else None


def _training(task: Task, examples: Examples, specs: tuple[TensorSpec, ...]) -> Training:
    """Return examples to take by rows; for a network of a fixed batch there is one batch at least."""
    whole = len(examples)

    def take(rows: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        chosen = {name: taken(array, rows % whole) for name, array in examples.raw.items()}
        return fed(specs, task.prepare(task.vary(chosen, rng)))

    count = max(whole, fixed_batch(specs) or 0)
    labels = None if examples.labels is None else examples.labels[np.arange(count) % whole]
    return Training(examples.data_id, count, take, labels)


def _selection(task: Task, examples: Examples, specs: tuple[TensorSpec, ...]) -> Selection:
    def right(outputs: np.ndarray) -> np.ndarray:
        """Judge the outputs of the first so many examples in order, or of all and what fills up a batch."""
        outputs = outputs[: len(examples)]
        found = _correct(task, outputs, _first(examples, len(outputs)))
        assert found is not None
        return np.array(found.samples, bool)

    judged, inputs = examples.labels is not None, _inputs(task, examples, fixed_batch(specs))
    filled = len(next(iter(inputs.values()))) - len(examples)
    return Selection(examples.data_id, inputs, right if judged else None, filled, specs, task.kinds())


def _first(examples: Examples, count: int) -> Examples:
    labels = None if examples.labels is None else examples.labels[:count]
    return replace(examples, raw={name: array[:count] for name, array in examples.raw.items()}, labels=labels)


def _correct(task: Task, outputs: np.ndarray, examples: Examples) -> Measurement | None:
    measured, _ = task.score(outputs, examples)
    return next((found for found in measured if found.metric == "correct"), None)
