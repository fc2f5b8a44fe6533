import numpy as np
import pytest

from qbench.errors import BadFile
from qbench.formats.artifact import TensorSpec
from qbench.formats.reference import (
    NAME,
    Alone,
    Kept,
    Told,
    pass_on_reference,
    read_reference,
    reference_inputs,
    relative_error,
    write_kept,
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
    specs = (
        TensorSpec("a/b:0", "float32", (None, 3)),
        TensorSpec("ids", "int64", (5, None, 2), 1, one=(5, 1, 2)),
    )
    specs += (TensorSpec("rate", "float32", (), None),)
    first, again = reference_inputs(specs), reference_inputs(specs)
    assert [(array.dtype.name, array.shape) for array in first.values()] == [
        ("float32", (8, 3)),
        ("int64", (8, 5, 2)),
        ("float32", (8,)),
    ]
    assert len(set(first["rate"])) == 1  # one value for all
    fixed = reference_inputs((TensorSpec("x", "float32", (4, 3)),))
    assert fixed["x"].shape == (4, 3)
    assert all((first[name] == again[name]).all() for name in first)


def test_answers_are_kept_passed_on_and_read(tmp_path):
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    after.mkdir()
    inputs = {"a/b:0": np.ones((2, 3)), "outputs": np.zeros(2), "file": np.ones(2)}
    outputs = ((WANTED[:1], np.array([3])), (WANTED, np.array([3, 4])))
    told = Told(("one", "two"), (Alone("three", "maker", "by 0.5", "MatMul at node 'm'"),), makers=("a", "b"))
    write_kept(before / NAME, Kept(inputs, ((0, 1), (0, 2)), outputs, told))
    pass_on_reference(before, after)
    kept = read_reference(after)
    assert list(kept.inputs) == ["a/b:0", "outputs", "file"]
    assert kept.spans == ((0, 1), (0, 2))
    assert kept.told == told
    assert kept.told.confirmed
    assert str(kept.told) == "one and two"
    for call, wanted in zip(kept.outputs, outputs, strict=True):
        for array, right in zip(call, wanted, strict=True):
            np.testing.assert_array_equal(array, right)
    specs = TensorSpec("y", "float32", (None, 2)), TensorSpec("label", "int64", (None,))
    first, second = kept.by_example(specs)  # of the call that has them all
    np.testing.assert_array_equal(first, WANTED)
    assert second.tolist() == [3, 4]


def test_where_nobody_is_believed_the_inputs_are_kept_and_the_reason(tmp_path):
    write_kept(tmp_path / NAME, Kept({"x": WANTED}, ((0, 2),), None, Told(why_none="two against two")))
    kept = read_reference(tmp_path)
    assert kept.outputs is None
    assert kept.told.why_none == "two against two"
    np.testing.assert_array_equal(kept.inputs["x"], WANTED)


def test_a_source_that_could_not_be_asked_left_nothing(tmp_path):
    assert read_reference(tmp_path) is None


@pytest.mark.parametrize("keep", [0, 10, 200])
def test_a_torn_file_is_named(tmp_path, keep):
    write_kept(tmp_path / NAME, Kept({"x": np.ones((2, 3))}, ((0, 2),), ((WANTED,),)))
    (tmp_path / NAME).write_bytes((tmp_path / NAME).read_bytes()[:keep])
    with pytest.raises(BadFile, match="delete that folder"):
        read_reference(tmp_path)
