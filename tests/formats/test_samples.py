"""From the arrays of an .npz file to the examples' form: layouts, constants, states, types."""

import numpy as np
import pytest

from qbench.errors import BadFile
from qbench.formats.artifact import TensorSpec
from qbench.formats.samples import fitted, read_npz
from qbench.formats.signature import fed, one_value


def spec(name, shape, axis=0, dtype="float32", axes=()):
    return TensorSpec(name, dtype, shape, axis, axes)


def some(*shape, dtype="float32"):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


TIME_MAJOR = spec("x", (20, None, 8), 1, axes=("", "batch", ""))


def test_the_networks_own_layout_is_taken_along_its_batch_axis():
    x = some(20, 256, 8)
    found = fitted({"x": x}, [TIME_MAJOR])
    assert found.count == 256
    np.testing.assert_array_equal(found.arrays["x"][7], x[:, 7])
    np.testing.assert_array_equal(fed([TIME_MAJOR], found.arrays)["x"], x)
    assert found.said == ("x: float32 20 x batch x 8; examples along axis 1, 256 of them",)


def test_samples_first_are_taken_where_that_fits_and_it_is_said():
    found = fitted({"x": some(256, 20, 8)}, [TIME_MAJOR])
    np.testing.assert_array_equal(found.arrays["x"], some(256, 20, 8))
    assert found.said[0].endswith("256 of them; the samples came along the first axis")


def test_where_both_layouts_fit_the_networks_own_is_taken_unless_it_holds_too_few():
    free = spec("x", (None, None, 8), 1, axes=("time", "batch", ""))
    assert fitted({"x": some(256, 20, 8)}, [free]).count == 20
    assert fitted({"x": some(256, 5, 8)}, [free]).count == 256  # five are too few to be the samples


def test_other_inputs_decide_between_two_layouts():
    free = spec("x", (None, None, 8), 1)
    found = fitted({"x": some(20, 30, 8), "y": some(20, 4)}, [free, spec("y", (None, 4))])
    assert found.count == 20


def test_samples_may_have_an_axis_of_their_own_in_front_of_a_batch_of_one():
    found = fitted({"x": some(30, 1, 16)}, [spec("x", (1, 16))])
    assert (found.count, found.arrays["x"].shape) == (30, (30, 16))


def test_free_lengths_are_those_of_the_samples_and_said():
    found = fitted({"mel": some(9, 40, 50)}, [spec("mel", (None, 40, None), axes=("batch", "", "time"))])
    assert found.inputs[0].one == (1, 40, 50)
    assert found.said[0].endswith("free sizes as in the samples: time = 50")


@pytest.mark.parametrize("given", [np.int64(16000), np.full(9, 16000), np.array([16000])])
def test_a_scalar_is_given_once_or_for_each_example(given):
    found = fitted({"x": some(9, 4), "sr": given}, [spec("x", (None, 4)), spec("sr", (), None, "int64")])
    assert found.arrays["sr"].shape == (9,)
    assert one_value(found.arrays["sr"])
    assert found.said[1] == "sr: int64 scalar, the same for all samples: 16000"


def test_a_scalar_that_differs_is_one_a_call():
    found = fitted(
        {"x": some(9, 4), "sr": np.arange(9)}, [spec("x", (None, 4)), spec("sr", (), None, "int64")]
    )
    np.testing.assert_array_equal(found.arrays["sr"], np.arange(9))
    assert "a call takes one" in found.said[1]


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (some(9, 2, dtype="float64") / 3, "float32"),
        (some(9, 2, dtype="float64"), "int64"),
        (some(9, 2, dtype="uint8"), "float32"),
        (some(9, 2, dtype="int64") % 2, "bool"),
        (some(9, 2, dtype="int64") % 2 == 1, "int32"),
    ],
)
def test_a_type_that_loses_nothing_is_converted(array, dtype):
    found = fitted({"x": array}, [spec("x", (None, 2), dtype=dtype)])
    assert found.arrays["x"].dtype == dtype
    np.testing.assert_allclose(found.arrays["x"].astype("f8"), array.astype("f8"), rtol=2**-24)
    assert f"converted from {array.dtype}" in found.said[0]


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (np.full((9, 2), 1e300), "float32"),
        (np.full((9, 2), 0.5), "int64"),
        (np.full((9, 2), 2**40), "int32"),
        (np.full((9, 2), 2), "bool"),
        (np.full((9, 2), 2**24 + 1), "float32"),
        (np.full((9, 2), "text"), "float32"),
    ],
)
def test_a_type_that_would_lose_something_is_refused(array, dtype):
    with pytest.raises(BadFile, match=f"x is {array.dtype}, and the network takes {dtype}"):
        fitted({"x": array}, [spec("x", (None, 2), dtype=dtype)])


STATE = spec("state", (2, None, 3), 1)
CARRIED = (("state", "stateN"),)


def test_a_state_starts_at_zero_and_needs_no_array():
    found = fitted({"x": some(9, 4)}, [spec("x", (None, 4)), STATE], CARRIED)
    assert found.arrays["state"].shape == (9, 2, 3)
    assert not found.arrays["state"].any()
    assert (
        "carried from call to call, its next value is the output stateN; it starts at zero" in found.said[1]
    )
    assert found.said[2] == "the 9 samples are consecutive calls of one stream, in order"


def test_a_states_first_value_may_be_given():
    first = some(2, 1, 3) + 1
    found = fitted({"x": some(9, 4), "state": first}, [spec("x", (None, 4)), STATE], CARRIED)
    np.testing.assert_array_equal(found.arrays["state"][0], first[:, 0])
    assert "it starts at the first value given" in found.said[1]


def test_a_state_in_a_fixed_batch_of_several_is_refused():
    with pytest.raises(BadFile, match="takes 4 streams at once"):
        fitted({"x": some(9, 4)}, [spec("x", (4, 4)), spec("state", (4, 3))], CARRIED)


def test_a_state_of_unknown_length_must_be_given():
    with pytest.raises(BadFile, match=r"how long its free axes are\n  fix: give its first value"):
        fitted({"x": some(9, 4)}, [spec("x", (None, 4)), spec("state", (None, None))], CARRIED)


PLAIN = [spec("x", (None, 4)), spec("rate", (), None, "int64")]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": some(9, 4)}, r"no array for the input rate; it holds x\n(.|\n)*one value for all samples"),
        ({"x": some(9, 4), "rate": 1, "y": 2}, r"an array y, and the network has no such (.|\n)*x \(float32"),
        ({"x": some(9, 5), "rate": 1}, r"x is float32 9 x 5, and the network takes float32 N x 4\n.*N x 4"),
        ({"x": some(9), "rate": 1}, "x is float32 9, and"),
        ({"x": some(9, 4), "rate": some(9, 2, dtype="int64")}, "rate is int64 9 x 2, and .* int64 scalar"),
        ({"x": some(3, 4), "rate": 1}, r"holds 3 samples\n  fix: give at least 8"),
        ({"x": some(9, 4), "rate": some(8, dtype="int64")}, "differ in length: x 9, rate 8"),
        ({"x": np.where(some(9, 4) == 6, np.nan, 1), "rate": 1}, r"NaN .* 1 of 36 .* the first at \(1, 2\)"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_with_the_way_out(arrays, words):
    with pytest.raises(BadFile, match=words):
        fitted({name: np.asarray(array) for name, array in arrays.items()}, PLAIN)


def test_too_few_along_the_networks_batch_axis_are_told_to_lie_there():
    with pytest.raises(BadFile, match="holds 5 samples along axis 1 of x, where the network has its batch"):
        fitted({"x": some(20, 5, 8)}, [TIME_MAJOR])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is no .npz file: No data left in file"),
        (b"x,y\n1,2\n", "begins with the bytes"),
        (b"some text", "begins with the text 'some tex'"),
        (b"PK\x03\x04 torn", "is no .npz file"),
        (b"\x08\x07\x12\x07pytorch", "begins with the bytes 08 07"),
    ],
)
def test_what_is_no_npz_file_is_named(tmp_path, content, words):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(BadFile, match=words):
        read_npz(str(tmp_path / "x.npz"))


def test_a_folder_and_a_missing_file_are_no_samples(tmp_path):
    with pytest.raises(BadFile, match="is a folder"):
        read_npz(str(tmp_path))
    with pytest.raises(BadFile, match="No such file"):
        read_npz(str(tmp_path / "none.npz"))
