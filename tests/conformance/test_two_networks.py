"""A file with two networks in the harness: both are proven, compared and counted, and timed as a mix."""

import numpy as np
import pytest

from qbench.backends.onnxruntime import OnnxRuntimeSession
from qbench.errors import DoesNotFit
from qbench.formats import cache
from qbench.formats.reference import keep_simulated
from qbench.records import find
from qbench.run.protocol import Trace
from qbench.run.steps import session as session_of_a_step
from qbench.run.steps.check import WrongOutputs
from qbench.run.steps.deploy import deploy as deploy_step
from qbench.run.steps.energy import measure_energy
from qbench.run.steps.score import score
from qbench.run.steps.session import open_case
from qbench.run.steps.timed import time_case
from qbench.strategies.base import STRATEGIES

ROUTE = STRATEGIES["cascade"].routes[0]
SOME, NONE, EVERY = 0.1085, 1e-6, 1.0  # thresholds; of SOME, the first example is no one of them


@pytest.fixture(scope="module")
def cascade(product_of):
    """Return a function: a threshold to the product with it, made once."""
    made = {}

    def give(threshold):
        if threshold not in made:
            made[threshold] = product_of(STRATEGIES["cascade"](threshold=threshold), ROUTE)
        return made[threshold]

    return give


@pytest.fixture
def placed(cascade, deploy):
    """Return a function: the request that scores the product, with its own simulated answers beside it."""

    def give(threshold=SOME, **more):
        made = deploy(cascade(threshold), "onnxruntime", f"cascade at {threshold}", **more)
        assert keep_simulated(made.artifact, made.artifact.path.parent) is None
        return made.request

    return give


@pytest.fixture
def calls(monkeypatch):
    """Return a list that grows by the images of every call of the engine."""
    seen, before = [], OnnxRuntimeSession.run

    def run(self, inputs):
        seen.append(inputs["images"])
        return before(self, inputs)

    monkeypatch.setattr(OnnxRuntimeSession, "run", run)
    return seen


def went(request):
    """Ask the file itself, one example after the other."""
    opened = open_case(request, Trace())
    return [int(opened.session.run(opened.batch(row, 1))[1][0]) for row in range(len(opened.examples))]


# --- the score ----------------------------------------------------------------------------------------


def test_the_score_says_which_examples_went_on(placed):
    found = score(placed(), Trace())
    assert find(found, "escalated").samples == tuple(went(placed()))
    assert 0 < sum(went(placed())) < 40
    assert len(find(found, "prediction").samples) == 40


def test_a_network_alone_says_nothing_of_it(in_format, deploy):
    request = deploy(in_format("onnx"), "onnxruntime").request
    opened = open_case(request, Trace())
    assert opened.escalated is None
    assert len(opened.lap()) == 1
    usual = opened.some()
    assert opened.longest(usual) is usual
    assert find(score(request, Trace()), "escalated") is None


@pytest.mark.parametrize(("threshold", "other"), [(SOME, 3), (EVERY, 3), (NONE, 0)])
def test_the_kernels_are_proven_on_an_input_that_both_networks_answer(placed, threshold, other):
    found = score(placed(threshold), Trace())
    assert find(found, "low_bit_kernels").samples == (3,)
    assert find(found, "other_kernels").samples == (other,)


# --- the check ----------------------------------------------------------------------------------------


def turned(monkeypatch, other, count):
    """Let so many inputs be answered by the other network, as an engine may near the threshold."""
    chosen, before = [], OnnxRuntimeSession.run

    def run(self, inputs):
        scores, flag = before(self, inputs)
        asked = inputs["images"].tobytes()
        if asked not in chosen and len(chosen) < count:
            chosen.append(asked)
        return (scores + 100 * other, 1 - flag) if asked in chosen else (scores, flag)

    monkeypatch.setattr(OnnxRuntimeSession, "run", run)


def kept(request):
    """Return how many inputs the simulated answers are for."""
    from qbench.formats.reference import read_simulated

    return len(read_simulated(cache.folder_of(request.step.subject.deployment.artifact)).spans)


def test_an_input_that_went_the_other_way_is_no_wrong_answer(placed, monkeypatch):
    request = placed()
    assert kept(request) == 8 + 4
    found = score(request, Trace())
    assert 0 < find(found, "simulated_error").samples[0] < 0.1
    before = open_case(request, Trace())
    from qbench.run.steps.check_integers import with_simulation

    turned(monkeypatch, 1, 6)  # twelve are kept
    assert 0 < with_simulation(before).samples[0] < 0.1


def test_an_engine_that_chooses_the_other_network_for_most_is_wrong(placed, monkeypatch):
    from qbench.run.steps.check_integers import with_simulation

    opened = open_case(placed(), Trace())
    turned(monkeypatch, 0, 7)
    with pytest.raises(WrongOutputs, match="chose the other network for 7 of 12 inputs(.|\n)*fix: leave"):
        with_simulation(opened)


@pytest.mark.parametrize("second", [0, 1])
def test_either_network_may_be_the_one_that_is_wrong(placed, monkeypatch, second):
    before = OnnxRuntimeSession.run

    def run(self, inputs):
        scores, flag = before(self, inputs)
        return scores + 100 * (flag == second), flag

    monkeypatch.setattr(OnnxRuntimeSession, "run", run)
    with pytest.raises(WrongOutputs, match="of the outputs' range from what the same file says"):
        score(placed(), Trace())


# --- time and memory ------------------------------------------------------------------------------------


def test_timed_calls_go_round_the_examples_in_whole_laps(placed, calls, images):
    request = placed()
    share = sum(went(request))
    calls.clear()
    found = time_case(request, Trace())
    window = find(found, "latency")
    taken = len(window.samples) * window.group
    assert taken % 40 == 0
    for number, asked in enumerate(calls[-taken:]):
        np.testing.assert_array_equal(asked, images[number % 40][None])
    warm = {asked.tobytes() for asked in calls[40:-taken]}  # after each was asked for its way
    first = went(request).index(1)
    assert warm == {images[first].tobytes()}
    assert [(e.what, e.found) for e in found.evidence] == [
        ("timed calls", f"40 examples in turn, in whole laps; {share} of them escalate")
    ]


def test_a_lap_is_a_few_hundred_examples_at_most(placed, monkeypatch):
    monkeypatch.setattr(session_of_a_step, "LAP", 3)
    assert len(open_case(placed(), Trace()).lap()) == 3


def test_every_other_network_is_timed_on_one_batch(in_format, deploy, calls, images):
    found = time_case(deploy(in_format("onnx"), "onnxruntime").request, Trace())
    assert {asked.tobytes() for asked in calls} == {images[:1].tobytes()}
    assert found.evidence == ()


def test_a_larger_batch_is_refused(placed):
    with pytest.raises(DoesNotFit, match="takes batches of 1 only, and the scenario asks for 2"):
        time_case(placed(batch=2), Trace())


def test_the_first_call_is_the_first_example_and_the_peak_that_of_both_networks(placed, calls, images):
    request = placed()
    first = went(request).index(1)
    assert first > 0
    calls.clear()
    deploy_step(request, Trace())
    assert calls[0].tobytes() == images[:1].tobytes()
    assert {asked.tobytes() for asked in calls[first + 2 : first + 7]} == {images[first].tobytes()}


@pytest.mark.slow
def test_energy_is_that_of_the_mix(placed, calls, monkeypatch):
    from types import SimpleNamespace

    from qbench.run.steps import energy

    request = placed()
    monkeypatch.setattr(energy, "WARMUP_S", 0.2)
    meter = SimpleNamespace(
        provenance="p", domain="d", period_s=0.01, wraps_j=None, read=lambda: (0.0, 0.0), close=lambda: None
    )
    kind = SimpleNamespace(open=lambda device: meter)
    monkeypatch.setattr(energy, "best_meter", lambda device: kind)
    monkeypatch.setattr(energy, "METERS", {"one": kind})
    calls.clear()
    measure_energy(request, Trace())
    assert len({asked.tobytes() for asked in calls}) == 40
