"""What every model promises, present or future: parametrized over the registry, and the user's own file."""

import numpy as np
import pytest

from qbench.cases import Choice, Float
from qbench.formats.reference import reference_inputs
from qbench.models.base import MODELS
from qbench.run.choose import model_of, task_of

NAMES = [*MODELS, "the user's own"]


@pytest.fixture(params=NAMES)
def model(request, in_format):
    return model_of(Choice(str(in_format("onnx").path) if request.param == NAMES[-1] else request.param))


def test_content_is_a_digest_that_stays(model):
    assert len(model.content()) == 16
    assert model.content() == model.content()


def test_a_model_says_what_it_is_and_what_it_is_for(model):
    assert model.about
    assert task_of(model.task).about


def test_a_model_gives_what_it_declares_and_finite_numbers(model):
    artifact = model.load()
    assert artifact.format == model.format
    assert isinstance(artifact.state, Float)
    answers = answers_of(artifact, reference_inputs(artifact.inputs))
    assert len(answers) == len(artifact.outputs)
    for answer, spec in zip(answers, artifact.outputs, strict=True):
        assert answer.dtype == spec.dtype
        assert answer.shape == tuple(8 if size is None else size for size in spec.shape)
        assert np.isfinite(answer).all()


def answers_of(artifact, inputs):
    if artifact.format == "torch":
        import torch

        with torch.no_grad():
            answers = artifact.module(*map(torch.from_numpy, inputs.values()))
        return [answer.numpy() for answer in (answers if isinstance(answers, tuple) else (answers,))]
    from qbench.backends.base import BACKENDS, Placement

    engine = next(BACKENDS[name] for name in BACKENDS if artifact.format in BACKENDS[name].runs)
    return engine().load(artifact, Placement()).run(inputs)
