"""One round of one cell, and one round of the anchor: load, warm up, one window."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from qbench.cases import Anchor
from qbench.measure.anchor import anchor_call
from qbench.measure.slowdown import slowed
from qbench.measure.throughput import saturate
from qbench.measure.timing import BrokenClock, Window, time_window
from qbench.measure.verdict import not_steady
from qbench.measure.witness import Witness
from qbench.records import Evidence, Measured, Measurement, Withheld
from qbench.run.protocol import StepRequest, Trace
from qbench.run.steps.session import Opened, no_energy, open_case

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

SATURATED = "saturated: how often a request is done is measured, not how long one waits"
SINGLE = "one stream: calls per second computed from latency would be no throughput"
ONE_STREAM = "energy is measured with one stream: the cell with one stream has it"
WARMUP_S = 0.5  # of all streams together, before their ends are counted


def time_case(request: StepRequest, trace: Trace) -> Measured:
    """Time the deployment in its scenario, the same batch every call."""
    opened = open_case(request, trace)
    inputs = opened.timed_inputs()
    trace.stage = "measure"
    rows, batch = opened.fixed_batch, opened.case.scenario.batch
    filled = Evidence("batch", f"filled up to {rows}, the only size that the network takes")
    evidence = (filled,) if rows and rows > batch else ()
    start = Witness.now()
    if opened.case.scenario.name == "saturated":
        throughput = _saturated(opened, inputs, request)
        withheld = (Withheld("latency", SATURATED), Withheld("energy", ONE_STREAM))
        return Measured((throughput, *Witness.now().since(start)), withheld, (), evidence)
    try:
        window = time_window(
            _call(opened, inputs),
            clock_ns=opened.session.clock_ns,
            window_s=request.timing.window_s,
            warmup_cap_s=request.timing.warmup_cap_s,
        )
    except BrokenClock as broken:
        withheld = (Withheld("latency", broken.problem), Withheld("throughput", SINGLE))
        return Measured(Witness.now().since(start), withheld, (), evidence)
    verdict = not_steady(window.steady, sum(window.warmup_ns) * 1e-9, request.timing.warmup_cap_s)
    return Measured(
        (_as_measurement("latency", window), *Witness.now().since(start)),
        (Withheld("throughput", SINGLE), *no_energy(request, opened.case.deployment.device)),
        (verdict,) if verdict else (),
        evidence,
    )


def _call(opened: Opened, inputs: dict[str, np.ndarray]) -> Callable[[], object]:
    """Return the timed call; slowed down where the scenario says so, as it is elsewhere."""
    session = opened.session
    return slowed(lambda: session.run(inputs), opened.case.scenario.slowed, session.clock_ns, session.spend)


def _saturated(opened: Opened, inputs: dict[str, np.ndarray], request: StepRequest) -> Measurement:
    """Return examples per second with every stream calling without a pause."""
    found = saturate(
        _call(opened, inputs),
        streams=opened.case.deployment.streams,
        clock_ns=opened.session.clock_ns,
        window_s=request.timing.window_s,
        warmup_s=min(WARMUP_S, request.timing.warmup_cap_s),
    )
    batch = opened.case.scenario.batch  # a fixed batch may be larger: what fills it up serves nobody
    return Measurement("throughput", tuple(rate * batch for rate in found.rates_per_s))


def time_anchor(request: StepRequest, trace: Trace) -> Measured:
    """Time a fixed kernel for a quarter of a window: it is the ruler, not the thing measured."""
    assert isinstance(request.step.subject, Anchor)
    trace.stage = "measure"
    start = Witness.now()
    window = time_window(
        anchor_call(request.step.subject.kernel),
        clock_ns=time.perf_counter_ns,
        window_s=min(0.25, request.timing.window_s),
        warmup_cap_s=0.25,
    )
    return Measured((_as_measurement("anchor", window), *Witness.now().since(start)))


def _as_measurement(metric: str, window: Window) -> Measurement:
    samples = tuple(ns * 1e-9 for ns in window.samples_ns)
    warmup = tuple(ns * 1e-9 for ns in (window.first_ns, *window.warmup_ns))
    return Measurement(metric, samples, warmup, window.group)
