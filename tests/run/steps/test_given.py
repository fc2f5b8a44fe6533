"""What a strategy is given: rows that are loaded when they are asked for, and a judge of its choice."""

import numpy as np
import pytest

from qbench.cases import Choice, DataSpec, Float, Hop, key
from qbench.errors import BadFile
from qbench.formats.artifact import Artifact, TensorSpec
from qbench.run.steps.given import given, too_few
from qbench.tasks.base import TASKS, Examples, fetch, store

IMAGES = Choice("image_classification", (("dataset", "digits"),))


def artifact(batch=None):
    return Artifact("onnx", Float(), (TensorSpec("pixel_values", "float32", (batch, 3, 32, 32)),), ())


def stored(spec):
    made = TASKS[spec.task.name](**dict(spec.task.params))
    examples = made.examples(spec)
    store(examples)
    return {key(spec): examples.data_id}, examples


def hop(**data):
    return Hop("technique", Choice("qat"), "onnx", Float(), "", **data)


@pytest.fixture
def training():
    return DataSpec(IMAGES, "train", 20)


@pytest.fixture
def selection():
    return DataSpec(IMAGES, "selection", 10)


def test_a_hop_is_given_what_it_names_and_nothing_else(training, selection):
    calibration = DataSpec(IMAGES, "calibration", 7)
    ids = stored(training)[0] | stored(selection)[0] | stored(calibration)[0]
    assert given(hop(), artifact(), {}).inputs == {}
    found = given(hop(calibration=calibration), artifact(), ids)
    assert (len(found.inputs["pixel_values"]), found.training, found.selection) == (7, None, None)
    found = given(hop(calibration=calibration, training=training, selection=selection), artifact(), ids)
    assert (found.data_id, found.training.data_id, found.selection.data_id) == (
        ids[key(calibration)], ids[key(training)], ids[key(selection)]
    )  # fmt: skip
    assert len({found.data_id, found.training.data_id, found.selection.data_id}) == 3


@pytest.mark.parametrize(("count", "words"), [
    (1, "1 example, and all ranges rest on it; 256 are usual"),
    (15, "15 examples, and all ranges rest on them; 256 are usual"),
    (16, None),
])  # fmt: skip
def test_calibration_on_few_examples_is_a_warning_that_says_how_many(count, words):
    calibration = DataSpec(IMAGES, "calibration", count)
    notes = too_few(hop(calibration=calibration), stored(calibration)[0])
    assert [note.what for note in notes] == ["calibration of qat"] * (words is not None)
    assert all(note.warns and note.found.startswith(words) for note in notes)


def test_what_is_not_calibrated_warns_of_nothing(training):
    assert too_few(hop(), {}) == too_few(hop(training=training), stored(training)[0]) == ()


def test_training_takes_the_rows_asked_for_and_varies_them(training):
    ids, examples = stored(training)
    found = given(hop(training=training), artifact(), ids).training
    assert found.count == 20
    np.testing.assert_array_equal(found.labels, examples.labels)
    rows = np.array([3, 11])
    first, again, other = (
        found.take(rows, np.random.default_rng(seed))["pixel_values"] for seed in (0, 0, 1)
    )
    assert first.shape == (2, 3, 32, 32)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_training_rows_are_read_from_disk_when_they_are_asked_for(training, monkeypatch):
    ids, examples = stored(training)
    read = []

    class Watched(np.ndarray):
        def __getitem__(self, item):
            read.append(np.atleast_1d(item).tolist())
            return np.asarray(super().__getitem__(item))

    def watched(data_id):
        found = fetch(data_id)
        assert all(isinstance(array, np.memmap) for array in found.raw.values())
        return Examples(data_id, {name: a.view(Watched) for name, a in found.raw.items()}, found.labels)

    monkeypatch.setattr("qbench.run.steps.given.fetch", watched)
    found = given(hop(training=training), artifact(), ids).training
    assert read == []
    found.take(np.array([4, 2]), np.random.default_rng(0))
    assert read == [[4, 2]]


def test_a_network_of_a_fixed_batch_learns_from_one_whole_batch_at_least(training):
    ids, examples = stored(training)
    found = given(hop(training=training), artifact(32), ids).training
    assert found.count == len(found.labels) == 32
    same = np.random.default_rng
    late, early = (found.take(np.array(rows), same(0))["pixel_values"] for rows in ([20, 31], [0, 11]))
    np.testing.assert_array_equal(late, early)
    np.testing.assert_array_equal(found.labels[20:], examples.labels[:12])
    assert given(hop(training=training), artifact(8), ids).training.count == 20


@pytest.mark.parametrize("batch", [None, 4])
def test_the_selection_judges_outputs_by_its_labels(batch, selection):
    ids, examples = stored(selection)
    found = given(hop(selection=selection), artifact(batch), ids).selection
    assert len(found.inputs["pixel_values"]) == (12 if batch else 10)  # the last one fills up the last batch
    assert found.count == 10
    scores = np.eye(10, dtype="f4")[np.resize(examples.labels, 12)][: len(found.inputs["pixel_values"])]
    assert found.right(scores).all()
    assert len(found.right(scores)) == 10
    scores[3] = scores[3][::-1]  # class 9 for class 0: always another
    scores[7] = np.nan
    assert np.flatnonzero(~found.right(scores)).tolist() == [3, 7]


def test_without_labels_nothing_is_right_or_wrong(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).standard_normal((40, 3)).astype("f4"))
    task = Choice("agreement", (("inputs", str(tmp_path / "x.npz")),))
    spec = DataSpec(task, "calibration", 5)
    ids, examples = stored(spec)
    found = given(hop(selection=spec, training=spec), artifact(), ids)
    assert found.selection.right is None
    assert found.training.labels is None
    taken = found.training.take(np.array([1, 4]), np.random.default_rng(0))["x"]
    np.testing.assert_array_equal(taken, examples.raw["x"][[1, 4]])  # what is unknown cannot be varied


def test_who_chooses_reads_outputs_as_the_user_says(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros((40, 3), "f4"))
    said = (("inputs", str(tmp_path / "x.npz")), ("output_kinds", "y=sigmoid, z=boxes"))
    spec = DataSpec(Choice("agreement", said), "calibration", 5)
    ids, _ = stored(spec)
    found = given(hop(selection=spec), artifact(), ids)
    assert found.selection.kinds == {"y": "sigmoid", "z": "boxes"}


def test_examples_that_are_not_there_are_named(training):
    with pytest.raises(BadFile, match="no-such-id cannot be read"):
        given(hop(training=training), artifact(), {key(training): "no-such-id"})
