"""Which output is which input's next value: by names and shapes, or said."""

import pytest

from qbench.errors import BadParameter
from qbench.formats.artifact import TensorSpec
from qbench.formats.state import paired, read, told, written


def specs(*names, shape=(2, None, 128)):
    return tuple(TensorSpec(name, "float32", shape, 1) for name in names)


X = TensorSpec("x", "float32", (None, 512))


@pytest.mark.parametrize(
    ("into", "out"),
    [
        ("state", "stateN"),  # silero_vad
        ("state", "new_state"),
        ("state", "state_out"),
        ("state_in", "state_out"),
        ("h", "hn"),
        ("c", "cn"),
        ("h0", "hn"),
        ("h_0", "h_n"),
        ("prev_hidden", "next_hidden"),
        ("rnn1_in", "rnn1_out"),
    ],
)
def test_names_that_are_one_state(into, out):
    assert paired((X, *specs(into)), specs("y", out), ()) == ((into, out),)


@pytest.mark.parametrize(
    ("inputs", "outputs", "given"),
    [
        ((X, *specs("state")), specs("stateN", shape=(2, None, 64)), ()),  # another shape
        ((X, *specs("state")), specs("stateN", "new_state"), ()),  # two could be meant
        ((X, *specs("sample")), specs("out_sample"), ("sample",)),  # given for every example: no state
        (specs("x"), specs("x_out"), ()),  # nothing would be left to give
        ((X, *specs("state")), specs("state"), ()),  # a graph cannot name both alike
        ((X, *specs("h")), specs("logits", "cn"), ()),
    ],
)
def test_what_is_no_state(inputs, outputs, given):
    assert paired(inputs, outputs, given) == ()


def test_pairs_can_be_said_and_are_written_and_read_back():
    pairs = told((X, *specs("a")), specs("b"), ["a=b"])
    assert pairs == (("a", "b"),)
    assert read(written((*pairs, ("h", "hn")))) == ("a=b", "h=hn")


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("a", "inputs are x, a, its outputs b"),
        ("b=a", "inputs are x, a, its outputs b"),
        ("x=b", "x is float32 . x 512, and b is float32 2 x . x 128"),
    ],
)
def test_a_pair_that_cannot_be_is_refused_with_the_names(pair, words):
    with pytest.raises(BadParameter, match=words):
        told((X, *specs("a")), specs("b"), [pair])


def test_all_inputs_cannot_be_state():
    with pytest.raises(BadParameter, match="every input"):
        told(specs("a"), specs("b"), ["a=b"])
