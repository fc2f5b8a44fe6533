"""A small network of the zoo, prepared for an engine and scored anywhere: requests of the real classes."""

from qbench.backends.base import BACKENDS
from qbench.cases import ArtifactSpec, Case, Choice, DataSpec, Deployment, Float, Hop, Scenario, Step, key
from qbench.formats import cache
from qbench.models.base import MODELS
from qbench.run.protocol import Limits, StepRequest, Trace
from qbench.run.steps.prepare import prepare
from qbench.run.way import Goal, find_way
from qbench.tasks.base import TASKS, store

FP32, INT8 = (), (Choice("static_int8"),)
LIMITS = Limits(time_s=300.0)


def deployment(chain, backend="onnxruntime", use="resnet-digits", **more):
    """Prepare the network through the chain, in this process, and return where it is deployed."""
    model = MODELS[use]
    source = Hop("source", Choice(use), model.format, Float(), model.content())
    calibration = data(model.task, "calibration", 64)
    way = find_way(source, chain, Goal(backend, BACKENDS[backend].runs), lambda split: calibration)
    spec = ArtifactSpec(Choice(use), way)
    if not cache.holds(spec):
        ids = ((key(calibration), stored(calibration)),)
        prepare(StepRequest(Step("prepare", spec), ids), Trace())
    return Deployment(spec, backend, "cpu", 1, "", **more)


def data(task, split, count):
    return DataSpec(task, split, count, None, TASKS[task.name](**dict(task.params)).recipe())


def stored(spec):
    """Store the examples and return their id."""
    examples = TASKS[spec.task.name](**dict(spec.task.params)).examples(spec)
    store(examples)
    return examples.data_id


def asked(kind, placed, *, count=50, batch=1, **more):
    """Return the request that does this kind of step with the deployment."""
    evaluation = data(MODELS[placed.artifact.model.name].task, "test", count)
    role = "technique" if placed.artifact.chain else "fp32"
    scenario = Scenario("counted" if kind == "count" else "single", batch)
    case = Case("a suite", "a technique", role, placed, evaluation, scenario)
    return StepRequest(Step(kind, case), ((key(evaluation), stored(evaluation)),), limits=LIMITS, **more)
