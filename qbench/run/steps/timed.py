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

    Lap = tuple[dict[str, np.ndarray], ...]

SATURATED = "saturated: how often a request is done is measured, not how long one waits"
SINGLE = "one stream: calls per second computed from latency would be no throughput"
ONE_STREAM = "energy is measured with one stream: the cell with one stream has it"
WARMUP_S = 0.5  # of all streams together, before their ends are counted


def time_case(request: StepRequest, trace: Trace) -> Measured:
    """Time the deployment in its scenario: the same batch every call, where the input does not matter.

    Where it does, calls take the first examples in turn, in whole laps, so that mean and tail are those of
    the mix. The warm-up repeats one that both networks answer: it is steady, and it warms both.
    """
    opened = open_case(request, trace)
    lap = opened.lap()
    trace.stage = "measure"
    rows, batch = opened.fixed_batch, opened.case.scenario.batch
    filled = Evidence("batch", f"filled up to {rows}, the only size that the network takes")
    warm, told = _warm(opened, lap)
    evidence = (filled, *told) if rows and rows > batch else told
    start = Witness.now()
    if opened.case.scenario.name == "saturated":
        throughput = _saturated(opened, lap, request)
        withheld = (Withheld("latency", SATURATED), Withheld("energy", ONE_STREAM))
        return Measured((throughput, *Witness.now().since(start)), withheld, (), evidence)
    try:
        window = time_window(
            _call(opened, lap),
            clock_ns=opened.session.clock_ns,
            window_s=request.timing.window_s,
            warmup_cap_s=request.timing.warmup_cap_s,
            warm=_call(opened, (warm,)) if warm else None,
            lap=len(lap),
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


def _warm(opened: Opened, lap: Lap) -> tuple[dict[str, np.ndarray] | None, tuple[Evidence, ...]]:
    """Return what the warm-up repeats, where calls differ, and how many of them take the longer way."""
    if opened.escalated is None:
        return None, ()
    went = [opened.escalates(inputs) for inputs in lap]
    told = f"{len(lap)} examples in turn, in whole laps; {sum(went)} of them escalate"
    return lap[went.index(True) if any(went) else 0], (Evidence("timed calls", told),)


def _call(opened: Opened, lap: Lap) -> Callable[[], object]:
    """Return the timed call; slowed down where the scenario says so, as it is elsewhere."""
    session = opened.session
    return slowed(opened.call(lap), opened.case.scenario.slowed, session.clock_ns, session.spend)


def _saturated(opened: Opened, lap: Lap, request: StepRequest) -> Measurement:
    """Return examples per second with every stream calling without a pause."""
    found = saturate(
        _call(opened, lap),
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
