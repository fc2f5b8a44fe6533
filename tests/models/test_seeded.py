"""Networks of random weights: the same each time, sane inside, and of the size that they claim."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from qbench.cases import Choice, DataSpec
from qbench.data.base import preprocess
from qbench.data.noise import smooth_noise
from qbench.models.base import MODELS
from qbench.models.seeded import SeededModel
from qbench.models.zoo.resnet import ResNetShape
from qbench.run.choose import task_of

SMALL = SeededModel("small", ResNetShape(8, (8, 16), (2, 2), num_labels=10, side=32), "for this test")


def test_the_large_one_is_a_resnet18():
    """11,689,512 parameters, 1.81 billion multiply-adds: K. He et al., CVPR 2016, table 1."""
    model = MODELS["resnet18-224"]
    network = model.load().module
    assert sum(p.numel() for p in network.parameters()) == 11_689_512
    work = []
    for part in network.modules():
        if isinstance(part, (torch.nn.Conv2d, torch.nn.Linear)):
            part.register_forward_hook(lambda m, _, out: work.append(out.numel() * m.weight[0].numel()))
    with torch.inference_mode():
        logits = network(
            torch.from_numpy(preprocess(np.stack([smooth_noise(224, (7, 7, n)) for n in (1, 2)])))
        )
    assert sum(work) / 2 == pytest.approx(1.814e9, rel=1e-3)
    assert 0.1 < logits.std() < 10
    assert len(set(logits[0].tolist())) == 1_000


def test_its_task_is_the_one_that_asks_nothing():
    model = MODELS["resnet18-224"]
    assert model.task == Choice("speed_only", (("side", 224),))
    task = task_of(model.task)
    examples = task.examples(DataSpec(model.task, "test", 2, None, task.recipe()))
    (spec,) = model.load().inputs
    assert task.prepare(examples.raw)[spec.name].shape[1:] == spec.shape[1:]


def test_a_seed_gives_the_same_weights_whatever_was_drawn_before_and_leaves_no_trace():
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    first = SMALL.load().module.state_dict()
    assert torch.equal(torch.rand(1), wanted)
    again = SMALL.load().module.state_dict()
    other = replace(SMALL, seed=1).load().module.state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_batch_norms_know_what_reaches_them():
    network = SMALL.load().module
    reaches = {}
    for name, part in network.named_modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.register_forward_hook(lambda m, into, out, name=name: reaches.update({name: (m, out)}))
    images = np.stack([smooth_noise(32, (0, 99, row)) for row in range(64)])
    with torch.inference_mode():
        network(torch.from_numpy(preprocess(images)))
    assert len(reaches) >= 9
    for norm, out in reaches.values():
        assert norm.momentum == 0.1
        assert 0.5 < out.std() < 2  # with the statistics it is made with, the first one gives 4 and more


def test_content_changes_with_the_seed_the_name_and_the_shape():
    others = [
        replace(SMALL, seed=1),
        replace(SMALL, name="other"),
        replace(SMALL, shape=replace(SMALL.shape, num_labels=11)),
    ]
    assert len({model.content() for model in (SMALL, *others)}) == 4
    assert len(SMALL.content()) == 16
    assert replace(SMALL, about="other words").content() == SMALL.content()
