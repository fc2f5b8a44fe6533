"""What an engine is told beside a file: its precision. Applied, proven by its kernels, never a baseline."""

from dataclasses import replace

import pytest
from prepared import asked, deployment

from qbench.backends.base import BACKENDS, KernelProof
from qbench.cases import Choice, Float, Quantized
from qbench.errors import BadParameter, DoesNotFit
from qbench.run.protocol import Trace
from qbench.run.steps.score import score

BF16 = (("precision", "bf16"),)
SUITE = """
[[technique]]
name = "in bf16"
role = "float"
chain = []
options = { precision = "bf16" }
"""


@pytest.fixture
def in_bf16():
    """Return the float network of the zoo on an engine that is told to compute in bfloat16."""
    if "bf16" not in BACKENDS["openvino"]().probe().on("cpu").abilities:
        pytest.skip("this processor has no bfloat16 instructions")
    return deployment((), "openvino", options=BF16)


def request(placed):
    found = asked("score", placed)
    case = replace(found.step.subject, role="float")
    return replace(found, step=replace(found.step, subject=case))


def test_the_file_stays_and_the_kernels_change(in_bf16):
    placed = in_bf16
    assert placed.artifact.state == Float("fp32")
    assert placed.computes == Float("bf16")
    assert placed.artifact == deployment((), "openvino").artifact
    trace = Trace()
    found = score(request(placed), trace)
    told = {e.what: e.found for e in found.evidence}
    assert told["option precision"] == "bf16"
    assert any("bf16" in what for what in told if what.startswith("kernel"))
    error = next(m.samples[0] for m in found.measurements if m.metric == "reference_error")
    assert error > 1e-4  # eight bits of precision: it really computed in them, and no float limit stopped it


def test_an_option_that_took_no_hold_is_no_speed(in_bf16, monkeypatch):
    from qbench.backends import openvino

    monkeypatch.setattr(openvino.OpenVinoSession, "prove", lambda *_: KernelProof(0, 3, ()))
    with pytest.raises(DoesNotFit, match="was told precision = bf16, and only 0 of 3"):
        score(request(in_bf16), Trace())


def test_the_two_are_compared_and_the_baseline_is_told_nothing(in_bf16):
    assert in_bf16.same_but_for_technique(deployment((), "openvino"))
    assert not in_bf16.same_but_for_technique(deployment((), "onnxruntime"))


def test_a_quantized_file_computes_in_its_own_numbers():
    placed = deployment((Choice("static_int8"),), options=BF16)
    assert isinstance(placed.computes, Quantized)


def test_an_engine_without_the_option_skips_with_that_reason(inside):
    inside.suite("told", {"int8": '[{ use = "fake_int8" }]'}, more=SUITE)
    text = (inside.root / "suites" / "told.toml").read_text()
    with pytest.raises(BadParameter, match='no engine of this suite has an option precision = "bf16"'):
        inside.plan("told")
    path = inside.root / "suites" / "both.toml"
    path.write_text(
        text.replace('name = "told"', 'name = "both"').replace('["fake"]', '["fake", "openvino"]', 1)
    )
    profile = inside.root / "hardware_profiles" / "testbed.toml"
    profile.write_text(profile.read_text().replace('"onnxruntime"', '"openvino"'))
    plan = inside.plan("both")
    reasons = {(s.case.technique, s.case.deployment.backend): s.reason for s in plan.skips}
    assert reasons["in bf16", "fake"] == 'fake has no option precision = "bf16"'
