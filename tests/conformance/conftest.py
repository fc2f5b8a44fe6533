"""Products of every strategy on the small network, made once a session; deployments of them in the cache."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from qbench.cases import ArtifactSpec, Case, Choice, DataSpec, Deployment, Float, Hop, Scenario, Step, key
from qbench.errors import DoesNotFit
from qbench.formats import cache
from qbench.formats.artifact import load, save
from qbench.formats.calls import call_of, filled, spans_of
from qbench.formats.edges import EDGES
from qbench.formats.proof import covered
from qbench.formats.reference import NAME, Kept, reference_inputs, write_kept
from qbench.run.protocol import StepRequest
from qbench.strategies.base import STRATEGIES, Calibration, Selection, Training
from qbench.tasks.base import Examples, store

# Which technique makes a strategy's source, where not any that it takes: all that it can change is in there.
BEFORE = {
    "requantize": ("nncf_int8", {"preset": "mixed"}),  # signed and unsigned activations, zero points beside 0
    "to_ir": ("static_int8", {}),
}
CLASSES = 10


@pytest.fixture(scope="session")
def source_for(in_format, images, tmp_path_factory):
    """Return a function: what a strategy's route starts from, the float network or another one's product."""
    made = {}

    def give(strategy, route, body="network"):
        source = in_format(route.takes, body)
        try:
            strategy.state(source.state)
        except DoesNotFit:
            key = type(strategy), route, body
            if key not in made:
                made[key] = after_another(strategy, route, body)
            return made[key]
        return source

    def after_another(strategy, route, body):
        chosen = [BEFORE[name] for name in BEFORE if STRATEGIES[name] is type(strategy)]
        for name, parameters in chosen or [(name, {}) for name in STRATEGIES]:
            other = STRATEGIES[name](**parameters)
            for way in other.routes:
                if (
                    way.gives == route.takes
                    and accepts(other, Float())
                    and accepts(strategy, other.state(Float()))
                ):
                    folder = tmp_path_factory.mktemp(name)
                    return other.apply(in_format(way.takes, body), calibration(images), folder)
        raise AssertionError(f"no strategy gives a {route.takes} network that {strategy} takes")

    return give


def accepts(strategy, state):
    try:
        strategy.state(state)
    except DoesNotFit:
        return False
    return True


def calibration(images):
    """Return data of every kind that a strategy may need; labels are arbitrary and the same every time."""
    labels = np.arange(len(images)) % CLASSES
    training = Training("images of the tests", len(images), lambda rows, _: {"images": images[rows]}, labels)
    chosen = np.random.default_rng(1).standard_normal((300, *images.shape[1:])).astype("f4")
    selection = Selection("more images of the tests", {"images": chosen})
    return Calibration("images of the tests", {"images": images}, training=training, selection=selection)


@pytest.fixture(scope="session")
def product_of(source_for, images, tmp_path_factory):
    """Return a function: apply a strategy on a route, on the same calibration images every time.

    With `change`, on what that makes of them.
    """

    def give(strategy, route, body="network", change=lambda data: data):
        folder = tmp_path_factory.mktemp("product")
        return strategy.apply(source_for(strategy, route, body), change(calibration(images)), folder)

    return give


@pytest.fixture(scope="session")
def on_file(tmp_path_factory):
    """Return a function: a live product's file, by the edge that its state survives; a file as it is.

    With an engine's formats, it goes on to the first of them that one more edge leads to.
    """
    made = {}

    def convert(artifact, edge):
        if artifact.path is None:
            return edge.convert(artifact, tmp_path_factory.mktemp(edge.name))
        if (artifact.path, edge.name) not in made:
            made[artifact.path, edge.name] = edge.convert(artifact, tmp_path_factory.mktemp(edge.name))
        return made[artifact.path, edge.name]

    def give(artifact, formats=frozenset()):
        while artifact.path is None:
            edge = next(e for e in EDGES if e.takes == artifact.format and e.survives(artifact.state))
            artifact = convert(artifact, edge)
        onward = [e for e in EDGES if e.takes == artifact.format and e.gives in formats]
        onward = [e for e in onward if artifact.format not in formats and e.survives(artifact.state)]
        return convert(artifact, onward[0]) if onward else artifact

    return give


@pytest.fixture(scope="session")
def deploy(images, in_format):
    """Return a function: put an artifact and examples into the cache, give the request that scores them."""
    import torch

    def give(artifact, backend, technique=None, batch=1):
        source = Hop(
            "source", Choice("small network of the tests"), artifact.format, Float(), str(artifact.path)
        )
        link = Hop("technique", Choice(technique or ""), artifact.format, artifact.state, "")
        spec = ArtifactSpec(source.use, (source, link) if technique else (source,))
        if not cache.holds(spec):
            making = cache.workspace(spec)
            shutil.copytree(artifact.path.parent, making, dirs_exist_ok=True)
            inputs = filled(artifact.inputs, reference_inputs(in_format("torch").inputs))
            spans = spans_of(artifact.inputs, inputs)
            calls = [call_of(artifact.inputs, inputs, span)["images"] for span in spans]
            with torch.no_grad():
                wanted = [(in_format("torch").module(torch.from_numpy(call)).numpy(),) for call in calls]
            write_kept(making / NAME, Kept(inputs, spans, tuple(wanted)))
            moved = replace(artifact, path=making / artifact.path.name)
            save(replace(moved, covered=covered(moved)), making, spec)
            cache.publish(making, spec)
        examples = Examples("images-of-the-tests", {"images": images}, None)
        store(examples)
        evaluation = DataSpec(Choice("agreement"), "test", len(images))
        deployment = Deployment(spec, backend, "cpu", 1, "")
        case = Case("tests", technique or "fp32", "technique", deployment, evaluation, Scenario(batch=batch))
        request = StepRequest(Step("score", case), ((key(evaluation), examples.data_id),))
        return SimpleNamespace(request=request, case=case, artifact=load(cache.folder_of(spec)))

    return give
