"""Energy per inference from a counter of joules: the windows, and whether their readings can be believed.

Knows no meter: it is given a function that reads one. A counter that stops, jumps or wraps, and a window too
short for its period, give a reason and no number.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

LEAST_S = 10.0  # of a window (methodology, "Energy")
LEAST_PERIODS = 100  # of the counter in a window: its grain is then a hundredth of the figure
IDLE_S, IDLE_PERIODS = 2.0, 20
READ_S = 0.1  # how often a counter is read during a window, or once a period where that is longer
STOOD_PERIODS = 10  # a counter that moves at its period stands still no longer than this
JUMP = 20.0  # times the usual power between two readings: no device does that
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

    The busy part lasts `window_s`, or a hundred periods of the counter where that is longer.
    """
    idle_s = max(IDLE_S, IDLE_PERIODS * counter.period_s)
    every_s = max(READ_S, counter.period_s)
    before = _idle(counter, idle_s, sleep)
    busy, calls = [counter.read()], 0
    until = busy[0][0] + max(window_s, LEAST_PERIODS * counter.period_s)
    reads_at = busy[0][0] + every_s
    while busy[-1][0] < until:
        call()
        calls += 1
        if clock_s() >= reads_at:
            busy.append(counter.read())
            reads_at = clock_s() + every_s
    return EnergyTrace(before, tuple(busy), _idle(counter, idle_s, sleep), calls)


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
    _moves(busy, period_s)
    _does_not_jump(busy)
    powers = [_power(part) for part in parts]
    idle_before, power, idle_after = powers
    idle, above = (idle_before + idle_after) / 2, power - (idle_before + idle_after) / 2
    why = ""
    if min(idle_before, idle_after) <= 0:
        why = "the counter did not move while nothing ran, and no device takes nothing"
    elif above <= 0:
        why = f"the device took {power:.3g} W in the window and {idle:.3g} W when idle"
    elif abs(idle_after - idle_before) > IDLE_MOVED * above:
        why = f"idle power moved from {idle_before:.3g} W to {idle_after:.3g} W over the window"
    gross = power * window_s / trace.calls
    net = None if why else above * window_s / trace.calls
    return Energy(gross, net, why, power, idle_before, idle_after, window_s)


def _idle(counter: Counter, idle_s: float, sleep: Callable[[float], object]) -> tuple[Reading, ...]:
    first = counter.read()
    sleep(idle_s)
    return first, counter.read()


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


def _moves(busy: Sequence[Reading], period_s: float) -> None:
    """Raise where the counter stood still for many of its own periods."""
    since = busy[0]
    longest = 0.0
    for reading in busy[1:]:
        if reading[1] > since[1]:
            since = reading
        longest = max(longest, reading[0] - since[0])
    if busy[-1][1] <= busy[0][1]:
        raise NoEnergy("the counter did not move at all during the window")
    if longest > max(STOOD_PERIODS * period_s, 3 * READ_S):
        raise NoEnergy(
            f"the counter stood still for {longest:.3g} s of the window, and its period is {period_s:.3g} s"
        )


def _does_not_jump(busy: Sequence[Reading]) -> None:
    powers = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in zip(busy, busy[1:], strict=False)]
    usual = median(powers)
    if usual > 0 and max(powers) > JUMP * usual:
        raise NoEnergy(
            f"the counter jumped: {max(powers):.3g} W between two readings, and {usual:.3g} W usually"
        )


def _power(part: Sequence[Reading]) -> float:
    return (part[-1][1] - part[0][1]) / (part[-1][0] - part[0][0])
