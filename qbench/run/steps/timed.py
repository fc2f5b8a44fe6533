"""One round of one cell, and one round of the anchor: load, warm up, one window."""

from __future__ import annotations

import time

from qbench.measure.anchor import anchor_call
from qbench.measure.energy import why_unavailable
from qbench.measure.timing import Window, time_window
from qbench.measure.verdict import not_steady
from qbench.measure.witness import Witness
from qbench.records import Evidence, Measured, Measurement, Withheld
from qbench.run.protocol import StepRequest, Trace
from qbench.run.steps.session import open_case


def time_case(request: StepRequest, trace: Trace) -> Measured:
    """Time the deployment in the scenario; one stream, the same batch every call."""
    opened = open_case(request, trace)
    inputs = opened.timed_inputs()
    trace.stage = "measure"
    start = Witness.now()
    window = time_window(
        lambda: opened.session.run(inputs),
        clock_ns=opened.session.clock_ns,
        window_s=request.timing.window_s,
        warmup_cap_s=request.timing.warmup_cap_s,
    )
    verdict = not_steady(window.steady, sum(window.warmup_ns) * 1e-9)
    rows, batch = opened.fixed_batch, opened.case.scenario.batch
    filled = Evidence("batch", f"filled up to {rows}, the only size that the network takes")
    return Measured(
        (_as_measurement("latency", window), *Witness.now().since(start)),
        (Withheld("energy", why_unavailable()),),
        (verdict,) if verdict else (),
        (filled,) if rows and rows > batch else (),
    )


def time_anchor(request: StepRequest, trace: Trace) -> Measured:
    """Time the fixed kernel for a quarter of a window: it is the ruler, not the thing measured."""
    trace.stage = "measure"
    start = Witness.now()
    window = time_window(
        anchor_call(),
        clock_ns=time.perf_counter_ns,
        window_s=min(0.25, request.timing.window_s),
        warmup_cap_s=0.25,
    )
    return Measured((_as_measurement("anchor", window), *Witness.now().since(start)))


def _as_measurement(metric: str, window: Window) -> Measurement:
    samples = tuple(ns * 1e-9 for ns in window.samples_ns)
    warmup = tuple(ns * 1e-9 for ns in (window.first_ns, *window.warmup_ns))
    return Measurement(metric, samples, warmup, window.group)
