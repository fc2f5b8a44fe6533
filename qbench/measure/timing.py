"""Timing a call: warm up until steady, then one window. Knows no model; the clock is handed in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

TOO_SHORT_NS = 20_000  # calls shorter than this are timed in groups: the clock's own cost would show
GROUP_NS = 100_000  # a group lasts about this long
BLOCK = 5  # calls per block of the warm-up
STEADY = 0.05  # blocks whose medians differ by less than this show no trend any more
LEAST_NS = 100_000_000  # shorter warm-ups look steady inside one slice of a scheduler, and are not


@dataclass(frozen=True, slots=True)
class Window:
    """What one window gave: durations of single calls (or of groups, divided by their size)."""

    first_ns: int  # the very first call, cold
    warmup_ns: tuple[int, ...]
    samples_ns: tuple[float, ...]
    group: int
    steady: bool


def time_window(
    call: Callable[[], object], *, clock_ns: Callable[[], int], window_s: float, warmup_cap_s: float
) -> Window:
    """Call until steady, at most `warmup_cap_s`; then call for `window_s` and keep every duration.

    The first call is told apart from the warm-up, the warm-up from the samples, and nothing is averaged. A
    call that is longer than the window is timed once more and once only.
    """
    first = _timed(call, clock_ns)
    warmup, steady = _warm_up(call, clock_ns, int(warmup_cap_s * 1e9) - first)
    typical = median(warmup[-BLOCK:])
    group = max(1, round(GROUP_NS / max(typical, 1))) if typical < TOO_SHORT_NS else 1
    samples: list[float] = []
    end = clock_ns() + int(window_s * 1e9)
    while not samples or clock_ns() < end:
        if group == 1:
            samples.append(_timed(call, clock_ns))
        else:
            samples.append(_timed_group(call, clock_ns, group))
    return Window(first, tuple(warmup), tuple(samples), group, steady)


def _timed(call: Callable[[], object], clock_ns: Callable[[], int]) -> int:
    start = clock_ns()
    call()
    return clock_ns() - start


def _timed_group(call: Callable[[], object], clock_ns: Callable[[], int], group: int) -> float:
    start = clock_ns()
    for _ in range(group):
        call()
    return (clock_ns() - start) / group


def _warm_up(call: Callable[[], object], clock_ns: Callable[[], int], cap_ns: int) -> tuple[list[int], bool]:
    """Return the durations of the warm-up and whether it ended because the calls were steady.

    Steady means: a tenth of a second has gone by, and the medians of the last three blocks lie within 5 % of
    each other, so neither a trend nor a jump is left in them. There is one warm call at least, whatever the
    cap: how a cold one lasted says nothing of the next.
    """
    taken: list[int] = []
    start = clock_ns()
    while not taken or clock_ns() < start + cap_ns:
        taken.append(_timed(call, clock_ns))
        long_enough = clock_ns() >= start + min(LEAST_NS, cap_ns // 2)
        if long_enough and len(taken) >= 3 * BLOCK and len(taken) % BLOCK == 0:
            blocks = [median(taken[len(taken) - BLOCK * (n + 1) : len(taken) - BLOCK * n]) for n in range(3)]
            if max(blocks) <= min(blocks) * (1 + STEADY):
                return taken, True
    return taken, False
