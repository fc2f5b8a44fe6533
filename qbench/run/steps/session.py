"""Opening a deployment, and the few things that every step which opens one needs."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from qbench.backends.base import BACKENDS, Placement, Session
from qbench.cases import Case, key
from qbench.errors import DoesNotFit
from qbench.formats import cache
from qbench.formats.artifact import Artifact, load
from qbench.meters.base import why_unavailable
from qbench.records import Withheld
from qbench.run.choose import task_of
from qbench.run.protocol import StepRequest, Trace
from qbench.tasks.base import Examples, Task, batch_of, fetch


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
        """Return the one batch size that the network takes, or None where it takes any."""
        return self.artifact.inputs[0].shape[0] if self.artifact.inputs else None

    def some(self) -> dict[str, np.ndarray]:
        """Return the smallest batch that the network takes."""
        return self.batch(0, self.fixed_batch or 1)

    def batch(self, start: int, size: int) -> dict[str, np.ndarray]:
        """Return the inputs for `size` examples from `start` on."""
        return batch_of(self.task, self.examples, start, size, whole=self.fixed_batch is not None)

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
    placement = Placement(deployment.device, deployment.threads, deployment.streams)
    session = backend.load(artifact, placement)
    load_s = time.perf_counter() - start
    examples = fetch(dict(request.data_ids)[key(case.evaluation)])
    simulated = backend.simulates(artifact.state, deployment.device)
    return Opened(case, artifact, session, task_of(case.evaluation.task), examples, load_s, simulated)
