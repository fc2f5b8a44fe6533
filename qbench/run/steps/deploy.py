"""What a deployment costs before it answers: load, first call and memory, in a process with one engine."""

from __future__ import annotations

from qbench.backends.base import BACKENDS
from qbench.cases import Case
from qbench.measure.memory import peak_bytes, reset_peak, resident_bytes
from qbench.records import Measured, Measurement, Withheld
from qbench.run.protocol import StepRequest, Trace
from qbench.run.steps.session import open_case

CALLS = 5  # after the first: engines grow their arenas over the first few calls


def deploy(request: StepRequest, trace: Trace) -> Measured:
    """Import the engine, load, answer once, answer a few times more, and read the peak."""
    case = request.step.subject
    assert isinstance(case, Case)
    trace.stage = "import"
    BACKENDS[case.deployment.backend]().engine()
    imported, counted = resident_bytes(), reset_peak()
    opened = open_case(request, trace)
    inputs, clock_ns = opened.timed_inputs(), opened.session.clock_ns
    trace.stage = "first call"
    start_ns = clock_ns()
    opened.session.run(inputs)
    first_ns = clock_ns() - start_ns
    for _ in range(CALLS):
        opened.session.run(inputs)
    trace.measurements = [
        Measurement("load_time", (opened.load_s,)),
        Measurement("first_inference", (first_ns * 1e-9,)),
    ]
    peak = peak_bytes() if counted else None
    if peak is None or imported is None:
        reason = "this kernel has no resettable peak counter"
        withheld: tuple[Withheld, ...] = (Withheld("peak_memory", reason), Withheld("engine_memory", reason))
        return Measured(tuple(trace.measurements), withheld)
    trace.measurements += [Measurement("peak_memory", (peak,)), Measurement("engine_memory", (imported,))]
    return Measured(tuple(trace.measurements))
