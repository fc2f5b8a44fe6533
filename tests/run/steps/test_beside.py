"""A score at the batch that is timed, where answers depend on it; and what a user says of outputs."""

from dataclasses import replace

import numpy as np
import pytest
from prepared import FP32, asked, deployment

from qbench.backends.onnxruntime import OnnxRuntimeSession
from qbench.cases import Choice, Quantized, Scenario, Step
from qbench.errors import BadParameter
from qbench.records import find
from qbench.run.protocol import Baseline, Trace
from qbench.run.steps.kept import answers_file
from qbench.run.steps.score import score
from qbench.tasks.image_classification import ImageClassification

DYNAMIC = (Choice("dynamic_int8"),)


@pytest.fixture(scope="module")
def dynamic():
    return deployment(DYNAMIC)


@pytest.mark.parametrize("batch", [1, 8])
def test_answers_that_depend_on_the_batch_are_scored_at_the_one_that_is_timed(dynamic, batch, monkeypatch):
    sizes = []
    honest = OnnxRuntimeSession.run

    def noting(self, inputs):
        sizes.append(len(next(iter(inputs.values()))))
        return honest(self, inputs)

    request = asked("score", dynamic, count=16, batch=batch)
    monkeypatch.setattr(OnnxRuntimeSession, "run", noting)
    found = score(request, Trace())
    assert sizes[-16 // batch :] == [batch] * (16 // batch)
    assert next(e.found for e in found.evidence if e.what == "scored at batch") == str(batch)


def test_such_a_score_is_of_its_batch_and_any_other_of_the_deployment_alone(dynamic):
    for placed, differ in ((dynamic, True), (deployment(FP32), False)):
        case = asked("score", placed).step.subject
        larger = replace(case, scenario=Scenario("single", 8))
        assert (Step("score", case).key != Step("score", larger).key) is differ
        assert (answers_file(case, "d") != answers_file(larger, "d")) is differ
    assert isinstance(dynamic.artifact.state, Quantized)


def test_a_kind_that_an_output_cannot_be_is_told_by_the_float_network_already(monkeypatch):
    request = asked("score", deployment(FP32), count=16)
    monkeypatch.setattr(ImageClassification, "kinds", lambda _: {"logits": "sigmoid"})
    with pytest.raises(BadParameter, match="from 0 to 1(.|\n)*read as scores"):
        score(request, Trace())


def test_the_score_of_a_technique_has_every_output_beside_float_s(dynamic):
    base = asked("score", deployment(FP32), count=16)
    float_one = score(base, Trace())
    data_id = next(e.found for e in float_one.evidence if e.what == "data id")
    told = Baseline(str(answers_file(base.step.subject, data_id)), 0.9)
    found = score(replace(asked("score", dynamic, count=16), baseline=told), Trace())
    (output,) = found.outputs
    assert output.decides == "same_first"
    assert np.mean(next(m.samples for m in output.measurements if m.metric == "same_first")) > 0.8
    assert find(found, "correct") is not None
