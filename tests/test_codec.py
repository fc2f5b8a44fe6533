"""A results file's text: a line of each kind is kept in the golden folder, and must never read otherwise."""

import json
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbench.cases import (
    Anchor,
    ArtifactSpec,
    Case,
    Choice,
    DataSpec,
    Deployment,
    FakeQuant,
    Float,
    Hardware,
    Hop,
    Quantized,
    Scenario,
    Scheme,
    Step,
)
from qbench.codec import SHORT, decode, encode, pack, refuse_unstorable, unpack
from qbench.errors import BadFile
from qbench.metrics import CATALOGUE
from qbench.records import (
    FORMAT_VERSION,
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

GOLDEN = Path(__file__).parent / "golden" / f"record-v{FORMAT_VERSION}.jsonl"
TASK = Choice("image_classification", (("dataset", "digits"),))
TEST = DataSpec(TASK, "test", 400, None, "0123456789abcdef")
CALIBRATION = DataSpec(TASK, "calibration", 128, 0, "0123456789abcdef")
SOURCE = Hop("source", Choice("resnet-digits"), "torch", Float(), "aaaaaaaaaaaaaaaa")
INT8 = Quantized(Scheme(8, 8, "per_channel"))
WEIGHT_ONLY = FakeQuant(Scheme(4, None, "per_group", dynamic=True))
WAY = (
    SOURCE,
    Hop("edge", Choice("to_onnx"), "onnx", Float("bf16"), "bbbbbbbbbbbbbbbb"),
    Hop(
        "technique",
        Choice("static_int8", (("observer", "minmax"), ("per_channel", True), ("bits", 8), ("share", 0.5))),
        "onnx",
        INT8,
        "cccccccccccccccc",
        CALIBRATION,
    ),
)
ARTIFACT = ArtifactSpec(Choice("resnet-digits"), WAY)
SIMULATED = ArtifactSpec(
    Choice("resnet-digits"), (SOURCE, Hop("technique", Choice("gptq"), "torch", WEIGHT_ONLY, "d"))
)
CASE = Case(
    "smoke",
    "static int8",
    "technique",
    Deployment(ARTIFACT, "onnxruntime", "cpu", 2, "eeeeeeeeeeeeeeee"),
    TEST,
    Scenario(),
)
SCORED = Case(
    "smoke",
    "gptq",
    "technique",
    Deployment(SIMULATED, "torch_eager", "cpu", 2, "f"),
    TEST,
    Scenario("scored"),
)
COUNTED = replace(
    CASE,
    deployment=replace(CASE.deployment, hardware="neoverse-n1", reached="emulated", streams=1),
    scenario=Scenario("counted"),
)
BESIDE_FLOAT = (
    OutputQuality(
        "boxes",
        "class scores",
        "same_first",
        (Measurement("same_first", (1, 0, 1, 1, 1)),),
        part="channels 4 to 6 of axis 1",
    ),
    OutputQuality(
        "mask", "constant", "", (), (Withheld("same_first", "the same for every example"),), recognised=False
    ),
)
LATENCY = Measurement("latency", (0.001234567, 0.001, 0.0011, 0.0012, 0.0013), (0.02, 0.002), 4)
LINES = (
    Session(
        "abcdef012345", "smoke", "quick", "host", (("processor", "Épyc"), ("cores", "2")), (("numpy", "2.4.6"),),  # noqa: E501
        "none", False, "2026-01-02T03:04:05Z", "qbench run --suite smoke",
    ),
    *(
        Record(step, outcome, "abcdef012345", "2026-01-02T03:04:06Z", 1.25, 0.5, log)
        for step, outcome, log in (
            (Step("plan", CASE), Skipped("no kernels for bf16 here"), ""),
            (Step("data", TEST), Measured((), evidence=(Evidence("data id", "0123"),)), ""),
            (Step("data", CALIBRATION), Failed("data", "BadFile: it is torn", "Traceback ...\n  line"), "last\nwords"),  # noqa: E501
            (
                Step("prepare", ARTIFACT),
                Measured((Measurement("file_size", (123456,)), Measurement("prepare_time", (1.5,)))),
                "",
            ),
            (Step("prepare", SIMULATED), Failed("quantize", "no", "", (Measurement("prepare_time", (0.25,)),)), ""),  # noqa: E501
            (
                Step("score", SCORED),
                Measured(
                    (
                        Measurement("correct", (1, 0, 1, 1, 0, 1, 1, 1, 1)),
                        Measurement("prediction", (7, -1, 3, 1000000, 0, 1)),
                        Measurement("kl_divergence", (0.5, 0.25, 0.1, 1e-30, 3e38)),
                        Measurement("sqnr", (23.456789,)),
                    ),
                    (Withheld("latency", "simulated"),),
                    (Verdict("collapsed", "accuracy 10 %"),),
                    (Evidence("kernel Conv", "12"),),
                    BESIDE_FLOAT,
                ),
                "",
            ),
            (Step("deploy", CASE), Measured((Measurement("load_time", (0.125,)), Measurement("peak_memory", (1e8,)))), ""),  # noqa: E501
            (Step("time", CASE, 2), Measured((LATENCY,), (), (Verdict("not_steady", "drifts"),)), ""),
            (Step("anchor", Anchor("cpu"), 2), Measured((Measurement("anchor", (0.001,)),)), ""),
            (Step("plan", Hardware("cuda", "a device")), Skipped("there is no /dev/nvidiactl"), ""),
            (Step("count", COUNTED), Measured((Measurement("instructions", (1e6, 1e6, 1e6)),)), ""),
            (Step("time", replace(CASE, scenario=Scenario("single", 1, 0.05))), Failed("check", "wrong", expected="known"), ""),  # noqa: E501
        )
    ),
)  # fmt: skip

TIMED = next(line for line in LINES if isinstance(line, Record) and line.step.kind == "time")


# --- the golden file --------------------------------------------------------------------------------


def test_the_golden_file_is_what_is_written_today():
    written = "".join(encode(line) + "\n" for line in LINES)
    if os.environ.get("QBENCH_REGOLD"):
        GOLDEN.write_text(written, encoding="utf-8")
    assert GOLDEN.read_text(encoding="utf-8") == written


@pytest.mark.parametrize("number", range(len(LINES)))
def test_every_golden_line_reads_as_its_value_and_writes_as_itself(number):
    text = GOLDEN.read_text(encoding="utf-8").splitlines()[number]
    line = decode(text, "golden")
    assert encode(line) == text
    assert type(line) is type(LINES[number])
    if isinstance(line, Record):
        assert line.step == LINES[number].step
        assert line.step.key == LINES[number].step.key  # a resumed run knows its steps again


def test_the_golden_file_holds_every_kind_of_subject_and_outcome():
    records = [line for line in LINES if isinstance(line, Record)]
    assert {type(record.step.subject) for record in records} == {
        DataSpec,
        ArtifactSpec,
        Case,
        Anchor,
        Hardware,
    }
    assert {type(record.outcome) for record in records} == {Measured, Skipped, Failed}
    assert {record.step.kind for record in records} == {
        "plan",
        "data",
        "prepare",
        "score",
        "deploy",
        "time",
        "anchor",
        "count",
    }
    stored = {CATALOGUE[m.metric].stored for r in records for m in getattr(r.outcome, "measurements", ())}
    assert stored == {"plain", "ns", "bits", "counts", "f32"}


@pytest.mark.parametrize("version", range(1, FORMAT_VERSION))
def test_an_older_golden_file_reads_as_the_values_of_today(version):
    older = GOLDEN.with_name(f"record-v{version}.jsonl").read_text(encoding="utf-8").splitlines()
    for number, (text, today) in enumerate(zip(older, LINES, strict=False)):
        assert json.loads(text)["format"] == version
        line = decode(text, f"golden:{number}")
        assert line.format == FORMAT_VERSION
        if isinstance(line, Record):
            assert line.step == today.step
            assert line.outcome.kind == today.outcome.kind


# --- what is refused --------------------------------------------------------------------------------


def places(value, path=()):
    """Yield the way to every object inside a line."""
    if isinstance(value, dict):
        if path[-1:] not in (("samples",), ("warmup",)):
            yield path
        for name, item in value.items():
            yield from places(item, (*path, name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from places(item, (*path, number))


@pytest.mark.parametrize("number", range(len(LINES)))
def test_an_unknown_key_is_refused_at_every_level(number):
    text = encode(LINES[number])
    for path in places(json.loads(text)):
        raw = json.loads(text)
        inner = raw
        for part in path:
            inner = inner[part]
        inner["stranger"] = 1
        with pytest.raises(BadFile, match=r"^file:3: .*stranger") as told:
            decode(json.dumps(raw), "file:3")
        assert "\n  fix: " in str(told.value)


@pytest.mark.parametrize("version", [0, FORMAT_VERSION + 1, "1", None, 1.5])
def test_an_unknown_format_version_is_refused(version):
    raw = json.loads(encode(LINES[0])) | {"format": version}
    with pytest.raises(BadFile, match="this qbench reads 1 to"):
        decode(json.dumps(raw), "file:1")


@pytest.mark.parametrize(("text", "words"), [
    ("{", "is no JSON"),
    ("[]", "has format None"),
    ("7", "has format None"),
    ('{"format":1,"wall_s":NaN}', "NaN is no number"),
    ('{"format":1}', "Field required"),
    ('{"format":1,"outcome":{"measurements":["x"]}}', "samples cannot be read"),
    ('{"format":1,"outcome":{"measurements":7}}', "samples cannot be read"),
    ('{"format":5,"outcome":{"outputs":7}}', "samples cannot be read"),
    ('{"format":5,"outcome":{"outputs":[{"measurements":[{}]}]}}', "samples cannot be read"),
    ('{"format":1,"outcome":{"measurements":[{"samples":{"as":"hex","values":[1]}}]}}', "samples cannot be read"),  # noqa: E501
    ('{"format":1,"outcome":{"measurements":[{"samples":{"as":"ns","values":["a"]}}]}}', "samples cannot be read"),  # noqa: E501
    ('{"format":1,"outcome":{"measurements":[{"samples":{"as":"ns","values":[[1]]}}]}}', "row of finite numbers"),  # noqa: E501
])  # fmt: skip
def test_a_line_that_is_none_is_told_with_its_place(text, words):
    with pytest.raises(BadFile, match=rf"^file:9.*{words}"):
        decode(text, "file:9")


@pytest.mark.parametrize(
    "change", [{"n": 6}, {"n": 4}, {"zlib": "AAAA"}, {"zlib": "not base64!"}, {"zlib": None}]
)
def test_torn_samples_are_refused(change):
    raw = json.loads(encode(TIMED))
    raw["outcome"]["measurements"][0]["samples"] |= change
    with pytest.raises(BadFile, match=r"^file:2: samples cannot be read"):
        decode(json.dumps(raw), "file:2")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("stored", ["plain", "ns", "bits", "counts", "f32"])
@pytest.mark.parametrize("count", [1, SHORT + 1])
def test_nan_and_infinity_are_refused_in_every_form(value, stored, count):
    with pytest.raises(ValueError, match="NaN or infinite"):
        pack((value,) * count, stored)


@pytest.mark.parametrize(
    ("value", "stored"),
    [(2, "bits"), (0.5, "bits"), (-1, "bits"), (0.5, "counts"), (2**31, "counts"), (1e39, "f32")],
)
def test_what_a_form_cannot_hold_is_refused_and_not_cut(value, stored):
    with pytest.raises(ValueError, match="whole numbers|range"):
        pack((value,) * (SHORT + 1), stored)


def test_an_unknown_metric_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'latency'"):
        refuse_unstorable((Measurement("latencey", (1.0,)),))


def test_a_measurement_of_one_output_is_packed_and_comes_back():
    record = next(line for line in LINES if isinstance(line, Record) and getattr(line.outcome, "outputs", ()))
    raw = json.loads(encode(record))
    assert "zlib" in raw["outcome"]["outputs"][0]["measurements"][0]["samples"]
    assert decode(json.dumps(raw), "file:1").outcome.outputs == BESIDE_FLOAT


def test_a_log_with_half_a_character_can_still_be_written_and_read():
    record = Record(
        Step("anchor", Anchor("cpu")), Failed("a", "name \udcff"), "s", "t", 1.0, 0.0, "log \ud800 end"
    )
    read = decode(encode(record), "file:1")
    assert read.outcome.error == "name ?"
    assert read.log == "log ? end"


# --- laws of the compaction -------------------------------------------------------------------------


@given(st.lists(st.integers(0, 10**15), max_size=40))
def test_durations_come_back_to_the_nanosecond(ns):
    back = unpack(json.loads(json.dumps(pack(tuple(n * 1e-9 for n in ns), "ns"))))
    assert [round(value * 1e9) for value in back] == ns


@given(st.lists(st.integers(0, 1), max_size=100))
def test_bits_come_back(bits):
    assert list(unpack(json.loads(json.dumps(pack(tuple(bits), "bits"))))) == bits


@given(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=40))
def test_counts_come_back(counts):
    assert list(unpack(json.loads(json.dumps(pack(tuple(counts), "counts"))))) == counts


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=40))
def test_32_bit_floats_come_back(values):
    assert list(unpack(json.loads(json.dumps(pack(tuple(values), "f32"))))) == values


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=40))
def test_plain_numbers_come_back(values):
    assert list(unpack(json.loads(json.dumps(pack(tuple(values), "plain"))))) == values


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=40), st.sampled_from(["ns", "f32", "plain"]))
def test_what_was_read_is_written_as_it_was(values, stored):
    once = pack(tuple(values), stored)
    assert pack(unpack(once), stored) == once


def test_a_window_is_stored_in_a_quarter_of_its_text():
    samples = tuple((np.random.default_rng(0).normal(1e6, 2e4, 2700).astype(int) * 1e-9).tolist())
    assert len(json.dumps(pack(samples, "ns"))) < 0.25 * len(json.dumps(samples))
