"""Timing a call: warm up until steady, then one window. Knows no model; the clock is handed in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from qbench.errors import QbenchError

TOO_SHORT_NS = 20_000  # calls shorter than this are timed in groups: the clock's own cost would show
GROUP_NS = 100_000  # a group lasts about this long
BLOCK = 5  # calls per block of the warm-up
STEADY = 0.05  # blocks whose medians differ by less than this show no trend any more
STILL = 1_000  # calls in a row during which the clock does not move: no call of any network is that quick
CLOCK_FIX = "look at the kernel's log and its clock source; in a virtual machine, at the host's"
LEAST_NS = 100_000_000  # shorter warm-ups look steady inside one slice of a scheduler, and are not


class BrokenClock(QbenchError):
    """The clock that calls are timed with stands still or goes back: no duration on it means anything."""


@dataclass(frozen=True, slots=True)
class Window:
    """What one window gave: durations of single calls (or of groups, divided by their size)."""

    first_ns: int  # the very first call, cold
    warmup_ns: tuple[int, ...]
    samples_ns: tuple[float, ...]
    group: int
    steady: bool


def time_window(
    call: Callable[[], object],
    *,
    clock_ns: Callable[[], int],
    window_s: float,
    warmup_cap_s: float,
    warm: Callable[[], object] | None = None,
    lap: int = 1,
) -> Window:
    """Call until steady, at most `warmup_cap_s`; then call for `window_s` and keep every duration.

    The first call is told apart from the warm-up, the warm-up from the samples, and nothing is averaged. A
    call that is longer than the window is timed once more and once only.

    Where calls differ from each other, `lap` of them are one round of all kinds: the window ends with a whole
    number of laps, so that each kind has its share. They show no steady median, so `warm` is called instead
    until steady: it must warm up whatever `call` uses.

    Raises:
        BrokenClock: the clock goes back, or does not move while a thousand calls are made.
    """
    watch = _Stopwatch(warm or call, clock_ns)
    first = watch.one()
    warmup, steady = _warm_up(watch, clock_ns, int(warmup_cap_s * 1e9) - first)
    typical = median(warmup[-BLOCK:])
    group = max(1, round(GROUP_NS / max(typical, 1))) if typical < TOO_SHORT_NS else 1
    watch.turn_to(call)
    samples: list[float] = []
    end = clock_ns() + int(window_s * 1e9)
    while not samples or clock_ns() < end or len(samples) % lap:
        samples.append(watch.one() if group == 1 else watch.several(group))
    return Window(first, tuple(warmup), tuple(samples), group, steady)


def believe(moved_ns: int, still: int) -> None:
    """Raise where a clock that moved so far, and stood still during so many calls in a row, cannot be right.

    Raises:
        BrokenClock: it went back, or stood still during a thousand calls.
    """
    if moved_ns < 0:
        raise BrokenClock(f"the clock went back by {-moved_ns / 1e9:.3g} s", fix=CLOCK_FIX)
    if still >= STILL:
        raise BrokenClock(f"the clock stood still during {still:,} calls in a row", fix=CLOCK_FIX)


class _Stopwatch:
    """Times a call. Between the two readings of the clock there is the call and nothing else."""

    def __init__(self, call: Callable[[], object], clock_ns: Callable[[], int]) -> None:
        self._call, self._clock_ns, self._still = call, clock_ns, 0
        self._last: int | None = None  # what the clock said when a call ended

    def turn_to(self, call: Callable[[], object]) -> None:
        """Time this call from now on."""
        self._call = call

    def one(self) -> int:
        """Return the nanoseconds of one call."""
        call, clock_ns = self._call, self._clock_ns
        start = clock_ns()
        call()
        took = clock_ns() - start
        self._believe(start, took, 1)
        return took

    def several(self, group: int) -> float:
        """Return the nanoseconds of one of so many calls in a row."""
        call, clock_ns = self._call, self._clock_ns
        start = clock_ns()
        for _ in range(group):
            call()
        took = clock_ns() - start
        self._believe(start, took, group)
        return took / group

    def _believe(self, start: int, took: int, calls: int) -> None:
        """Raise where the clock cannot have been right."""
        back = min(took, start - self._last) if self._last is not None else took
        self._last = start + took
        self._still = self._still + calls if took == 0 else 0
        believe(back, self._still)


def _warm_up(watch: _Stopwatch, clock_ns: Callable[[], int], cap_ns: int) -> tuple[list[int], bool]:
    """Return the durations of the warm-up and whether it ended because the calls were steady.

    Steady means: a tenth of a second has gone by, and the medians of the last three blocks lie within 5 % of
    each other, so neither a trend nor a jump is left in them. There is one warm call at least, whatever the
    cap: how a cold one lasted says nothing of the next.
    """
    taken: list[int] = []
    start = clock_ns()
    while not taken or clock_ns() < start + cap_ns:
        taken.append(watch.one())
        long_enough = clock_ns() >= start + min(LEAST_NS, cap_ns // 2)
        if long_enough and len(taken) >= 3 * BLOCK and len(taken) % BLOCK == 0:
            blocks = [median(taken[len(taken) - BLOCK * (n + 1) : len(taken) - BLOCK * n]) for n in range(3)]
            if max(blocks) <= min(blocks) * (1 + STEADY):
                return taken, True
    return taken, False
