"""--explain: which networks are explained, with what, and what the step finds."""

import pytest
from prepared import INT8, LIMITS, data, deployment, stored

from qbench.cases import Choice, Explained, Step, key
from qbench.models.base import MODELS
from qbench.profile import PROFILES
from qbench.records import find
from qbench.run import agenda
from qbench.run.plan import Selection
from qbench.run.protocol import StepRequest, Trace
from qbench.run.steps.explain import explain
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
    noise, won = (find(found, name).samples for name in ("layer_snr", "layer_recovered"))
    assert len(names) == len(set(names)) == len(noise) == len(won) > 5
    assert all(10 < decibels < 80 for decibels in noise)
    assert all(-1 <= share <= 1 for share in won)


def test_fewer_bits_are_noisier(asked):
    eight, three = (explain(asked((Choice("ptq", (("weight_bits", bits),)),)), Trace()) for bits in (8, 3))
    first, second = (find(one, "layer_snr").samples for one in (eight, three))
    assert all(a > b + 10 for a, b in zip(first, second, strict=True))
