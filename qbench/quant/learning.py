"""Training a network to answer as another does: for QAT, distillation and what is left after pruning.

No labels are needed: the float network's own answers are the target (Hinton et al. 2015, arXiv:1503.02531,
section 2). A run is seeded, keeps a checkpoint every epoch and goes on from there when it was killed, and
stops at an epoch's end when its time is over.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from math import cos, isfinite, pi
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qbench.errors import Diverged
from qbench.folders import cache_folder, tell

if TYPE_CHECKING:
    from torch import Tensor

    from qbench.quant.torch_network import TorchNetwork

WARM_STEPS = 20  # the rate rises over so many
SOFTNESS = 2.0  # temperature of both answers: the runners-up count too
BLOWN = 20.0  # times the loss before training: nothing comes back from there
WORSE = 5.0  # times that, over a whole last epoch
LITTLE = 0.05  # nats: the loss of int8 before training, which any step may exceed many times
Take = Callable[[np.ndarray, np.random.Generator], dict[str, np.ndarray]]


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast; everything but data and networks that decides the result."""

    epochs: int
    learning_rate: float
    batch: int = 64
    seed: int = 0
    minutes: float = 0.0  # no further epoch is begun after so long; 0: no limit


@dataclass(frozen=True, slots=True)
class Learned:
    """How a run went."""

    epochs: int  # done
    loss: float  # mean of the last epoch
    first_loss: float  # of the first step, before any weight has moved
    wall_s: float  # of all processes that this run went through
    out_of_time: bool
    earlier_s: float = 0.0  # the part of it in processes that were killed, up to the last epoch they kept

    def __str__(self) -> str:
        """Write it as the record does."""
        ended = ", stopped by its time budget" if self.out_of_time else ""
        return (
            f"{self.epochs} epochs in {self.wall_s:.0f} s{ended}; "
            f"loss {self.first_loss:.3g} before, {self.loss:.3g} in the last epoch"
        )


def learn(
    student: TorchNetwork,
    teacher: TorchNetwork,
    take: Take,
    count: int,
    schedule: Schedule,
    *,
    key: str,
    after_step: Callable[[], None] | None = None,
) -> Learned:
    """Train the student's parameters that want gradients, in place, to answer as the teacher does.

    `take` gives the inputs of rows out of `count` examples. `key` names the checkpoint: it must change with
    everything that decides the result. `after_step` is called after every step, to hold weights in place.

    Raises:
        Diverged: the loss is no number any more, or far above where it began.
    """
    checkpoint = cache_folder() / "train" / f"{key}.pt"
    try:
        learned = _epochs(student, teacher, take, count, schedule, checkpoint, after_step)
    except Diverged:
        checkpoint.unlink(missing_ok=True)  # there is nothing to go on from
        raise
    checkpoint.unlink(missing_ok=True)  # the file made of it is kept, by the content of what made it
    return learned


def _epochs(
    student: TorchNetwork,
    teacher: TorchNetwork,
    take: Take,
    count: int,
    schedule: Schedule,
    checkpoint: Path,
    after_step: Callable[[], None] | None,
) -> Learned:
    import torch

    parameters = [parameter for parameter in student.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, schedule.learning_rate)
    first, spent_s, first_loss, loss = _resume(checkpoint, student, optimizer)
    steps = max(count // schedule.batch, 1)
    begun, done, out_of_time = time.perf_counter() - spent_s, first, False
    for epoch in range(first, schedule.epochs):
        wall_s = time.perf_counter() - begun
        if schedule.minutes and epoch and wall_s * (epoch + 1) / epoch > schedule.minutes * 60:
            out_of_time = True
            break
        rng = np.random.default_rng([schedule.seed, epoch])  # an epoch's own: resuming changes nothing
        torch.manual_seed(schedule.seed * 1009 + epoch)
        order, total = rng.permutation(count), 0.0
        for step in range(steps):
            rate = _rate(epoch * steps + step, schedule.epochs * steps)
            for group in optimizer.param_groups:
                group["lr"] = rate * schedule.learning_rate
            rows = np.sort(order[step * schedule.batch : (step + 1) * schedule.batch])
            inputs = {name: _tensor(array) for name, array in take(rows, rng).items()}
            found = distance(student(inputs)[0], _answers(teacher, inputs))
            optimizer.zero_grad()
            found.backward()
            optimizer.step()
            if after_step:
                after_step()
            total += found.item()
            mean = total / (step + 1)
            first_loss = mean if epoch == 0 and step == 0 else first_loss
            _sane(found.item(), first_loss, BLOWN, f"epoch {epoch + 1}, step {step + 1}", schedule)
            if step % 10 == 9:
                share = (epoch + (step + 1) / steps) / schedule.epochs
                tell(f"training: {share:.0%}, loss {mean:.3g}")
        loss, done = total / steps, epoch + 1
        kept = {"epochs": done, "wall_s": time.perf_counter() - begun, "first_loss": first_loss, "loss": loss}
        _save(checkpoint, student, optimizer, kept)
    _sane(loss, first_loss, WORSE, "its last epoch", schedule)
    return Learned(done, loss, first_loss, time.perf_counter() - begun, out_of_time, spent_s)


def checkpoint_key(*parts: Any) -> str:
    """Return a name for a run's checkpoint that changes with every one of these, with code and libraries.

    Half a run by one code and half by another would be kept as the product of the second.
    """
    digest = sha256(repr(parts).encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    for library in ("torch", "numpy"):  # numpy draws the order of the examples
        digest.update(f"{library} {version(library)};".encode())
    return digest.hexdigest()[:16]


def distance(answers: Tensor, wanted: Tensor) -> Tensor:
    """Return how far answers are from those wanted, a mean over the batch.

    Class scores (batch, classes): the divergence of the softened distributions, in nats. Anything else: the
    squared error over the variance of what is wanted.
    """
    import torch
    from torch.nn import functional

    if answers.dim() == 2 and answers.shape[1] > 1:
        true, own = (functional.log_softmax(scores / SOFTNESS, 1) for scores in (wanted, answers))
        return functional.kl_div(own, true, reduction="batchmean", log_target=True) * SOFTNESS**2
    return torch.mean((answers - wanted) ** 2) / (wanted.var() + 1e-12)


def _tensor(array: np.ndarray) -> Tensor:
    """Return an input; of images the channels lie together, which convolutions are faster with."""
    import torch

    tensor = torch.from_numpy(array)
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor


def _answers(teacher: TorchNetwork, inputs: dict[str, Tensor]) -> Tensor:
    import torch

    with torch.no_grad():
        return teacher(inputs)[0]


def _rate(step: int, steps: int) -> float:
    """Return the share of the learning rate: a short rise, then a cosine to zero."""
    return min((step + 1) / WARM_STEPS, 1.0) * (1 + cos(pi * step / steps)) / 2


def _sane(loss: float, usual: float, limit: float, where: str, schedule: Schedule) -> None:
    """Refuse a loss that is no number, or so many times what it was before training."""
    if isfinite(loss) and loss <= limit * max(usual, LITTLE):
        return
    raise Diverged(
        f"training diverged in {where}: the loss is {loss:.3g}, and was {usual:.3g} before training",
        fix=f"write learning_rate = {schedule.learning_rate / 10:g} (it was {schedule.learning_rate:g})",
    )


def _save(path: Path, student: Any, optimizer: Any, facts: dict[str, Any]) -> None:
    """Write under another name first, so that a kill in the middle costs one epoch."""
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {"student": student.state_dict(), "optimizer": optimizer.state_dict(), **facts}
    torch.save(kept, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def _resume(path: Path, student: Any, optimizer: Any) -> tuple[int, float, float, float]:
    import torch

    if not path.is_file():
        return 0, 0.0, 0.0, 0.0
    kept = torch.load(path, weights_only=True)
    student.load_state_dict(kept["student"])
    optimizer.load_state_dict(kept["optimizer"])
    return int(kept["epochs"]), float(kept["wall_s"]), float(kept["first_loss"]), float(kept["loss"])
