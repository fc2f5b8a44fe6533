"""What a score must not let through: kernels that ran in float, and answers that are not the network's."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from qbench.backends.base import KernelProof
from qbench.backends.onnxruntime import OnnxRuntimeSession
from qbench.cases import FakeQuant, Float, Quantized, Scheme
from qbench.errors import DoesNotFit
from qbench.formats import cache
from qbench.formats.artifact import Artifact, TensorSpec
from qbench.formats.fake import write_fake
from qbench.formats.proof import covered
from qbench.formats.reference import NAME as REFERENCE
from qbench.records import find
from qbench.run.protocol import Baseline, Trace
from qbench.run.steps.check import WrongOutputs
from qbench.run.steps.kept import answers_file
from qbench.run.steps.score import _barely_covered, _kernels_ran_as_claimed, score
from qbench.run.steps.session import open_case
from qbench.run.steps.timed import time_case
from qbench.strategies.base import STRATEGIES

INT8 = Quantized(Scheme(8, 8, "per_channel"))


def saved(artifact):
    """Return the artifact with what `prepare` finds out about its file."""
    return replace(artifact, covered=covered(artifact))


# --- the proof of kernel --------------------------------------------------------------------------


def test_openvino_multiplies_dynamic_int8_in_float_and_is_found_out(product_of, deploy):
    strategy = STRATEGIES["dynamic_int8"]()
    product = product_of(strategy, strategy.routes[0])
    opened = open_case(deploy(product, "openvino", "dynamic_int8").request, Trace())
    with pytest.raises(DoesNotFit) as found:
        _kernels_ran_as_claimed(opened, opened.session.prove(opened.some()))
    assert "stores 1 weights in 8 bits, but only 0 " in found.value.problem  # of products alone
    assert "kernels ran in 8-bit integer and 3 in 32-bit float" in found.value.problem
    assert "try another engine" in found.value.fix


def test_a_score_stops_there_and_keeps_the_counts(product_of, deploy):
    strategy, trace = STRATEGIES["dynamic_int8"](), Trace()
    with pytest.raises(DoesNotFit):
        score(deploy(product_of(strategy, strategy.routes[0]), "openvino", "dynamic_int8").request, trace)
    assert trace.stage == "proof of kernel"
    assert {m.metric: m.samples for m in trace.measurements}["low_bit_kernels"] == (0,)


@pytest.mark.parametrize(
    ("state", "weights", "low", "good"),
    [
        (INT8, [[64, 8]] * 4, 4, True),
        (INT8, [[64, 8]] * 4, 2, True),  # half of them: engines merge layers
        (INT8, [[64, 8]] * 4, 1, False),
        (INT8, [[64, 8], [64, 32], [64, 32]], 1, True),  # of those that are stored in low bits
        (INT8, [[64, 8]], 0, False),
        (Float("bf16"), [[64, 16]] * 2, 0, False),
        (Float("bf16"), [[64, 16]] * 2, 2, True),
        (Float(), [[64, 32]], 0, True),
        (FakeQuant(Scheme(8, 8, "per_tensor")), [[64, 32]], 0, True),
    ],
)
def test_how_many_kernels_are_enough(tmp_path, state, weights, low, good):
    path = write_fake(tmp_path / "model.fake", {"weights": weights})
    opened = SimpleNamespace(artifact=saved(Artifact("fake", state, (), (), path)), simulated=None)
    proof = KernelProof(low, 5, ())
    if good:
        _kernels_ran_as_claimed(opened, proof)
    else:
        what = "bf16" if isinstance(state, Float) else "8-bit integer"
        with pytest.raises(
            DoesNotFit, match=f"only {low} multiply-accumulate kernels ran in {what} and 5 in"
        ):
            _kernels_ran_as_claimed(opened, proof)


MADE = {
    "ptq": {"weight_bits": 4}, "qat": {"weight_bits": 4, "learned_steps": True}, "adaptive": {"limit": 0.3},
}  # fmt: skip


@pytest.mark.parametrize("name", MADE)
def test_kernels_of_what_was_learned_or_chosen_are_proven(name, product_of, deploy, monkeypatch):
    strategy = STRATEGIES[name](**MADE[name])
    request = deploy(product_of(strategy, strategy.routes[0]), "onnxruntime", name).request
    assert find(score(request, Trace()), "low_bit_kernels").samples[0] >= 2
    monkeypatch.setattr(OnnxRuntimeSession, "prove", lambda *_: KernelProof(0, 3, ()))
    with pytest.raises(DoesNotFit, match="only 0 multiply-accumulate kernels ran in [48]-bit integer"):
        score(request, Trace())


@pytest.mark.parametrize("name", MADE)
def test_wrong_answers_of_theirs_are_refused(name, product_of, deploy, monkeypatch):
    strategy = STRATEGIES[name](**MADE[name])
    request = deploy(product_of(strategy, strategy.routes[0]), "onnxruntime", name).request
    with pytest.raises(WrongOutputs):
        scored(monkeypatch, request, WRONG["a row too few"])


@pytest.mark.parametrize("name", ["ptq", "qat"])
def test_what_is_simulated_needs_no_low_bit_kernel(name, product_of, deploy):
    strategy = STRATEGIES[name](weight_bits=2)
    product = product_of(strategy, strategy.routes[0])
    found = score(deploy(product, "onnxruntime", name).request, Trace())
    assert find(found, "low_bit_kernels") is None or find(found, "low_bit_kernels").samples[0] == 0


# --- wrong answers --------------------------------------------------------------------------------


def scored(monkeypatch, request, change):
    honest = OnnxRuntimeSession.run
    monkeypatch.setattr(OnnxRuntimeSession, "run", lambda self, inputs: change(honest(self, inputs)))
    return score(request, Trace())


WRONG = {
    "noise": lambda out: (out[0] + np.float32(0.01) * np.ptp(out[0]),),
    "one number of all": lambda out: (np.where(out[0] == out[0].max(), out[0] * 1.1, out[0]),),
    "the rows in another order": lambda out: (out[0][::-1],),
    "nan": lambda out: (np.full_like(out[0], np.nan),),
    "nothing at all": lambda out: (),
    "no row": lambda out: (out[0][:0],),
    "no column": lambda out: (out[0][:, :0],),
    "a number alone": lambda out: (out[0].sum(),),
    "a row too few": lambda out: (out[0][:-1],),
    "a row too many": lambda out: (np.vstack([out[0], out[0][:1]]),),
    "the batch not first": lambda out: (np.repeat(out[0].T, 5, axis=0),),
    "another shape": lambda out: (out[0][:, :-1],),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_float_engine_with_wrong_answers_is_caught(wrong, monkeypatch, in_format, deploy):
    request = deploy(in_format("onnx"), "onnxruntime").request
    with pytest.raises(WrongOutputs, match=r"onnxruntime (gave|differs)(.|\n)*fix: leave this engine out"):
        scored(monkeypatch, request, WRONG[wrong])


@pytest.mark.parametrize("wrong", ["a row too few", "a row too many", "the batch not first", "no row"])
def test_answers_that_go_wrong_with_larger_batches_are_caught(wrong, monkeypatch, in_format, deploy):
    request = deploy(in_format("onnx"), "onnxruntime").request
    with pytest.raises(WrongOutputs, match="and not 40x10|for 40 examples"):
        scored(monkeypatch, request, lambda out: WRONG[wrong](out) if len(out[0]) == 40 else out)


def test_a_quantized_network_must_keep_the_shape(monkeypatch, product_of, deploy):
    strategy = STRATEGIES["static_int8"]()
    request = deploy(product_of(strategy, strategy.routes[0]), "onnxruntime", "static_int8").request
    with pytest.raises(WrongOutputs, match=r"shape \(1, 9\); the source gives \(1, 10\)"):
        scored(monkeypatch, request, WRONG["another shape"])


def test_a_difference_that_engines_have_is_no_wrong_answer(monkeypatch, in_format, deploy):
    request = deploy(in_format("onnx"), "onnxruntime").request
    found = scored(monkeypatch, request, lambda out: (out[0] + np.float32(1e-5) * np.ptp(out[0]),))
    assert 1e-6 < find(found, "reference_error").samples[0] < 1e-3


def test_a_quantized_network_may_differ_and_says_by_how_much(monkeypatch, product_of, deploy):
    strategy = STRATEGIES["static_int8"]()
    request = deploy(product_of(strategy, strategy.routes[0]), "onnxruntime", "static_int8").request
    found = scored(monkeypatch, request, WRONG["noise"])
    assert find(found, "reference_error").samples[0] > 1e-3


def test_a_technique_that_stays_in_float_may_differ_too(monkeypatch, in_format, deploy):
    request = deploy(in_format("onnx"), "onnxruntime", "a pruning that keeps fp32").request
    assert find(scored(monkeypatch, request, WRONG["noise"]), "reference_error").samples[0] > 1e-3


def test_answers_that_are_no_numbers_are_a_collapse_without_a_speed(monkeypatch, product_of, deploy):
    strategy = STRATEGIES["static_int8"]()
    request = deploy(product_of(strategy, strategy.routes[0]), "onnxruntime", "static_int8").request
    found = scored(monkeypatch, request, WRONG["nan"])
    assert [v.kind for v in found.verdicts] == ["collapsed"]
    assert {"latency", "energy", "peak_memory", "reference_error"} <= {w.metric for w in found.withheld}


def test_a_file_without_a_reference_says_that_nobody_was_asked(in_format, deploy):
    made = deploy(in_format("onnx"), "onnxruntime", "a source that is a file")
    (cache.folder_of(made.case.deployment.artifact) / REFERENCE).unlink()
    found = score(made.request, Trace())
    assert "nobody was asked" in next(w.reason for w in found.withheld if w.metric == "reference_error")


# --- against the float model ----------------------------------------------------------------------


def test_every_output_is_measured_against_float_s(monkeypatch, in_format, product_of, deploy):
    base = deploy(in_format("onnx"), "onnxruntime").request
    float_one = score(base, Trace())
    assert float_one.outputs == ()
    data_id = next(e.found for e in float_one.evidence if e.what == "data id")
    told = Baseline(str(answers_file(base.step.subject, data_id)), None)
    strategy = STRATEGIES["static_int8"]()
    request = deploy(product_of(strategy, strategy.routes[0]), "onnxruntime", "static_int8").request
    found = score(replace(request, baseline=told), Trace())
    (output,) = found.outputs
    assert (output.output_kind, output.decides) == ("scores", "same_first")
    assert len(find(found, "prediction").samples) == len(output.measurements[-1].samples)
    wrong = scored(monkeypatch, replace(request, baseline=told), lambda out: (np.zeros_like(out[0]),))
    assert [v.kind for v in wrong.verdicts] == ["collapsed"]


def test_a_single_nan_voids_the_cell(monkeypatch, product_of, deploy):
    strategy = STRATEGIES["static_int8"]()
    request = deploy(product_of(strategy, strategy.routes[0]), "onnxruntime", "static_int8").request

    def one_nan(out):
        out[0][0, 0] = np.nan if len(out[0]) == 40 else out[0][0, 0]
        return out

    found = scored(monkeypatch, request, one_nan)
    assert "1 of 40 answers hold NaN" in found.verdicts[0].text
    assert find(found, "prediction") is None
    assert {"correct", "prediction", "sqnr", "latency"} <= {w.metric for w in found.withheld}
    assert found.outputs == ()


# --- networks that take one batch size only -------------------------------------------------------


def fixed_at(in_format, tmp_path, size):
    import onnx

    model = onnx.load(in_format("onnx").path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = size
    onnx.save(model, tmp_path / "model.onnx")
    inputs = (TensorSpec("images", "float32", (size, 3, 8, 8)),)
    return Artifact("onnx", Float(), inputs, in_format("onnx").outputs, tmp_path / "model.onnx")


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("size", [1, 8, 64])
def test_every_example_is_scored_whatever_batch_the_network_takes(engine, size, in_format, deploy, tmp_path):
    request = deploy(fixed_at(in_format, tmp_path, size), engine, f"fixed at {size}").request
    if size > 8:
        (cache.folder_of(request.step.subject.deployment.artifact) / REFERENCE).unlink()
    assert len(find(score(request, Trace()), "prediction").samples) == 40


def test_a_network_that_takes_a_larger_batch_is_timed_with_it_and_says_so(in_format, deploy, tmp_path):
    made = deploy(fixed_at(in_format, tmp_path, 8), "onnxruntime", "timed at 8", batch=2)
    opened = open_case(made.request, Trace())
    assert opened.timed_inputs()["images"].shape[0] == 8
    assert "filled up to 8" in time_case(made.request, Trace()).evidence[0].found


def test_a_network_that_takes_a_smaller_batch_is_not_timed_under_a_wrong_name(in_format, deploy, tmp_path):
    made = deploy(fixed_at(in_format, tmp_path, 2), "onnxruntime", "timed at 2", batch=8)
    with pytest.raises(DoesNotFit, match="takes batches of 2 only, and the scenario asks for 8"):
        time_case(made.request, Trace())


# --- a decoy: a little of it is quantized, and the rest is not ------------------------------------


@pytest.mark.parametrize(
    ("weights", "low", "other", "told"),
    [
        ([[64, 8], [6000, 32]], 1, 1, "barely covered: 1.06% of the network"),
        ([[6000, 8], [64, 32]], 1, 19, "1 of 20 kernels"),
        ([[700, 8], [6000, 32]], 1, 6, None),  # a tenth of the work: its speed is its own
        ([[6000, 8], [64, 32]], 1, 1, None),
    ],
)
def test_the_speed_of_a_decoy_is_withheld(tmp_path, weights, low, other, told):
    path = write_fake(tmp_path / "model.fake", {"weights": weights})
    opened = SimpleNamespace(artifact=saved(Artifact("fake", INT8, (), (), path)), simulated=None)
    found = _barely_covered(opened, KernelProof(low, other, ()))
    assert found is None if told is None else told in found
