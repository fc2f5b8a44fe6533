"""--explain: which networks are explained, with what, and what the step finds."""

from dataclasses import replace

import numpy as np
import pytest
from prepared import INT8, LIMITS, data, deployment, stored

from qbench.cases import Choice, Explained, Step, key
from qbench.codec import decode, encode
from qbench.formats import cache
from qbench.formats.artifact import load
from qbench.models.base import MODELS
from qbench.profile import PROFILES
from qbench.quant import explanation
from qbench.records import Record, find
from qbench.run import agenda
from qbench.run.estimate import EXPLAIN_S, explain_s
from qbench.run.plan import Selection
from qbench.run.protocol import StepRequest, Trace
from qbench.run.steps.explain import explain
from qbench.run.steps.given import given
from qbench.strategies.base import STRATEGIES

QUICK, STANDARD = PROFILES["quick"], PROFILES["standard"]
TECHNIQUES = {"int8": '[{ use = "static_int8" }]', "dynamic": '[{ use = "dynamic_int8" }]'}


def planned(place, profile=QUICK, **selection):
    place.suite("some", TECHNIQUES, model="resnet-digits", backend="onnxruntime")
    return place.plan("some", profile, Selection(**selection))


def test_nothing_is_explained_unless_it_is_asked_for(inside):
    assert planned(inside).explained == ()


def test_every_technique_that_can_is_explained_once_on_selection_examples(inside):
    plan = planned(inside, STANDARD, explain=True)
    assert [one.technique for one in plan.explained] == ["int8"]  # dynamic_int8 cannot, seeds add none
    assert STRATEGIES["static_int8"].explains
    assert not STRATEGIES["dynamic_int8"].explains
    assert plan.explained[0].selection.split == "selection"


def test_the_examples_to_judge_by_are_made_before(inside):
    steps = agenda.once(planned(inside, explain=True))
    kinds = [step.kind for step in steps]
    wanted = next(step for step in steps if step.kind == "explain").subject.selection
    assert any(step.kind == "data" and step.subject == wanted for step in steps)
    assert kinds.index("explain") > kinds.index("prepare")


def test_the_plan_reckons_with_one_quantization_for_each_that_is_explained(inside):
    with_it, without = (planned(inside, explain=explain) for explain in (True, False))
    assert with_it.estimate_s - without.estimate_s == pytest.approx(explain_s(with_it.explained))
    made = [deployment((Choice("ptq", params),)) for params in ((), (("rounding", "adaround"),))]
    plain, learned = (
        explain_s((Explained("t", one.artifact, with_it.explained[0].selection),)) for one in made
    )
    assert plain > EXPLAIN_S
    assert learned - plain == 57  # about_s: 60 and 3


@pytest.fixture(scope="module")
def asked():
    """Return a function: the request that explains a chain's last link on the small network."""

    def give(chain):
        placed = deployment(chain)
        task = MODELS["resnet-digits"].task
        selection = data(task, "selection", 100)
        calibration = placed.artifact.calibration
        ids = tuple((key(spec), stored(spec)) for spec in (selection, calibration) if spec)
        subject = Explained("int8", placed.artifact, selection)
        return StepRequest(Step("explain", subject), ids, limits=LIMITS)

    return give


def test_each_layer_has_its_noise_and_what_it_costs(asked):
    found = explain(asked(INT8), Trace())
    names = next(e.found for e in found.evidence if e.what == "layers").splitlines()
    kept = ("layer_snr", "selection_correct", "layer_correct")
    noise, whole, parts = (find(found, name).samples for name in kept)
    assert len(names) == len(set(names)) == len(noise) > 5
    assert all(10 < decibels < 80 for decibels in noise)
    assert (len(whole), len(parts)) == (100, 100 * len(names))
    assert {*whole, *parts} <= {0, 1}
    assert next(e.found for e in found.evidence if e.what == "judged by") == "labels"
    line = Record(asked(INT8).step, found, "s", "2026-11-25T00:00:00", 1.0)
    assert find(decode(encode(line), "here").outcome, "layer_correct").samples == parts


def test_fewer_bits_are_noisier(asked):
    eight, three = (explain(asked((Choice("ptq", (("weight_bits", bits),)),)), Trace()) for bits in (8, 3))
    first, second = (find(one, "layer_snr").samples for one in (eight, three))
    assert all(a > b + 10 for a, b in zip(first, second, strict=True))


def test_labels_judge_the_examples_that_are_heard(asked, monkeypatch):
    monkeypatch.setattr(explanation, "JUDGED_ON", 30)
    found = explain(asked(INT8), Trace())
    assert len(find(found, "selection_correct").samples) == 30


@pytest.mark.parametrize(("fixed", "rows", "filled"), [(None, 100, 0), (8, 104, 4), (50, 100, 0)])
def test_what_fills_up_a_fixed_batch_is_no_example(fixed, rows, filled, asked):
    subject = asked(INT8).step.subject
    artifact = load(cache.folder_of(subject.artifact))
    shaped = tuple(replace(one, shape=(fixed, *one.shape[1:])) for one in artifact.inputs)
    hop = replace(subject.artifact.way[-1], selection=subject.selection)
    chosen = given(hop, replace(artifact, inputs=shaped), dict(asked(INT8).data_ids)).selection
    assert len(next(iter(chosen.inputs.values()))) == rows
    assert (chosen.count, chosen.filled) == (100, filled)
    scores = np.zeros((rows, 10))
    assert len(chosen.right(scores)) == 100
    assert chosen.right(scores[:7]).tolist() == chosen.right(scores)[:7].tolist()
