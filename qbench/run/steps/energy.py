"""One window of energy of one cell: load, warm up, idle, calls, idle; and the meter that it is told by."""

from __future__ import annotations

import time
from functools import partial

from qbench.errors import NotAvailable
from qbench.measure.energy import Counter, Energy, NoEnergy, energy_window, judge
from qbench.measure.witness import Witness
from qbench.meters.base import METERS, EnergyMeter, best_meter, why_unavailable
from qbench.records import Evidence, Measured, Measurement, Withheld
from qbench.run.protocol import StepRequest, Trace
from qbench.run.steps.session import Opened, open_case

WARMUP_S = 1.0  # the device's clock rate and its fans have their say in it


def measure_energy(request: StepRequest, trace: Trace) -> Measured:
    """Measure one window. Whatever the meter does, there is an energy or the reason why there is none."""
    opened = open_case(request, trace)
    device = opened.case.deployment.device
    trace.stage = "meter"
    kind = best_meter(device)
    if kind is None:
        return Measured((), (Withheld("energy", why_unavailable(device)),))
    try:
        meter = kind.open(device)
    except Exception as error:  # a meter may break in any way; the cell's other figures stand
        said = error.problem if isinstance(error, NotAvailable) else repr(error)
        return Measured((), (Withheld("energy", f"unavailable: {said}"),))
    name = next(name for name in METERS if METERS[name] is kind)
    evidence = (
        Evidence("energy is told by", f"{name}: {meter.provenance}, domain {meter.domain}"),
        Evidence("the meter's period", f"{meter.period_s:.3g} s"),
    )
    trace.stage = "measure"
    start = Witness.now()
    try:
        found = _window(opened, meter, request)
    except (NoEnergy, NotAvailable) as reason:
        said = reason.problem if isinstance(reason, NotAvailable) else str(reason)
        return Measured(Witness.now().since(start), (Withheld("energy", said),), (), evidence)
    finally:
        meter.close()
    batch = opened.case.scenario.batch
    measured = [
        Measurement("energy", (found.gross_j / batch,)),
        Measurement("power", (found.power_w,)),
        Measurement("idle_power", (found.idle_before_w, found.idle_after_w)),
    ]
    if found.net_j is not None:
        measured.append(Measurement("energy_net", (found.net_j / batch,)))
    withheld = () if found.net_j is not None else (Withheld("energy_net", found.why_no_net),)
    return Measured((*measured, *Witness.now().since(start)), withheld, (), evidence)


def _read(meter: EnergyMeter) -> tuple[float, float]:
    """Read the meter; whatever it raises is its own failure, and no call's."""
    try:
        return meter.read()
    except NotAvailable:
        raise
    except Exception as error:
        raise NotAvailable(f"the meter failed: {error!r}", fix="measure again") from error


def _window(opened: Opened, meter: EnergyMeter, request: StepRequest) -> Energy:
    call = opened.call(opened.lap())
    until = time.monotonic() + WARMUP_S
    while time.monotonic() < until:
        call()
    taken = energy_window(
        call,
        Counter(partial(_read, meter), meter.period_s, meter.wraps_j),
        window_s=request.timing.energy_s,
    )
    return judge(taken, period_s=meter.period_s, wraps_j=meter.wraps_j)
