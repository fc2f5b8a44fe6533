import numpy as np
import pytest

from qbench.errors import BadFile
from qbench.formats.artifact import TensorSpec
from qbench.formats.reference import (
    NAME,
    pass_on_reference,
    read_reference,
    reference_inputs,
    relative_error,
    write_reference,
)

WANTED = np.array([[0.0, 4.0], [2.0, -4.0]], np.float32)  # a range of 8


@pytest.mark.parametrize(
    ("outputs", "error"),
    [
        (WANTED, 0),
        (WANTED + np.float32(2), 0.25),
        (WANTED[:1], np.inf),
        (WANTED.ravel(), np.inf),
        (np.where(WANTED == 4, np.nan, WANTED), np.inf),
        (np.where(WANTED == 4, np.inf, WANTED), np.inf),
    ],
)
def test_the_error_is_a_share_of_the_range(outputs, error):
    assert relative_error(outputs, WANTED) == error


def test_a_source_that_answers_with_nan_is_met_by_nobody():
    assert relative_error(WANTED, np.full_like(WANTED, np.nan)) == np.inf


def test_no_answers_are_no_agreement():
    assert relative_error(WANTED[:0], WANTED[:0]) == np.inf


def test_constant_answers_have_no_range_and_are_compared_as_they_are():
    assert relative_error(np.full(3, 1.5), np.ones(3)) == 0.5


def test_inputs_are_the_same_every_time_and_of_the_declared_kind():
    specs = (TensorSpec("a/b:0", "float32", (None, 3)), TensorSpec("ids", "int64", (4, 2)))
    first, again = reference_inputs(specs), reference_inputs(specs)
    assert [(array.dtype.name, array.shape) for array in first.values()] == [
        ("float32", (8, 3)),
        ("int64", (4, 2)),
    ]
    assert all((first[name] == again[name]).all() for name in first)


def test_answers_are_kept_passed_on_and_read(tmp_path):
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    after.mkdir()
    write_reference(before, {"a/b:0": np.ones((2, 3)), "outputs": np.zeros(2)}, WANTED)
    pass_on_reference(before, after)
    inputs, outputs = read_reference(after)
    assert list(inputs) == ["a/b:0", "outputs"]
    np.testing.assert_array_equal(outputs, WANTED)


def test_a_source_that_could_not_be_asked_left_nothing(tmp_path):
    assert read_reference(tmp_path) is None


@pytest.mark.parametrize("keep", [0, 10, 200])
def test_a_torn_file_is_named(tmp_path, keep):
    write_reference(tmp_path, {"x": np.ones((2, 3))}, WANTED)
    (tmp_path / NAME).write_bytes((tmp_path / NAME).read_bytes()[:keep])
    with pytest.raises(BadFile, match="delete that folder"):
        read_reference(tmp_path)
