"""The step `count`: what it makes of the emulator's lines, and when it says that no integer kernel ran."""

import json

import numpy as np
import pytest

from qbench.backends.base import Session
from qbench.cases import (
    ArtifactSpec,
    Case,
    Choice,
    DataSpec,
    Deployment,
    FakeQuant,
    Float,
    Hop,
    Quantized,
    Scenario,
    Scheme,
    Step,
)
from qbench.formats.artifact import Artifact, Covered, TensorSpec
from qbench.measure import instructions
from qbench.measure.instructions import FLOAT_MACS, INTEGER_MACS, KINDS
from qbench.records import Failed, Measured, find
from qbench.run.perform import perform
from qbench.run.protocol import StepRequest
from qbench.run.steps import count as step
from qbench.run.steps.session import Opened
from qbench.tasks.base import TASKS, Examples

STATIC = Quantized(Scheme(8, 8, "per_channel"))
WEIGHTS_ONLY = Quantized(Scheme(4, None, "per_group"))
WIDE = Quantized(Scheme(8, 16, "per_channel"))
DYNAMIC = Quantized(Scheme(8, 8, "per_channel", dynamic=True))
WORDS = (*KINDS, *INTEGER_MACS, *FLOAT_MACS)


class Asked(Session):
    def __init__(self):
        self.batches = []

    def run(self, inputs):
        self.batches.append(len(inputs["x"]))
        return (np.zeros((self.batches[-1], 2), "f4"),)

    def prove(self, inputs):
        raise NotImplementedError

    @property
    def clock_ns(self):
        raise NotImplementedError


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """Return a function that runs the step on a device that executes what it is told, call for call."""
    file = tmp_path / "counts.jsonl"

    def run(state=STATIC, *, share=0.8, batch=1, threads=1, alive=1, writes=True, simulated=None, **executed):
        session = Asked()
        spec = ArtifactSpec(Choice("m"), (Hop("source", Choice("m"), "onnx", state, ""),))
        case = Case(
            "s", "t", "technique", Deployment(spec, "an engine", "cpu", threads, ""),
            DataSpec(Choice("agreement"), "test", 9), Scenario("counted", batch),
        )  # fmt: skip
        covered = None if share is None else Covered(3, share)
        artifact = Artifact("onnx", state, (TensorSpec("x", "float32", (None, 4)),), (), covered=covered)
        examples = Examples("id", {"x": np.zeros((9, 4), "f4")}, None)
        opened = Opened(case, artifact, session, TASKS["agreement"](""), examples, 0.0, simulated)

        def mark(tag):
            line = {"tag": tag, "pid": 1, "threads": alive, **dict.fromkeys(WORDS, 0), **executed}
            with file.open("a") as lines:
                lines.write(json.dumps(line) + "\n" if writes else "")

        monkeypatch.setattr(instructions, "_marker", lambda: mark)
        monkeypatch.setattr(step, "open_case", lambda request, trace: opened)
        run.session = session
        return perform(StepRequest(Step("count", case), counts=str(file) if writes is not None else ""))

    return run


def test_a_call_with_the_scenarios_batch_is_counted_by_kind(counted):
    outcome = counted(batch=4, instructions=900, load_store=300, simd_fp=400, dot=100, macs_int8=1600)
    assert counted.session.batches == [4] * 5
    assert find(outcome, "instructions").samples == (900, 900, 900)
    assert find(outcome, "instructions_load_store").samples == (300, 300, 300)
    assert find(outcome, "instructions_simd").samples == (400, 400, 400)
    assert find(outcome, "instructions_dot").samples == (100, 100, 100)
    assert find(outcome, "instructions_fmla").samples == (0, 0, 0)
    assert not outcome.withheld


def test_every_metric_is_measured_or_withheld(counted):
    measured = counted(dot=100, macs_int8=1600)
    assert [m.metric for m in measured.measurements] == list(KINDS.values())
    withheld = counted(threads=2)
    assert [w.metric for w in withheld.withheld] == list(KINDS.values())


def test_the_kinds_of_products_are_evidence(counted):
    evidence = {fact.what: fact.found for fact in counted(dot=100, macs_int8=1600, macs_fp32=40).evidence}
    assert evidence["instructions: four-way integer dot products (SDOT, UDOT, USDOT)"] == "100"
    assert evidence["multiply-accumulates executed: int8"] == "1600"
    assert evidence["multiply-accumulates executed: fp32"] == "40"


# --- the proof of kernel ----------------------------------------------------------------------------


@pytest.mark.parametrize("state", [STATIC, DYNAMIC])
@pytest.mark.parametrize(("integer", "floating"), [(0, 1000), (399, 601), (0, 0)])
def test_bytes_that_are_multiplied_in_float_fail(counted, state, integer, floating):
    outcome = counted(state, share=0.8, instructions=9, macs_int8=integer, macs_fp32=floating)
    assert isinstance(outcome, Failed)
    assert outcome.stage == "proof of kernel"
    assert f"{integer} were integer and {floating} float" in outcome.error
    assert find(outcome, "instructions").samples == (9, 9, 9)  # what was counted is kept


@pytest.mark.parametrize(("share", "integer", "floating"), [(0.8, 400, 600), (0.1, 50, 950), (1.0, 1, 0)])
def test_half_of_the_share_that_the_file_covers_is_enough(counted, share, integer, floating):
    assert isinstance(counted(share=share, macs_int8=integer, macs_fp32=floating), Measured)


def test_sixteen_bit_lanes_that_hold_widened_bytes_are_integers_too(counted):
    assert isinstance(counted(macs_int16=1000), Measured)


@pytest.mark.parametrize("state", [Float(), Float("bf16"), WEIGHTS_ONLY, WIDE, FakeQuant(STATIC.scheme)])
def test_who_claims_no_product_of_bytes_is_held_to_none(counted, state):
    assert isinstance(counted(state, macs_fp32=1000), Measured)


def test_who_is_known_to_simulate_is_held_to_none(counted):
    assert isinstance(counted(simulated="in float, as is known", macs_fp32=1000), Measured)


# --- nothing to count -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"threads": 2}, "only one thread can be counted, and this deployment has 2"),
        ({"writes": None}, "nothing counts instructions on this device"),
        ({"writes": False}, "the emulator wrote no counts"),
        ({"alive": 3}, "an engine had 3 threads, and what several execute at once is not counted whole"),
    ],
)
def test_what_cannot_be_counted_is_withheld_with_its_reason(counted, how, reason):
    outcome = counted(dot=100, macs_int8=1600, **how)
    assert isinstance(outcome, Measured)
    assert outcome.measurements == ()
    assert reason in outcome.withheld[0].reason
