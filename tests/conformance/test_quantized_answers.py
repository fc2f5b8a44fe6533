"""An engine may be wrong although the file is right: its answers are held to the file's own.

The wrong engine here is a real one: openvino 2026.4.1 on x86, on two kinds of files.
"""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from qbench.backends.base import BACKENDS, Placement
from qbench.backends.onnxruntime import OnnxRuntimeSession
from qbench.cases import ArtifactSpec, Case, Choice, DataSpec, Deployment, Float, Hop, Scenario, Step, key
from qbench.formats import cache
from qbench.formats.answers import WrongOutputs
from qbench.formats.artifact import Artifact, Note, TensorSpec, files, load, save
from qbench.formats.reference import NAME as REFERENCE
from qbench.formats.reference import (
    NO_SIMULATION,
    SIMULATED,
    Kept,
    keep_simulated,
    read_simulated,
    relative_error,
    write_kept,
)
from qbench.records import Failed, find
from qbench.run.perform import perform
from qbench.run.protocol import StepRequest, Trace
from qbench.run.steps.check_integers import SIMULATED_LIMIT, limits_of
from qbench.run.steps.prepare import _simulate
from qbench.run.steps.score import score
from qbench.strategies.base import STRATEGIES, Calibration, Selection, Training
from qbench.tasks.base import Examples, store

WIDTH = 64
ROWS = np.random.default_rng(1).standard_normal((16, WIDTH)).astype("f4")


def chain(folder, batch, *, relu=False, use="static_int8", **parameters):
    """Return three matrix products in a row, without biases, as a static file of integers for this batch."""
    rng, nodes, stored = np.random.default_rng(0), [], []
    for number in range(3):
        weight = (rng.standard_normal((WIDTH, WIDTH)) / np.sqrt(WIDTH)).astype("f4")
        stored.append(numpy_helper.from_array(weight, f"w{number}"))
        made = [f"p{number + 1}"] if relu else [f"x{number + 1}"]
        nodes.append(helper.make_node("MatMul", [f"x{number}", f"w{number}"], made))
        if relu:
            nodes.append(helper.make_node("Relu", made, [f"x{number + 1}"]))
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [batch or "n", WIDTH])
        for name in ("x0", "x3")
    ]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], stored)
    (folder / "float").mkdir(parents=True)
    path = folder / "float" / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9), path)
    inputs, outputs = (
        (TensorSpec("x0", "float32", (batch, WIDTH)),),
        (TensorSpec("x3", "float32", (batch, WIDTH)),),
    )
    source = Artifact("onnx", Float(), inputs, outputs, path)
    (folder / "quantized").mkdir()
    training = Training("rows", len(ROWS), lambda rows, _: {"x0": ROWS[rows]})
    data = Calibration("rows", {"x0": ROWS}, batch, training, Selection("rows", {"x0": ROWS}))
    return STRATEGIES[use](**parameters).apply(source, data, folder / "quantized")


def deployed(artifact, backend, *, simulated=True):
    """Put the file into the cache as `prepare` does; return the request that scores it."""
    state = str(artifact.path)  # a key of its own
    hops = (
        Hop("source", Choice("a chain of products"), "onnx", Float(), state),
        Hop("technique", Choice("static_int8"), "onnx", artifact.state, ""),
    )
    spec = ArtifactSpec(hops[0].use, hops)
    if not cache.holds(spec):
        making = cache.workspace(spec)
        artifact.path.rename(making / "model.onnx")
        moved = Artifact("onnx", artifact.state, artifact.inputs, artifact.outputs, making / "model.onnx")
        notes = _simulate(moved, making, None) if simulated else ()
        save(
            Artifact("onnx", artifact.state, artifact.inputs, artifact.outputs, moved.path, notes=notes),
            making,
            spec,
        )
        cache.publish(making, spec)
    store(Examples("rows-of-the-tests", {"x0": ROWS}, None))
    evaluation = DataSpec(Choice("agreement"), "test", len(ROWS))
    case = Case(
        "t", "static_int8", "technique", Deployment(spec, backend, "cpu", 1, ""), evaluation, Scenario()
    )
    return StepRequest(Step("score", case), ((key(evaluation), "rows-of-the-tests"),))


def kept_in(request):
    return cache.folder_of(request.step.subject.deployment.artifact)


# --- the real faults ------------------------------------------------------------------------------


@pytest.mark.parametrize(("batch", "parameters"), [
    (1, {}),  # with one thread, as here; right with two
    (8, {}),  # with any
    (8, {"scheme": "s8s8"}),
    (None, {"activation_bits": 16, "relu": True}),  # right with signed activations
])  # fmt: skip
def test_an_engine_that_answers_wrongly_fails_and_says_by_how_much(tmp_path, batch, parameters):
    request = deployed(chain(tmp_path, batch, **parameters), "openvino")
    with pytest.raises(WrongOutputs) as found:
        score(request, Trace())
    assert "openvino differs by " in found.value.problem
    assert (
        "of the outputs' range from what the same file says with its integers simulated"
        in found.value.problem
    )
    assert found.value.fix.startswith("leave this engine out for this file (--backend)")
    assert "makers" not in found.value.fix  # the simulation is one maker's: nobody else confirms it
    outcome = perform(request)
    assert isinstance(outcome, Failed)
    assert outcome.stage == "check"


@pytest.mark.parametrize("batch", [None, 1, 2, 8])
@pytest.mark.parametrize(
    "parameters", [{}, {"scheme": "s8s8"}, {"activation_bits": 16, "relu": True}], ids=str
)
def test_an_engine_that_answers_rightly_says_how_near_it_is(tmp_path, batch, parameters):
    found = score(deployed(chain(tmp_path, batch, **parameters), "onnxruntime"), Trace())
    assert find(found, "simulated_error").samples[0] < 0.02


@pytest.mark.parametrize("parameters", [{}, {"scheme": "s8s8"}, {"relu": True}], ids=str)
def test_the_other_engine_is_right_with_a_free_batch(tmp_path, parameters):
    found = score(deployed(chain(tmp_path, None, **parameters), "openvino"), Trace())
    assert find(found, "simulated_error").samples[0] < 0.02


LEARNED_OR_CHOSEN = [
    {"use": "ptq", "weight_bits": 4, "rounding": "adaround"}, {"use": "ptq", "granularity": "per_tensor"},
    {"use": "qat", "weight_bits": 4, "learned_steps": True}, {"use": "adaptive", "limit": 0.2},
    {"use": "adaptive", "limit": 0.5},
]  # fmt: skip


@pytest.mark.parametrize("batch", [None, 8])
@pytest.mark.parametrize("parameters", LEARNED_OR_CHOSEN, ids=str)
def test_integers_that_were_learned_or_chosen_are_answered_rightly(tmp_path, batch, parameters):
    found = score(deployed(chain(tmp_path, batch, **parameters), "onnxruntime"), Trace())
    assert find(found, "simulated_error").samples[0] < 0.02
    assert find(found, "low_bit_kernels").samples[0] >= 2


@pytest.mark.parametrize("parameters", [{"use": "ptq"}, {"use": "qat"}, {"use": "adaptive"}], ids=str)
def test_an_engine_that_answers_them_wrongly_fails(tmp_path, parameters):
    request = deployed(chain(tmp_path, 8, **parameters), "openvino")
    with pytest.raises(WrongOutputs, match="from what the same file says with its integers simulated"):
        score(request, Trace())


# --- the limit ------------------------------------------------------------------------------------


def changed(monkeypatch, change):
    """Let the engine give the kept answers, one number of them changed where `change` says so of the rows."""

    def give(request):
        wanted = read_simulated(kept_in(request)).outputs[-1][0]

        def run(_, inputs):
            rows = len(inputs["x0"])
            answers = wanted[np.arange(rows) % len(wanted)].copy()
            answers[-1, 5] += change(rows) * np.ptp(wanted)
            return (answers,)

        monkeypatch.setattr(OnnxRuntimeSession, "run", run)
        return request

    return give


@pytest.mark.parametrize(("share", "good"), [(0.5, True), (0.99, True), (1.01, False), (np.nan, False)])
def test_the_limit_is_a_share_of_the_outputs_range(tmp_path, monkeypatch, share, good):
    give = changed(monkeypatch, lambda rows: share * SIMULATED_LIMIT)
    request = give(deployed(chain(tmp_path, None), "onnxruntime"))
    if good:
        error = find(score(request, Trace()), "simulated_error").samples[0]
        assert error == pytest.approx(share * SIMULATED_LIMIT, rel=1e-3)
    else:
        words = "by NaN or infinity" if np.isnan(share) else r"by 0\.25 of the outputs' range"
        with pytest.raises(WrongOutputs, match=words):
            score(request, Trace())


@pytest.mark.parametrize(("loss", "good"), [(0.1, False), (0.2, True), (np.nan, False)])
def test_a_file_that_is_far_from_float_leaves_an_engine_as_far_again(tmp_path, monkeypatch, loss, good):
    request = deployed(chain(tmp_path, None), "onnxruntime")
    kept = read_simulated(kept_in(request))
    moved = [(call[0] + np.float32(loss * np.ptp(kept.outputs[-1][0])),) for call in kept.outputs]
    write_kept(kept_in(request) / REFERENCE, replace(kept, outputs=tuple(moved)))
    give = changed(monkeypatch, lambda rows: 0.35)
    if good:
        assert find(score(give(request), Trace()), "simulated_error").samples[0] == pytest.approx(
            0.35, rel=1e-3
        )
    else:
        with pytest.raises(WrongOutputs, match=r"by 0\.35 of the outputs' range .* \(limit 0\.25;"):
            score(give(request), Trace())


@pytest.mark.parametrize(("loss", "error", "what"), [
    (0.34, 0.59, "measured"), (0.34, 0.65, "no speed"), (0.34, 0.75, "wrong"), (0.6, 0.9, "no speed"),
])  # fmt: skip
def test_where_a_file_is_so_far_from_float_that_a_fault_looks_like_chance_nothing_is_timed(
    tmp_path, monkeypatch, loss, error, what
):
    request = deployed(chain(tmp_path, None), "onnxruntime")
    kept = read_simulated(kept_in(request))
    moved = [(call[0] + np.float32(loss * np.ptp(kept.outputs[-1][0])),) for call in kept.outputs]
    write_kept(kept_in(request) / REFERENCE, replace(kept, outputs=tuple(moved)))
    give = changed(monkeypatch, lambda rows: error)
    if what == "wrong":
        with pytest.raises(WrongOutputs, match=r"by 0\.75 of the outputs' range"):
            score(give(request), Trace())
        return
    found = score(give(request), Trace())
    withheld = {one.metric: one.reason for one in found.withheld}
    if what == "measured":
        assert find(found, "simulated_error").samples[0] == pytest.approx(error, rel=1e-3)
        assert "answers by chance" not in withheld.get("latency", "")
    else:
        assert f"answers by chance: {error} of the range lie between" in withheld["simulated_error"]
        assert withheld["latency"] == withheld["simulated_error"]


def test_whole_numbers_that_rounding_has_changed_accuse_no_engine():
    labels = np.arange(8)
    simulated = Kept({}, ((0, 8),), ((labels,),))
    moved = Kept({}, ((0, 8),), ((labels + 1,),))
    assert limits_of(simulated, moved, ["label"]) == {"label": np.inf}
    assert limits_of(simulated, simulated, ["label"]) == {"label": SIMULATED_LIMIT}


@pytest.mark.parametrize("wrong_from", [2, 9])
def test_an_engine_that_goes_wrong_in_the_batch_of_a_score_is_caught(tmp_path, monkeypatch, wrong_from):
    give = changed(monkeypatch, lambda rows: float(rows >= wrong_from))
    with pytest.raises(
        WrongOutputs, match="by 1 of the outputs' range"
    ):  # eight are kept, sixteen are scored
        score(give(deployed(chain(tmp_path, None), "onnxruntime")), Trace())


# --- what is kept, and where ----------------------------------------------------------------------


def test_the_files_own_answers_are_no_part_of_what_is_deployed(tmp_path):
    folder = kept_in(deployed(chain(tmp_path, None), "onnxruntime"))
    assert (folder / SIMULATED).is_file()
    assert [path.name for path in files(folder)] == ["model.onnx"]


def test_the_files_own_answers_are_those_of_its_formulas(tmp_path):
    """The standard's own evaluator, which shares no code with any engine, says the same."""
    from onnx.reference import ReferenceEvaluator

    artifact = chain(tmp_path, None)
    assert keep_simulated(artifact, tmp_path) is None
    kept = read_simulated(tmp_path)
    (outputs,) = kept.by_example(artifact.outputs)
    (wanted,) = ReferenceEvaluator(str(artifact.path)).run(None, kept.inputs)
    np.testing.assert_allclose(
        outputs, wanted, atol=0.02 * np.ptp(wanted)
    )  # a half may be rounded either way


def test_a_file_without_such_answers_says_why(tmp_path):
    request = deployed(chain(tmp_path, None), "onnxruntime", simulated=False)
    withheld = {w.metric: w.reason for w in score(request, Trace()).withheld}
    assert withheld["simulated_error"] == "no simulated answers were kept with this file"


def reason(state, format="onnx", folder=None):
    artifact = Artifact(format, state, (), (), None)
    return keep_simulated(artifact, folder)


def test_every_file_that_has_none_has_a_reason_and_none_of_an_earlier_file(tmp_path):
    states = {
        name: STRATEGIES[name]().state(Float()) for name in ("static_int8", "dynamic_int8", "weight_only")
    }
    (tmp_path / SIMULATED).write_text("of an earlier file")
    assert reason(Float(), folder=tmp_path) is None  # it makes no claim about integers
    assert not (tmp_path / SIMULATED).exists()
    assert "in the format pt2 has no second reader" in reason(states["static_int8"], "pt2", tmp_path)
    assert "only fixed scales are" in reason(states["dynamic_int8"], folder=tmp_path)
    assert "only fixed scales are" in reason(states["weight_only"], folder=tmp_path)
    for format in ("onnx", "openvino"):  # there is no file
        assert "its simulation stopped" in reason(states["static_int8"], format, tmp_path)


def test_without_the_library_there_is_a_reason(tmp_path, monkeypatch):
    import sys

    artifact = chain(tmp_path, None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "is missing where the file was made" in keep_simulated(artifact, tmp_path)


def test_the_reason_goes_into_the_note_and_from_there_into_the_score(tmp_path):
    artifact = Artifact("pt2", STRATEGIES["nncf_int8"]().state(Float()), (), ())
    before = Note("saturation", "none"), Note(NO_SIMULATION, "of an earlier file")
    saturation, why = _simulate(
        SimpleNamespace(format="pt2", state=artifact.state, notes=before), tmp_path, None
    )
    assert saturation == before[0]
    assert "pt2" in why.found
    request = deployed(chain(tmp_path, None), "onnxruntime", simulated=False)
    folder, loaded = kept_in(request), load(kept_in(request))
    spec = request.step.subject.deployment.artifact
    save(
        Artifact("onnx", loaded.state, loaded.inputs, loaded.outputs, loaded.path, notes=(why,)), folder, spec
    )
    withheld = {w.metric: w.reason for w in score(request, Trace()).withheld}
    assert withheld["simulated_error"] == why.found


def test_an_ir_has_answers_of_its_own_too(in_format, images, tmp_path):
    data = Calibration("images", {"images": images})
    product = STRATEGIES["nncf_int8"]().apply(in_format("openvino"), data, tmp_path)
    assert keep_simulated(product, tmp_path) is None
    kept = read_simulated(tmp_path)
    inputs, (wanted,) = kept.inputs, kept.by_example(product.outputs)
    given = BACKENDS["openvino"]().load(product, Placement()).run(inputs)[0]
    assert 0 < relative_error(given, wanted) < 0.1  # integer kernels here, none there
    floats = BACKENDS["openvino"]().load(in_format("openvino"), Placement()).run(inputs)[0]
    assert relative_error(wanted, floats) > relative_error(given, wanted)  # and it is no copy of float


def test_rounding_written_out_is_rounding(tmp_path):
    # five levels from -1 to 1 are steps of a half; 0.25 and 0.75 lie between two and go to the even one
    from qbench.quant.ir_graph import runtime, save_ir, simulated_outputs

    op = runtime().opset13
    x = op.parameter([-1, 7], np.float32)
    low, high = op.constant(np.float32(-1)), op.constant(np.float32(1))
    model = runtime().Model([op.fake_quantize(x, low, high, low, high, 5)], [x])
    model.inputs[0].set_names({"x"})
    path = save_ir(model, tmp_path)
    values = np.array([[-9, -0.9, -0.3, 0.25, 0.75, 0.8, 9]], "f4")
    np.testing.assert_allclose(
        simulated_outputs(path, [{"x": values}])[0][0], [[-1, -1, -0.5, 0, 1, 1, 1]], atol=1e-6
    )
