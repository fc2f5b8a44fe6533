"""What a deployment costs before it answers: load, first call and memory, in a process with one engine."""

from __future__ import annotations

import time
from collections.abc import Callable

from qbench.backends.base import BACKENDS
from qbench.cases import Case
from qbench.measure.memory import peak_bytes, reset_peak, resident_bytes
from qbench.records import Measured, Measurement, Withheld
from qbench.run.protocol import StepRequest, Trace
from qbench.run.steps.session import Opened, open_case

ONE_MEMORY = "the device has no memory of its own that this engine counts: the process's peak holds it"
REPEATS = 21  # of what surrounds a call; the first is cold
CALLS = 5  # after the first: engines grow their arenas over the first few calls


def deploy(request: StepRequest, trace: Trace) -> Measured:
    """Import the engine, load, answer once, answer a few times more, and read the peak."""
    case = request.step.subject
    assert isinstance(case, Case)
    trace.stage = "import"
    BACKENDS[case.deployment.backend]().engine()
    imported, counted = resident_bytes(), reset_peak()
    opened = open_case(request, trace)
    loaded = peak_bytes() if counted else None
    inputs, clock_ns = opened.timed_inputs(), opened.session.clock_ns
    trace.stage = "first call"
    start_ns = clock_ns()
    opened.session.run(inputs)
    first_ns = clock_ns() - start_ns
    inputs = opened.longest(inputs)  # its memory is the file's peak
    for _ in range(CALLS):
        opened.session.run(inputs)
    trace.measurements = [
        Measurement("load_time", (opened.load_s,)),
        Measurement("first_inference", (first_ns * 1e-9,)),
    ]
    trace.measurements += _around_a_call(opened)
    withheld: tuple[Withheld, ...] = ()
    on_device = opened.session.device_peak_bytes()
    if on_device is None:
        withheld += (Withheld("device_memory", ONE_MEMORY),)
    else:
        trace.measurements.append(Measurement("device_memory", (on_device,)))
    peak = peak_bytes() if counted else None
    if peak is None or loaded is None or imported is None:
        reason = "this kernel has no resettable peak counter"
        absent = (Withheld(name, reason) for name in ("peak_memory", "load_memory", "engine_memory"))
        return Measured(tuple(trace.measurements), (*withheld, *absent))
    trace.measurements += [
        Measurement("peak_memory", (peak,)),
        Measurement("load_memory", (loaded,)),
        Measurement("engine_memory", (imported,)),
    ]
    return Measured(tuple(trace.measurements), withheld)


def _around_a_call(opened: Opened) -> list[Measurement]:
    """Time what a request does before and after the network: raw bytes to tensors, outputs to answers.

    Both run in numpy on one thread, as this project's tasks do; a server's own may differ.
    """
    wanted = opened.case.scenario.batch
    raw = {name: array[:wanted] for name, array in opened.examples.raw.items()}
    output = opened.session.run(opened.timed_inputs())[0]
    before = [_seconds(lambda: opened.task.prepare(raw)) for _ in range(REPEATS)]
    after = [_seconds(lambda: opened.task.answers(output)) for _ in range(REPEATS)]
    return [
        Measurement("preprocess_time", tuple(before[1:])),
        Measurement("postprocess_time", tuple(after[1:])),
    ]


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
