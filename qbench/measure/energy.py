"""Energy per inference from a counter of joules: the windows, and whether their readings can be believed.

Knows no meter: it is given a function that reads one. A counter that stops, jumps or wraps, and a window too
short for its period, give a reason and no number.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from qbench.measure.timing import STILL

LEAST_S = 10.0  # of a window (methodology, "Energy")
LEAST_PERIODS = 100  # of the counter in a window: its grain is then a hundredth of the figure
IDLE_S, IDLE_PERIODS = 2.0, 20
READ_S = 0.1  # how often a counter is read during a window, or once a period where that is longer
STOOD_PERIODS = 10  # a counter that moves at its period stands still no longer than this
LEAST_READINGS = 20  # of the busy part: fewer would hide a counter that stops or jumps
LONGEST_S = 60.0  # that a window is prolonged to for them
JUMP, JUMP_SHARE = 5.0, 0.02  # times the usual power between two readings, and so much of all joules more
IDLE_MOVED = 0.2  # of the power above idle: what the two idle powers may differ by

Reading = tuple[float, float]  # seconds on a clock that only goes forward, joules since whenever


class NoEnergy(Exception):  # noqa: N818 - no error of anybody's: a reason that stands in a number's place
    """Why these readings give no energy."""


@dataclass(frozen=True, slots=True)
class Counter:
    """A meter as this module sees it."""

    read: Callable[[], Reading]
    period_s: float  # how often its reading changes
    wraps_j: float | None = None  # where it begins anew; None: it does not


@dataclass(frozen=True, slots=True)
class EnergyTrace:
    """The readings of one window: idle, busy, idle; and how many calls the busy part held."""

    before: tuple[Reading, ...]
    busy: tuple[Reading, ...]
    after: tuple[Reading, ...]
    calls: int


@dataclass(frozen=True, slots=True)
class Energy:
    """Joules of one call, with and without what the device takes when idle."""

    gross_j: float
    net_j: float | None  # None: idle moved, or the device took no more than when idle
    why_no_net: str
    power_w: float
    idle_before_w: float
    idle_after_w: float
    window_s: float


def energy_window(
    call: Callable[[], object],
    counter: Counter,
    *,
    window_s: float = LEAST_S,
    sleep: Callable[[float], object] = time.sleep,
    clock_s: Callable[[], float] = time.monotonic,
) -> EnergyTrace:
    """Read the counter while nothing runs, while calls follow each other, and while nothing runs again.

    The busy part lasts `window_s`, or a hundred periods of the counter where that is longer; where calls are
    long it goes on until the counter was read twenty times, for a minute at most.

    Raises:
        NoEnergy: the clock does not move while a thousand calls are made.
    """
    idle_s = max(IDLE_S, IDLE_PERIODS * counter.period_s)
    every_s = max(READ_S, counter.period_s)
    before = _idle(counter, idle_s, every_s, sleep)
    busy, calls, still = [counter.read()], 0, 0
    start_s = now_s = clock_s()
    whole_s = max(window_s, LEAST_PERIODS * counter.period_s)
    reads_at = start_s + every_s
    while now_s - start_s < whole_s or (
        len(busy) < LEAST_READINGS and now_s - start_s < max(LONGEST_S, whole_s)
    ):
        call()
        calls += 1
        was_s, now_s = now_s, clock_s()
        still = still + 1 if now_s <= was_s else 0
        if still >= STILL:
            raise NoEnergy(f"the clock stood still during {STILL:,} calls in a row")
        if now_s >= reads_at:
            busy.append(counter.read())
            reads_at = now_s + every_s
    busy.append(counter.read())  # after the last call: every call counted lies between two readings
    return EnergyTrace(before, tuple(busy), _idle(counter, idle_s, every_s, sleep), calls)


def judge(trace: EnergyTrace, *, period_s: float, wraps_j: float | None = None) -> Energy:
    """Return the energy of one call, from readings that can be believed.

    Raises:
        NoEnergy: they cannot, and why.
    """
    parts = [_unwrapped(part, wraps_j) for part in (trace.before, trace.busy, trace.after)]
    before, busy, after = parts
    window_s = busy[-1][0] - busy[0][0]
    if window_s < LEAST_PERIODS * period_s or trace.calls < 1:
        raise NoEnergy(
            f"the window of {window_s:.3g} s is shorter than {LEAST_PERIODS} periods of the counter "
            f"({period_s:.3g} s each)"
        )
    if len(busy) < LEAST_READINGS:
        raise NoEnergy(
            f"the counter was read {len(busy)} times in {window_s:.3g} s, because calls are long; "
            f"{LEAST_READINGS} readings show that it neither stops nor jumps"
        )
    if fault := _stops(busy, period_s) or _jumps(busy):
        raise NoEnergy(fault)
    powers = [_power(part) for part in parts]
    idle_before, power, idle_after = powers
    idle, above = (idle_before + idle_after) / 2, power - (idle_before + idle_after) / 2
    why = ""
    fault = next((said for part in (before, after) if (said := _stops(part, period_s) or _jumps(part))), "")
    if min(idle_before, idle_after) <= 0:
        why = "the counter did not move while nothing ran, and no device takes nothing"
    elif fault:
        why = f"while nothing ran, {fault}"
    elif above <= 0:
        why = f"the device took {power:.3g} W in the window and {idle:.3g} W when idle"
    elif abs(idle_after - idle_before) > IDLE_MOVED * above:
        why = f"idle power moved from {idle_before:.3g} W to {idle_after:.3g} W over the window"
    gross = power * window_s / trace.calls
    net = None if why else above * window_s / trace.calls
    return Energy(gross, net, why, power, idle_before, idle_after, window_s)


def _idle(
    counter: Counter, idle_s: float, every_s: float, sleep: Callable[[float], object]
) -> tuple[Reading, ...]:
    readings = [counter.read()]
    while readings[-1][0] < readings[0][0] + idle_s and len(readings) <= 2 * idle_s / every_s:
        sleep(every_s)
        readings.append(counter.read())
    return tuple(readings)


def _unwrapped(readings: Sequence[Reading], wraps_j: float | None) -> list[Reading]:
    """Return readings that only rise: a wrap is added up, any other step back is a reason.

    A wrap is told from a jump by its size: the counter was in its last half and is now in its first.
    """
    if len(readings) < 2:
        raise NoEnergy("the counter was read once only: nothing is known between")
    rising, added = [readings[0]], 0.0
    for (was_s, was_j), (now_s, now_j) in zip(readings, readings[1:], strict=False):
        if now_s <= was_s:
            raise NoEnergy(f"the clock of the readings did not move on from {was_s:.6g} s")
        if now_j < was_j:
            if wraps_j is None or not now_j < wraps_j / 2 <= was_j <= wraps_j:
                raise NoEnergy(f"the counter jumped back from {was_j:.6g} J to {now_j:.6g} J")
            added += wraps_j
        rising.append((now_s, now_j + added))
    return rising


def _stops(readings: Sequence[Reading], period_s: float) -> str:
    """Return that the counter stood still for many of its own periods; nothing where it did not."""
    since = readings[0]
    longest = 0.0
    for reading in readings[1:]:
        if reading[1] > since[1]:
            since = reading
        longest = max(longest, reading[0] - since[0])
    if readings[-1][1] <= readings[0][1]:
        return "the counter did not move at all"
    if longest > max(STOOD_PERIODS * period_s, 3 * READ_S):
        return f"the counter stood still for {longest:.3g} s, and its period is {period_s:.3g} s"
    return ""


def _jumps(readings: Sequence[Reading]) -> str:
    """Return that the counter ran ahead by more than its usual power explains; nothing where it did not."""
    steps = [(b[0] - a[0], b[1] - a[1]) for a, b in zip(readings, readings[1:], strict=False)]
    usual = median(joules / length_s for length_s, joules in steps)
    total = readings[-1][1] - readings[0][1]
    for length_s, joules in steps:
        power, excess = joules / length_s, joules - usual * length_s
        if usual > 0 and power > JUMP * usual and excess > JUMP_SHARE * total:
            return f"the counter jumped: {power:.3g} W between two readings, and {usual:.3g} W usually"
    return ""


def _power(part: Sequence[Reading]) -> float:
    return (part[-1][1] - part[0][1]) / (part[-1][0] - part[0][0])
