"""Inside the child: do one request and turn whatever happens into a reply."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import suppress

from qbench.backends.base import BACKENDS, Probe
from qbench.codec import refuse_unstorable
from qbench.errors import QbenchError
from qbench.records import Failed, Measured, Measurement
from qbench.run.protocol import ProbeRequest, StepRequest, Trace
from qbench.run.steps.count import count
from qbench.run.steps.data import make_data
from qbench.run.steps.deploy import deploy
from qbench.run.steps.energy import measure_energy
from qbench.run.steps.explain import explain
from qbench.run.steps.prepare import prepare
from qbench.run.steps.score import score
from qbench.run.steps.timed import time_anchor, time_case

STEPS: dict[str, Callable[[StepRequest, Trace], Measured]] = {
    "data": make_data,
    "prepare": prepare,
    "score": score,
    "explain": explain,
    "deploy": deploy,
    "time": time_case,
    "anchor": time_anchor,
    "count": count,
    "energy": measure_energy,
}


def perform(request: StepRequest | ProbeRequest) -> Measured | Failed | Probe:
    """Do it. This is the one place where an unexpected exception is caught; it is recorded with its stage."""
    if isinstance(request, ProbeRequest):
        try:
            return BACKENDS[request.backend]().probe()
        except Exception as error:  # an engine may break in any way while it is asked what it can do
            return Probe(request.backend, "", (), f"the probe failed: {describe(error)}")
    trace = Trace()
    try:
        measured = STEPS[request.step.kind](request, trace)
        refuse_unstorable(measured.measurements)
        for output in measured.outputs:
            refuse_unstorable(output.measurements)
        return measured
    except Exception as error:  # the rest of the matrix goes on, whatever one cell does
        return Failed(trace.stage, describe(error), traceback.format_exc(), storable(trace.measurements))


def storable(measurements: list[Measurement]) -> tuple[Measurement, ...]:
    """Return those that can be stored: a failure must not be lost over a number that is NaN."""
    kept = []
    for measurement in measurements:
        with suppress(ValueError):
            refuse_unstorable((measurement,))
            kept.append(measurement)
    return tuple(kept)


def describe(error: BaseException) -> str:
    """Return an error's words: a QbenchError's own, any other's with its type in front."""
    text = str(error).strip()
    if isinstance(error, QbenchError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
