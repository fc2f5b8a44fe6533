"""Training what is left of a network after it was cut: toward the answers it gave before, zeros held.

Shared by pruning and distillation, whose students differ and whose training does not (learning.py).
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Protocol

import numpy as np

from qbench.errors import BadParameter, DoesNotFit
from qbench.quant.learning import Learned, Schedule, Take, checkpoint_key, learn
from qbench.quant.qdq_graph import ONNX_MACS
from qbench.quant.torch_network import TorchNetwork, torch_network


class Lessons(Protocol):
    """Examples to learn from; strategies.base.Training is one."""

    @property
    def data_id(self) -> str:
        """Return what names exactly these examples."""

    @property
    def count(self) -> int:
        """Return how many there are."""

    @property
    def take(self) -> Take:
        """Return what makes rows of them into inputs."""


USUAL = Schedule(epochs=0, learning_rate=5e-4)  # what a link has where a suite says nothing of training


def check_schedule(technique: str, schedule: Schedule, *, least: int = 0) -> None:
    """Check what a suite wrote about training.

    Raises:
        BadParameter: fewer than `least` epochs, a number out of its range, or one that says how to train
            where no epoch is asked.
    """
    for name, low in (("epochs", least), ("batch", 1), ("seed", 0), ("minutes", 0)):
        if getattr(schedule, name) < low:
            raise BadParameter(
                f"{technique}: {name} = {getattr(schedule, name)} is below {low}",
                fix=f"write {name} = {low} or more",
            )
    if not 0 < schedule.learning_rate <= 1:
        raise BadParameter(
            f"{technique}: learning_rate = {schedule.learning_rate:g} is not above 0 and at most 1",
            fix="write learning_rate = 0.0005",
        )
    if not schedule.epochs:
        _refuse_idle(technique, schedule)


def _refuse_idle(technique: str, schedule: Schedule) -> None:
    for name in ("batch", "learning_rate", "seed", "minutes"):
        value = getattr(schedule, name)
        if value != getattr(USUAL, name):
            raise BadParameter(
                f"{technique}: {name} = {value:g} says nothing to epochs = 0, which trains nothing",
                fix=f"write epochs = 1 beside it, or leave {name} out",
            )


def refined(
    technique: str,
    student: Any,
    teacher: Any,
    lessons: Lessons | None,
    schedule: Schedule,
    asked: tuple[Any, ...],
) -> tuple[Any, Learned | None]:
    """Return the student (an ONNX model) trained to answer as the teacher; as it is where no epoch is asked.

    A weight of a product that is exactly 0 stays so. `asked` are the strategy's parameters, for the name of
    the checkpoint that a killed run goes on from.

    Raises:
        DoesNotFit: there is nothing to learn from, or an operator that torch_network does not cover.
        Diverged: training came to no good end.
    """
    if not schedule.epochs:
        return student, None
    if lessons is None or not lessons.count:
        raise DoesNotFit(
            f"{technique} learns from training examples when epochs = {schedule.epochs}, and there are none",
            fix="write epochs = 0, or take a task with training examples"
            if technique != "distill"
            else "take a task with training examples, or channel_prune with epochs = 0",
        )
    # the student too: what cut it is the technique's own code
    source = [sha256(one.SerializeToString(deterministic=True)).hexdigest() for one in (student, teacher)]
    learner, wanted = torch_network(student), torch_network(teacher)
    for parameter in wanted.parameters():
        parameter.requires_grad_(False)
    told = learn(
        learner,
        wanted,
        lessons.take,
        lessons.count,
        schedule,
        key=checkpoint_key(technique, asked, source, lessons.data_id, schedule.batch),
        after_step=holder(learner, zeros_of(student)),
    )
    return learner.write_back(), told


def zeros_of(model: Any) -> dict[str, np.ndarray]:
    """Return where the stored weights of products are exactly 0, of those that hold such places."""
    from onnx import numpy_helper

    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    names = {
        node.input[position]
        for node in model.graph.node
        for position in ONNX_MACS.get(node.op_type, ((), ()))[0]
        if position < len(node.input) and node.input[position] in stored
    }
    found = {name: numpy_helper.to_array(stored[name]) == 0 for name in sorted(names)}
    return {name: zeros for name, zeros in found.items() if zeros.any()}


def holder(learner: TorchNetwork, zeros: dict[str, np.ndarray]) -> Any:
    """Return a function that puts zeros back in place: for what training must not grow again."""
    import torch

    weights = learner.weights
    held = [(weights[name], torch.from_numpy(places)) for name, places in zeros.items() if name in weights]

    def hold() -> None:
        with torch.no_grad():
            for weight, places in held:
                weight.masked_fill_(places, 0.0)

    return hold
