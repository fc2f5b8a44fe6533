"""Opening a deployment, and the few things that every step which opens one needs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle

import numpy as np

from qbench.backends.base import BACKENDS, Placement, Session
from qbench.cases import Case, key
from qbench.errors import DoesNotFit
from qbench.formats import cache
from qbench.formats.artifact import Artifact, load
from qbench.formats.signature import at_most, fed, fixed_batch
from qbench.meters.base import why_unavailable
from qbench.quant.cascade import escalated_at
from qbench.records import Withheld
from qbench.run.choose import task_of
from qbench.run.protocol import StepRequest, Trace
from qbench.tasks.base import Examples, Task, batch_of, fetch

LAP = 300  # examples that calls take in turn where what a call takes depends on its input


@dataclass(frozen=True, slots=True)
class Opened:
    """A deployment that answers, and the examples to ask it about."""

    case: Case
    artifact: Artifact
    session: Session
    task: Task
    examples: Examples
    load_s: float  # from file to a session that can answer
    simulated: str | None = None  # why the engine runs this state in float kernels, where it does

    @property
    def fixed_batch(self) -> int | None:
        """Return the one number of examples that a call takes, or None where it takes any.

        One, too, where an input that has no batch axis differs between examples.
        """
        specs = self.artifact.inputs
        return fixed_batch(specs) or (1 if at_most(specs, self.examples.raw, 2) == 1 else None)

    @property
    def escalated(self) -> int | None:
        """Return which output says that a second network answered; None where one network answers all."""
        alone = self.fixed_batch == 1
        return escalated_at([spec.name for spec in self.artifact.outputs]) if alone else None

    def some(self) -> dict[str, np.ndarray]:
        """Return the smallest batch that the network takes."""
        return self.batch(0, self.fixed_batch or 1)

    def batch(self, start: int, size: int) -> dict[str, np.ndarray]:
        """Return what one call for `size` examples from `start` on takes, in the network's own layout."""
        whole = self.fixed_batch is not None
        return fed(self.artifact.inputs, batch_of(self.task, self.examples, start, size, whole=whole))

    def all_inputs(self) -> dict[str, np.ndarray]:
        """Return the inputs of all examples, (count, ...) each."""
        return batch_of(self.task, self.examples, 0, len(self.examples))

    def timed_inputs(self) -> dict[str, np.ndarray]:
        """Return one batch of the scenario's size, the same for every deployment of a model.

        A network that takes batches of one size only is asked for a whole one, as its user would have to.

        Raises:
            DoesNotFit: the scenario's batch is larger than that.
        """
        fixed, wanted = self.fixed_batch, self.case.scenario.batch
        if fixed and wanted > fixed:
            raise DoesNotFit(
                f"this network takes batches of {fixed} only, and the scenario asks for {wanted}",
                fix=f"write batch = {fixed} in the suite, or export the network with a free first dimension",
            )
        return self.batch(0, fixed or wanted)

    def lap(self) -> tuple[dict[str, np.ndarray], ...]:
        """Return what timed calls are asked in turn: one batch, or the first examples where inputs matter.

        Raises:
            DoesNotFit: see timed_inputs.
        """
        usual = self.timed_inputs()
        if self.escalated is None:
            return (usual,)
        return tuple(self.batch(row, 1) for row in range(min(LAP, len(self.examples))))

    def call(self, lap: tuple[dict[str, np.ndarray], ...]) -> Callable[[], object]:
        """Return a call that asks these in turn, from any number of threads."""
        session = self.session
        if len(lap) == 1:
            return lambda: session.run(lap[0])
        turn = cycle(lap)
        return lambda: session.run(next(turn))

    def longest(self, usual: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return what takes all of the file: the first example that its second network answers.

        Without a second network, or where it answers none of the first examples, that is what is given.
        """
        if self.escalated is not None:
            for row in range(min(LAP, len(self.examples))):
                inputs = self.batch(row, 1)
                if self.escalates(inputs):
                    return inputs
        return usual

    def escalates(self, inputs: dict[str, np.ndarray]) -> bool:
        """Tell whether the second network answers this input."""
        return self.escalated is not None and bool(self.session.run(inputs)[self.escalated][0])


def no_energy(request: StepRequest, device: str) -> tuple[Withheld, ...]:
    """Say why there are no joules, in a run that has no steps for them."""
    return () if request.metered else (Withheld("energy", why_unavailable(device)),)


def open_case(request: StepRequest, trace: Trace) -> Opened:
    """Load the artifact on its engine.

    Raises:
        BadFile: the artifact or the examples are torn.
        NotAvailable: the engine took another device.
    """
    case = request.step.subject
    assert isinstance(case, Case)
    trace.stage = "load"
    deployment = case.deployment
    artifact = load(cache.folder_of(deployment.artifact))
    start = time.perf_counter()
    backend = BACKENDS[deployment.backend]()
    placement = Placement(deployment.device, deployment.threads, deployment.streams, deployment.options)
    session = backend.load(artifact, placement)
    load_s = time.perf_counter() - start
    examples = fetch(dict(request.data_ids)[key(case.evaluation)])
    simulated = backend.simulates(artifact.state, deployment.device)
    return Opened(case, artifact, session, task_of(case.evaluation.task), examples, load_s, simulated)
