"""Every kind of record, request and artifact crosses the wire and comes back as it was, types included."""

import json
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbench import cases, records
from qbench.backends.base import DeviceProbe, Probe
from qbench.cases import (
    Anchor,
    ArtifactSpec,
    Case,
    Choice,
    DataSpec,
    Deployment,
    Explained,
    FakeQuant,
    Float,
    Hardware,
    Hop,
    Quantized,
    Scenario,
    Scheme,
    Step,
    key,
)
from qbench.formats.artifact import Artifact, LineageStep, TensorSpec
from qbench.records import (
    Evidence,
    Failed,
    Measured,
    Measurement,
    OutputQuality,
    Record,
    Session,
    Skipped,
    Verdict,
    Withheld,
)
from qbench.run.protocol import About, Baseline, Limits, ProbeRequest, Reply, SelfRequest, StepRequest
from qbench.wire import from_plain, to_plain

CHOICE = Choice("t", (("flag", True), ("number", 1), ("share", 0.5), ("words", "minmax")))
DATA = DataSpec(CHOICE, "calibration", 8, None, "r")
SCHEME = Scheme(4, None, "per_group", dynamic=True)
HOPS = (
    Hop("source", CHOICE, "torch", Float("bf16"), "s"),
    Hop("edge", CHOICE, "onnx", FakeQuant(SCHEME), "s"),
    Hop("technique", CHOICE, "onnx", Quantized(SCHEME), "s", DATA, DATA, DATA),
)
SPEC = ArtifactSpec(CHOICE, HOPS)
CASE = Case("s", "t", "float", Deployment(SPEC, "b", "cpu", 2, "e"), DATA, Scenario("scored", 8), "u")
EXPLAINED = Explained("t", SPEC, DATA)
NUMBERS = (Measurement("latency", (0.1, 2e-9), (1.0,), 5),)
OUTPUT = OutputQuality("o", "boxes", "sqnr", NUMBERS, (Withheld("m", "r"),), "channels 0 to 3", False)
MEASURED = Measured(
    NUMBERS, (Withheld("m", "r"),), (Verdict("unstable", "t"),), (Evidence("w", "f"),), (OUTPUT,)
)
FAILED = Failed("load", "e", "t", NUMBERS)
OUTCOMES = (MEASURED, FAILED, Skipped("r"))
LINEAGE = (LineageStep("h", "edge", 0.5, 7, (("onnx", "1"),)),)
VALUES = [
    *HOPS,
    SPEC,
    CASE,
    DATA,
    CHOICE,
    *OUTCOMES,
    Anchor("cpu"),
    EXPLAINED,
    *(
        Step("time", subject, 2)
        for subject in (CASE, SPEC, DATA, Anchor("cpu"), Hardware("h", "t"), EXPLAINED)
    ),
    *(Record(Step("score", CASE), outcome, "s", "now", 1.5, log="log") for outcome in OUTCOMES),
    Session("i", "s", "p", "h", (("cpu", "x"),), (("numpy", "2"),), "c", True, "now", "cmd"),
    StepRequest(Step("score", CASE), (("k", "d"),), Baseline("l.npy", None)),
    ProbeRequest("b"),
    SelfRequest(("torch",)),
    *(Reply(result, 0.5, "l") for result in (MEASURED, FAILED, About(1, 2, False, ("a",)))),
    Reply(Probe("b", "1", (DeviceProbe("cpu", None, ("fp32",)), DeviceProbe("gpu", "none here")))),
    Artifact("onnx", Float(), (TensorSpec("x", "f4", (None, 3)),), (), Path("/a"), None, LINEAGE),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_every_value_comes_back_equal_and_of_its_own_types(value):
    back = from_plain(type(value), json.loads(json.dumps(to_plain(value))))
    assert back == value
    assert repr(back) == repr(value)  # 1, 1.0 and True are equal, and are not the same


def test_no_kind_of_record_is_forgotten_here():
    seen, pending = set(), list(VALUES)
    while pending:
        value = pending.pop()
        seen.add(type(value))
        if is_dataclass(value):
            pending += [getattr(value, field.name) for field in fields(value)]
        if isinstance(value, tuple):
            pending += value
    assert {kind for kind in (vars(cases) | vars(records)).values() if is_dataclass(kind)} <= seen


def test_a_key_survives_the_journey():
    assert key(from_plain(Case, json.loads(json.dumps(to_plain(CASE))))) == key(CASE)


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (("count",), "8"),
        (("count",), True),
        (("count",), 8.0),
        (("split",), "validation"),
        (("seed",), "none"),
        (("task",), None),
        (("unknown",), 1),
        (("task", "params"), "flag"),
        (("task", "params"), [["flag"]]),
        (("task", "params"), [["flag", None]]),
        (("task", "name"), 1),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(path, wrong):
    raw = json.loads(json.dumps(to_plain(DATA)))
    inner = raw
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = wrong
    with pytest.raises(TypeError):
        from_plain(DataSpec, raw)


@pytest.mark.parametrize("raw", [None, [], "text", 1, {}, {"name": "a", "more": 1}])
def test_what_is_no_such_dataclass_is_refused(raw):
    with pytest.raises(TypeError):
        from_plain(Choice, raw)


def test_a_state_of_an_unknown_kind_is_refused():
    raw = to_plain(HOPS[0]) | {"state": {"dtype": "fp32", "kind": "quantum"}}
    with pytest.raises(TypeError):
        from_plain(Hop, raw)


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
