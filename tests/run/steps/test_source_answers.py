"""What a user's file answers: asked on the user's samples, kept with who says so, held against engines."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qbench.cases import Choice, DataSpec, Float, Hop, key
from qbench.formats.artifact import Artifact, TensorSpec
from qbench.formats.edges import onnx_signature
from qbench.formats.reference import NAME, Alone, Kept, Told, keep_simulated, read_reference, write_kept
from qbench.referee.asking import Answer, Silent
from qbench.referee.consensus import agreed
from qbench.referee.hearing import Heard
from qbench.referee.parting import Operator
from qbench.referee.voices.evaluator import Evaluator
from qbench.referee.voices.onnxruntime import Optimized, Plain
from qbench.referee.voices.openvino import OpenVino
from qbench.referee.voices.torch import Torch
from qbench.run.protocol import Trace
from qbench.run.steps import check as check_step
from qbench.run.steps import source_answers
from qbench.run.steps.asked import _is_open
from qbench.run.steps.check import WrongOutputs
from qbench.run.steps.source_answers import WHAT, keep_source_answers
from qbench.tasks.base import Examples, store

X = np.random.default_rng(0).uniform(5, 6, (8, 3)).astype("f4")  # like no noise and no zeros
RIGHT = np.arange(16, dtype="f4").reshape(8, 2)
SPECS = (TensorSpec("x", "float32", (None, 3)),), (TensorSpec("y", "float32", (None, 2)),)


@pytest.fixture
def artifact(tmp_path):
    """Return a file with two outputs, one of them whole numbers."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"], "product"),
        helper.make_node("ArgMax", ["y"], ["label"], axis=1, keepdims=0),
    ]
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2]),
        helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
    ]
    weight = numpy_helper.from_array(np.arange(6, dtype="f4").reshape(3, 2), "w")
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [weight])
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return Artifact("onnx", Float(), *onnx_signature(path), path)


@pytest.fixture
def asked(artifact, monkeypatch, tmp_path):
    """Return a function that keeps the source's answers, and what it returned and kept."""
    monkeypatch.setenv("QBENCH_CACHE", str(tmp_path / "cache"))
    examples = Examples("the-samples", {"x": X}, None)
    store(examples)
    spec = DataSpec(Choice("agreement"), "calibration", len(X))
    hop = Hop("source", Choice(str(artifact.path)), "onnx", Float(), "s", checked=spec)

    def ask(heard=None):
        if heard is not None:
            monkeypatch.setattr(source_answers, "hear", lambda *_: heard)
        notes = keep_source_answers(artifact, hop, tmp_path, {key(spec): examples.data_id})
        return notes, read_reference(tmp_path)

    return ask


def test_real_readers_are_asked_about_the_samples_and_every_output_is_kept(asked):
    notes, kept = asked()
    np.testing.assert_array_equal(kept.inputs["x"], X)
    assert kept.spans == ((0, 1), (0, 8))
    wanted = X @ np.arange(6, dtype="f4").reshape(3, 2)
    np.testing.assert_allclose(kept.outputs[1][0], wanted, rtol=1e-5)
    np.testing.assert_array_equal(kept.outputs[1][1], wanted.argmax(1))
    assert str(kept.told) == "onnxruntime, onnxruntime without optimizations and openvino"
    assert notes[0].what == WHAT
    assert "agree on 8 of your samples" in notes[0].found
    assert not any(note.warns for note in notes)


def said(voice, shift=0.0):
    return Answer(voice, ((RIGHT[:1] + np.float32(shift),), (RIGHT + np.float32(shift),)))


def test_the_odd_one_is_told_with_its_operator_and_no_warning(asked):
    found = agreed([said(Optimized), said(Torch), said(OpenVino, 3)], ["y"])
    (odd,) = found.odd(["y"])
    notes, kept = asked(Heard(found, (), ((odd, Operator("product", "MatMul")),)))
    assert kept.told.alone == (
        Alone("openvino", "openvino", "by 0.21 of the range of output 'y'", "MatMul at node 'product'"),
    )
    assert notes[1].what == "alone: openvino"
    assert "first in MatMul at node 'product'" in notes[1].found
    assert kept.told.makers == ("onnxruntime", "torch")
    assert not any(note.warns for note in notes)


def test_two_of_one_maker_make_nobody_wrong_and_a_caution_says_who_says_what(asked):
    """They share their code, and a fault of it: what two of different makers agree on is the answer."""
    shifts = {OpenVino: 3, Torch: 6, Evaluator: 9}
    answers = [said(Optimized), said(Plain), *(said(voice, shift) for voice, shift in shifts.items())]
    found = agreed(answers, ["y"])
    assert (found.speaker, found.odd(["y"])) == (None, ())
    apart = tuple((odd, Operator("product", "MatMul")) for odd in found.apart(["y"]))
    notes, kept = asked(Heard(found, (), apart))
    assert kept.outputs is None
    assert kept.told.alone == ()
    (caution,) = notes
    assert caution.warns
    assert caution.found == kept.told.why_none
    assert "onnxruntime and onnxruntime without optimizations agree, and share their code" in caution.found
    for words in ("openvino differs from them by 0.21", "torch, by qbench's own reader differs from them by"):
        assert words in caution.found
    assert "first in MatMul at node 'product'" in caution.found
    assert "wrong" not in caution.found


def test_where_only_one_maker_answers_its_answers_are_kept_and_so_is_that(asked):
    found = agreed([said(Optimized), said(Plain)], ["y"])
    notes, kept = asked(Heard(found, (Silent(OpenVino, "it is not here"),), ()))
    np.testing.assert_array_equal(kept.outputs[1][0], RIGHT)
    assert (kept.told.makers, kept.told.one_maker) == (("onnxruntime",), "onnxruntime")
    assert "no other reader answered" in notes[0].found


@pytest.mark.parametrize(
    ("answers", "silent", "words"),
    [
        ([said(Optimized), said(OpenVino, 3)], (), "no two of onnxruntime and openvino say the same"),
        ([said(Optimized)], (Silent(OpenVino, "it is not here"),), "only onnxruntime answered"),
        ([], (Silent(OpenVino, "it is not here"),), r"no reader of this file answered \(openvino: it is not"),
    ],
)
def test_where_nobody_is_believed_a_caution_says_why_and_the_samples_stay(answers, silent, words, asked):
    notes, kept = asked(Heard(agreed(answers, ["y"]), silent, ()))
    assert kept.outputs is None
    np.testing.assert_array_equal(kept.inputs["x"], X)  # for the check of simulated integers
    (warning,) = [note for note in notes if note.warns]
    assert warning.what == WHAT
    assert re.search(words, warning.found)


def test_a_quantized_file_is_simulated_on_the_same_samples(artifact, tmp_path):
    from qbench.formats.reference import read_simulated
    from qbench.strategies.base import STRATEGIES, Calibration

    folder = tmp_path / "quantized"
    folder.mkdir()
    write_kept(folder / NAME, Kept({"x": X}, ((0, 1), (0, 8)), None, Told(why_none="nobody")))
    product = STRATEGIES["static_int8"]().apply(
        artifact, Calibration("c", {"x": X}, specs=artifact.inputs), folder
    )
    assert keep_simulated(product, folder) is None
    kept = read_simulated(folder)
    np.testing.assert_array_equal(kept.inputs["x"], X)
    assert [len(call) for call in kept.outputs] == [2, 2]  # every output


# --- an engine beside it ----------------------------------------------------------------------------


def opened(run, backend="openvino", chain=()):
    placed = SimpleNamespace(
        backend=backend, artifact=SimpleNamespace(chain=chain), computes=Float(), device="cpu", threads=1,
        streams=1, options=(),
    )  # fmt: skip
    artifact = Artifact("other", Float(), *SPECS)
    session = SimpleNamespace(run=run)
    return SimpleNamespace(
        case=SimpleNamespace(deployment=placed), artifact=artifact, session=session, examples=range(20)
    )


@pytest.fixture
def against(monkeypatch):
    """Return a function: compare an engine with answers that so many readers agree on."""
    alone = (Alone("openvino", "openvino", "by 0.2", "MatMul at node 'product'"),)
    told = Told(("onnxruntime", "onnx's reference evaluator"), alone, makers=("onnxruntime", "onnx"))
    kept = Kept({"x": X}, ((0, 1), (0, 8)), ((RIGHT[:1],), (RIGHT,)), told)
    monkeypatch.setattr(check_step, "read_reference", lambda _: kept)
    monkeypatch.setattr(check_step.cache, "folder_of", lambda _: None)
    return lambda engine: check_step._with_source(engine)


def rows(call):
    return np.array([np.flatnonzero((row == X).all(axis=1))[0] for row in call["x"]])


def test_an_engine_that_meets_them_is_measured(against):
    assert against(opened(lambda call: (RIGHT[rows(call)],))).samples[0] == 0


def test_an_engine_that_does_not_fails_and_the_sentence_names_everybody(against):
    with pytest.raises(WrongOutputs) as found:
        against(opened(lambda call: (RIGHT[rows(call)] + 3,)))
    assert found.value.problem == (
        "openvino differs from onnxruntime and onnx's reference evaluator by 0.2 of the range of output 'y', "
        "in the same 32-bit float (limit 0.001), asked about 8 of your samples; onnxruntime and onnx's "
        "reference evaluator agree; it parts from them first in MatMul at node 'product'"
    )
    assert found.value.fix.startswith("leave this engine out for this network (--backend onnxruntime)")
    assert found.value.fix.endswith("and report it to the engine's makers")


@pytest.mark.parametrize("wrong_from", [2, 9])
def test_an_engine_that_is_right_for_one_and_wrong_for_many_is_caught(wrong_from, against):
    with pytest.raises(WrongOutputs, match="openvino differs"):
        against(opened(lambda call: (RIGHT[rows(call)] + 3 * (len(call["x"]) >= wrong_from),)))


def test_a_technique_may_differ_and_says_by_how_much(against):
    engine = opened(lambda call: (RIGHT[rows(call)] + 3,), chain=(Choice("some"),))
    assert against(engine).samples[0] == pytest.approx(0.2)


# --- where only one maker's readers answered ----------------------------------------------------------


@pytest.fixture
def against_one_maker(monkeypatch):
    """Return a function: check an engine against what the two readers of one maker say."""
    told = Told(("onnxruntime", "onnxruntime without optimizations"), makers=("onnxruntime",))
    kept = Kept({"x": X}, ((0, 1), (0, 8)), ((RIGHT[:1],), (RIGHT,)), told)
    monkeypatch.setattr(check_step, "read_reference", lambda _: kept)
    monkeypatch.setattr(check_step.cache, "folder_of", lambda _: None)
    return lambda engine: check_step.check(engine, Trace())


def test_an_engine_of_another_maker_is_not_called_wrong_and_a_caution_says_why(against_one_maker):
    found = against_one_maker(opened(lambda call: (RIGHT[rows(call)] + 3,)))
    (caution,) = found.verdicts
    assert caution.kind == "caution"
    assert "only onnxruntime's readers answered, so which of the two is wrong is not known" in caution.text
    assert [(one.metric, one.reason) for one in found.withheld] == [("reference_error", caution.text)]
    assert found.no_speed == ""


def test_an_engine_that_contradicts_its_own_makers_readers_fails_and_no_report_is_advised(against_one_maker):
    with pytest.raises(WrongOutputs, match="and only onnxruntime's readers answered") as found:
        against_one_maker(opened(lambda call: (RIGHT[rows(call)] + 3,), "onnxruntime"))
    assert found.value.fix == "leave this engine out for this network (--backend)"


def test_an_engine_that_meets_them_is_measured_all_the_same(against_one_maker):
    assert against_one_maker(opened(lambda call: (RIGHT[rows(call)],))) == check_step.Checked()


# --- outputs whose length the network chooses -----------------------------------------------------------

OPEN = TensorSpec("y", "float32", (None, 2), axes=("found", ""), batch_axis=None)


def of_length(length, chain=()):
    engine = opened(lambda call: (RIGHT[: length(len(call["x"]))],), chain=chain)
    engine.artifact = replace(engine.artifact, outputs=(OPEN,))
    return engine


def test_a_float_engine_that_finds_fewer_is_wrong(against):
    with pytest.raises(WrongOutputs, match="in the shape of output 'y', 5x2 and not 8x2"):
        against(of_length(lambda rows: min(rows, 5)))


def test_a_float_engine_that_finds_fewer_in_a_crowd_only_is_wrong(against):
    engine = opened(lambda call: (RIGHT[rows(call)][: min(len(call["x"]), 10)],))
    with pytest.raises(WrongOutputs, match="in the shape of output 'y', 10x2 and not 20x2"):
        against(engine)


def test_a_technique_that_finds_fewer_has_no_distance_and_the_reason_is_true(against):
    found = against(of_length(lambda rows: min(rows, 5), chain=(Choice("some"),)))
    assert (found.metric, found.reason) == (
        "reference_error",
        "output 'y' has shape (5, 2) here, and (8, 2) in the source's answers: its length is the network's "
        "choice",
    )


@pytest.mark.parametrize(("spec", "found", "wanted", "is_open"), [
    (OPEN, (1, 2), (3, 2), True),
    (OPEN, (3, 1), (3, 2), False),  # the file fixes it
    (OPEN, (3, 2, 1), (3, 2), False),  # another number of axes
    (TensorSpec("y", "float32", (None, 2), 0), (1, 2), (3, 2), False),  # the examples' own axis
    (TensorSpec("y", "float32", (None, 2), 0, batch_told=False), (1, 2), (3, 2), True),  # a guess of it
    (TensorSpec("y", "float32", (None, None), 0), (3, 5), (3, 2), True),
    (TensorSpec("y", "float32", (None, None), 0), (2, 5), (3, 2), False),
])  # fmt: skip
def test_a_length_is_open_where_the_file_leaves_it_to_the_network(spec, found, wanted, is_open):
    assert _is_open(spec, found, wanted) == is_open
