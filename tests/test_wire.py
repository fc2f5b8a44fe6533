"""What parent and worker say to each other comes through as it was said, and anything else is refused."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbench.backends.base import DeviceProbe, Probe
from qbench.records import (
    Anchor,
    ArtifactSpec,
    Choice,
    Failed,
    FakeQuant,
    Float,
    Hop,
    Measured,
    Measurement,
    Scheme,
    Step,
)
from qbench.run.protocol import (
    About,
    Baseline,
    Limits,
    ProbeRequest,
    Reply,
    Request,
    SelfRequest,
    StepRequest,
)
from qbench.wire import from_plain, to_plain

STATE = FakeQuant(Scheme(4, None, "per_group"))
SPEC = ArtifactSpec(
    Choice("net", (("bits", 4), ("share", 0.5), ("on", True), ("name", "x"))),
    (
        Hop("source", Choice("net"), "torch", Float("bf16"), "s"),
        Hop("technique", Choice("t"), "onnx", STATE, "d"),
    ),
)


@pytest.mark.parametrize("request_", [
    StepRequest(Step("anchor", Anchor("cpu"), 3), (("a", "b"),), Baseline("x.npy", None), limits=Limits(1.5, 7)),  # noqa: E501
    StepRequest(Step("prepare", SPEC)),
    ProbeRequest("fake"),
    SelfRequest(("torch",)),
])  # fmt: skip
def test_a_request_comes_through(request_):
    assert from_plain(Request, json.loads(json.dumps(to_plain(request_)))) == request_


@pytest.mark.parametrize("reply", [
    Reply(Measured((Measurement("latency", (0.5,), (1.0,), 3),)), 0.25),
    Reply(Failed("load", "no", "Traceback"), 0.25, "log"),
    Reply(Probe("fake", "1", (DeviceProbe("cpu", None, ("int8",)),))),
    Reply(About(1, 1, False, ())),
])  # fmt: skip
def test_a_reply_comes_through(reply):
    assert from_plain(Reply, json.loads(json.dumps(to_plain(reply)))) == reply


@given(st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()))
def test_a_parameter_keeps_its_type(value):
    choice = Choice("x", (("p", value),))
    back = from_plain(Choice, json.loads(json.dumps(to_plain(choice))))
    assert back == choice
    assert type(back.params[0][1]) is type(value)


@pytest.mark.parametrize(("kind", "raw"), [
    (Step, {"kind": "anchor", "subject": {"device": "cpu", "kernel": "k"}, "round": "1"}),
    (Step, {"kind": "dance", "subject": {"device": "cpu", "kernel": "k"}, "round": 1}),
    (Step, {"kind": "anchor", "subject": {"device": "cpu"}, "round": 1}),
    (Limits, {"time_s": 1, "stranger": 1}),
    (Limits, [1, 2]),
    (int, True),
    (tuple[int, int], [1]),
    (tuple[int, ...], "12"),
])  # fmt: skip
def test_another_shape_is_refused(kind, raw):
    with pytest.raises(TypeError):
        from_plain(kind, raw)


def test_paths_go_as_text_and_whole_numbers_as_floats():
    assert from_plain(Path, "/tmp/x") == Path("/tmp/x")
    limits = from_plain(Limits, {"time_s": 3})
    assert (limits.time_s, type(limits.time_s)) == (3.0, float)
