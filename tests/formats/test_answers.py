"""Every output of every example, wherever a network has its examples: by hand-made engines."""

from types import SimpleNamespace

import numpy as np
import pytest

from qbench.cases import Float
from qbench.formats.answers import WrongOutputs, answers, ask
from qbench.formats.artifact import Artifact, TensorSpec


def session_of(network):
    """Return a session whose calls are this function of named arrays, and note what it was asked."""
    asked = []

    def run(inputs):
        asked.append({name: array.shape for name, array in inputs.items()})
        return network(**inputs)

    return SimpleNamespace(run=run, asked=asked)


def of(inputs, outputs, carried=()):
    return Artifact("onnx", Float(), tuple(inputs), tuple(outputs), carried=carried)


def output(name, shape, axis=0, *, told=False):
    return TensorSpec(name, "float32", shape, axis, ("",) * len(shape), batch_told=told)


X = TensorSpec("x", "float32", (None, 3))
SAMPLES = np.arange(15, dtype=np.float32).reshape(5, 3)


def test_outputs_of_several_calls_come_back_one_behind_the_other():
    session = session_of(lambda x: (x * 2, x.sum(axis=1)))
    artifact = of([X], [output("y", (None, 3), told=True), output("s", (None,), told=True)])
    twice, sums = ask(session.run, artifact, {"x": SAMPLES}, 2)
    np.testing.assert_array_equal(twice, SAMPLES * 2)
    np.testing.assert_array_equal(sums, SAMPLES.sum(axis=1))
    assert [call["x"][0] for call in session.asked] == [2, 2, 1]


def test_a_time_major_network_gets_and_gives_its_batch_second():
    session = session_of(lambda x: (x + 1,))
    artifact = of([TensorSpec("x", "float32", (4, None, 2), 1)], [output("y", (4, None, 2), 1, told=True)])
    samples = np.random.default_rng(0).normal(size=(5, 4, 2)).astype(np.float32)
    (found,) = ask(session.run, artifact, {"x": samples}, 2)
    assert session.asked[0]["x"] == (4, 2, 2)
    np.testing.assert_array_equal(found, samples + 1)


def test_an_output_whose_batch_the_file_does_not_show_is_found_by_one_example_and_two():
    session = session_of(lambda x: (x.T, np.ones(4), np.sum(x)))
    artifact = of([X], [output("t", (3, None)), output("constant", (4,)), output("all", ())])
    turned, constant, whole = ask(session.run, artifact, {"x": SAMPLES}, 3)
    np.testing.assert_array_equal(turned, SAMPLES)
    np.testing.assert_array_equal(constant, np.ones((5, 4)))
    np.testing.assert_array_equal(whole, SAMPLES.sum(axis=1))  # of one example each, never of a batch's sum


def test_outputs_of_variable_length_are_a_list_of_one_array_an_example():
    session = session_of(lambda x: (x[x > 4],))
    (found,) = ask(session.run, of([X], [output("chosen", (None,))]), {"x": SAMPLES}, 4)
    assert [part.tolist() for part in found] == [[], [5], [6, 7, 8], [9, 10, 11], [12, 13, 14]]


def test_two_examples_that_look_like_a_batch_by_chance_are_found_out_later():
    # one and two detections for the first two examples, then another number
    session = session_of(lambda x: (np.repeat(x, np.where(x[:, 0] > 5, 2, 1), axis=0),))
    (found,) = ask(session.run, of([X], [output("boxes", (None, 3))]), {"x": SAMPLES}, 5)
    assert [len(part) for part in found] == [1, 1, 2, 2, 2]


def test_a_fixed_batch_is_filled_up_with_the_last_example():
    session = session_of(lambda x: (x * 2,))
    artifact = of([TensorSpec("x", "float32", (4, 3))], [output("y", (4, 3))])
    (found,) = ask(session.run, artifact, {"x": SAMPLES}, 50)
    assert [call["x"] for call in session.asked] == [(4, 3), (4, 3)]
    np.testing.assert_array_equal(found, SAMPLES * 2)


def test_a_constant_is_given_without_a_batch_and_where_it_differs_calls_are_of_one():
    session = session_of(lambda x, rate: (x * rate,))
    artifact = of([X, TensorSpec("rate", "int64", (), None)], [output("y", (None, 3), told=True)])
    same = {"x": SAMPLES, "rate": np.broadcast_to(np.int64(3), 5)}
    np.testing.assert_array_equal(ask(session.run, artifact, same, 5)[0], SAMPLES * 3)
    assert session.asked == [{"x": (5, 3), "rate": ()}]
    differs = {"x": SAMPLES, "rate": np.arange(5)}
    np.testing.assert_array_equal(ask(session.run, artifact, differs, 5)[0], SAMPLES * np.arange(5)[:, None])


def recurrent(x, state):
    state = state * 0.5 + x
    return state.sum(axis=1), state


def test_state_is_carried_from_call_to_call_and_errors_add_up():
    specs = [X, TensorSpec("state", "float32", (None, 3))]
    outs = [output("y", (None,), told=True), output("new_state", (None, 3), told=True)]
    artifact = of(specs, outs, (("state", "new_state"),))
    examples = {"x": SAMPLES, "state": np.full((5, 3), 7, np.float32)}  # what the float source had
    told, states = answers(session_of(recurrent).run, artifact, examples, 50)
    state, wanted = np.full(3, 7.0), []
    for row in SAMPLES:
        state = state * 0.5 + row
        wanted.append(state.sum())
    np.testing.assert_allclose(told, wanted)
    np.testing.assert_allclose(states[-1], state)
    (alone, _) = ask(session_of(recurrent).run, artifact, examples, 50)
    assert not np.allclose(alone, wanted)  # there, each example brings its own state


def test_an_engine_that_gives_another_number_of_rows_or_outputs_is_refused():
    plain = Artifact("onnx", Float(), (X,), (TensorSpec("y", "float32", (None, 3)),))
    with pytest.raises(WrongOutputs, match=r"shape \(4, 3\) for 5 examples"):
        ask(session_of(lambda x: (x[1:],)).run, plain, {"x": SAMPLES}, 50)
    with pytest.raises(WrongOutputs, match="gave 2 outputs, and the file has 1: y"):
        ask(session_of(lambda x: (x, x)).run, plain, {"x": SAMPLES}, 50)
