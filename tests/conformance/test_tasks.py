"""What every task promises, present or future: parametrized over the registry."""

from dataclasses import fields

import numpy as np
import pytest

from qbench.cases import Choice, DataSpec
from qbench.data.base import DATASETS
from qbench.errors import BadFile, QbenchError
from qbench.tasks.base import TASKS, Examples, batch_of, fetch, folder_of, store

# Parameters for a task that has no usable default, or a slow one.
PARAMS = {
    "agreement": lambda folder: {"inputs": str(samples(folder))},
    "image_classification": lambda _: DIGITS,
}
DIGITS = {"dataset": "digits"}


def samples(folder):
    rng = np.random.default_rng(0)
    np.savez(
        folder / "samples.npz", **{"x/0:0": rng.standard_normal((40, 3)).astype("f4"), "ids": np.arange(40)}
    )
    return folder / "samples.npz"


@pytest.fixture(params=list(TASKS))
def task(request, tmp_path):
    return TASKS[request.param](**PARAMS.get(request.param, lambda _: {})(tmp_path))


def spec_of(task, split, count, seed=None):
    name = TASKS.name_of(type(task))
    params = tuple((field.name, getattr(task, field.name)) for field in fields(task))
    return DataSpec(Choice(name, params), split, count, seed, task.recipe())


def rows(examples):
    arrays = list(examples.raw.values())
    return [
        b"".join(np.ascontiguousarray(array[n]).tobytes() for array in arrays) for n in range(len(examples))
    ]


def test_sizes_and_recipe_render_nothing(task, monkeypatch):
    for name in DATASETS:
        monkeypatch.setattr(DATASETS[name], "render", None)
    sizes = task.sizes()
    assert sizes["calibration"] > 0
    assert sizes["test"] > 0
    assert len(task.recipe()) == 16
    assert task.recipe() == task.recipe()


def test_calibration_and_test_share_no_example(task):
    sizes = task.sizes()
    calibration = rows(task.examples(spec_of(task, "calibration", sizes["calibration"])))
    test = rows(task.examples(spec_of(task, "test", sizes["test"])))
    assert len(calibration) == sizes["calibration"]
    assert len(test) == sizes["test"]
    assert not set(calibration) & set(test)


def test_a_seed_draws_others_and_the_same_seed_the_same(task):
    first, again, other = (task.examples(spec_of(task, "calibration", 5, seed)) for seed in (1, 1, 2))
    assert first.data_id == again.data_id != other.data_id
    assert rows(first) == rows(again) != rows(other)
    assert len(set(rows(first))) == 5


def test_more_than_there_are_is_refused(task):
    with pytest.raises(QbenchError, match="fix: ask for 1 to"):
        task.examples(spec_of(task, "test", 10**6))


def test_examples_are_stored_and_fetched_whole(task):
    examples = task.examples(spec_of(task, "test", 8))
    store(examples)
    found = fetch(examples.data_id)
    assert rows(found) == rows(examples)
    assert list(found.raw) == list(examples.raw)
    assert (found.labels is None) == (examples.labels is None)
    store(examples)  # again: what is there stays
    assert len(fetch(examples.data_id)) == 8


def test_prepared_inputs_are_contiguous_and_batch_first(task):
    examples = task.examples(spec_of(task, "test", 8))
    for array in task.prepare(examples.raw).values():
        assert array.flags.c_contiguous
        assert len(array) == 8
    assert all(len(array) == 2 for array in batch_of(task, examples, 6, 5).values())
    whole = batch_of(task, examples, 6, 5, whole=True)
    last = batch_of(task, examples, 7, 1)
    assert all((array[1:] == last[name]).all() and len(array) == 5 for name, array in whole.items())


def test_an_answer_that_is_no_number_is_wrong_and_is_no_class(task):
    examples = task.examples(spec_of(task, "test", 3))
    outputs = np.eye(10, dtype="f4")[[4, 5, 6]]
    outputs[1, 0], outputs[2, 9] = np.nan, np.inf
    measurements, withheld = task.score(outputs, examples)
    found = {m.metric: m.samples for m in measurements}
    assert not set(found) & {w.metric for w in withheld}
    if "prediction" not in found:  # a task that asks nothing says why of both
        assert {w.metric for w in withheld if w.reason} == {"correct", "prediction"}
        assert task.chance(examples) is None
        return
    assert found["prediction"] == (4, -1, -1)
    if examples.labels is None:
        assert {w.metric for w in withheld} == {"correct"}
        assert task.chance(examples) is None
    else:
        assert found["correct"] == (int(examples.labels[0] == 4), 0, 0)
        assert 0 < task.chance(examples) <= 1


@pytest.mark.parametrize("torn", ["examples.json", "raw-0.npy"])
@pytest.mark.parametrize("left", [b"", b"null", b"[]", b"\x93NUMPY\x01"])
def test_torn_examples_are_named_with_a_way_out(torn, left):
    examples = Examples(f"torn-{torn}-{left.hex()}", {"x": np.zeros((2, 2))}, None)
    store(examples)
    (folder_of(examples.data_id) / torn).write_bytes(left)
    with pytest.raises(BadFile, match="delete that folder"):
        fetch(examples.data_id)


def test_examples_that_are_read_stay_whole_while_they_are_stored_again():
    examples = Examples("stored twice at once", {"x": np.arange(10_000)}, None)
    folder = store(examples)
    mapped = fetch(examples.data_id)
    (folder / "examples.json").unlink()  # as if the other process had not finished yet
    store(examples)
    assert (mapped.raw["x"] == np.arange(10_000)).all()
    assert not [path for path in folder.iterdir() if path.suffix not in (".npy", ".json")]
