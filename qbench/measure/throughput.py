"""What a deployment can do when requests never stop: several callers at once, and how often one is done.

This is measured, not computed from latency: two callers on two cores wait for the same caches and the same
memory, and one caller on two cores leaves a part of them idle.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

from qbench.measure.timing import believe

LOOK_S = 0.05  # how often the window is looked at: every look takes a core from what is measured
SLICES = 10  # samples of one window: enough for a median, each over enough calls


@dataclass(frozen=True, slots=True)
class Saturation:
    """Calls per second in consecutive slices of one window, each over the same number of calls."""

    rates_per_s: tuple[float, ...]
    warmup_calls: int
    calls: int


def saturate(
    call: Callable[[], object],
    *,
    streams: int,
    clock_ns: Callable[[], int],
    window_s: float,
    warmup_s: float,
) -> Saturation:
    """Call from `streams` threads without a pause for `warmup_s`, then for `window_s`.

    The window goes on until every stream has ended more than two calls on average, however slow they are. A
    slice ends at a call's end, so that no part of a call is counted or lost.

    Raises:
        BrokenClock: the clock goes back, or does not move while a thousand calls are made.
        Exception: whatever `call` raises in one of the threads; the others are stopped.
    """
    ends: list[list[int]] = [[] for _ in range(streams)]
    errors: list[BaseException] = []
    stop = threading.Event()
    together = threading.Barrier(streams)

    def work(own: list[int]) -> None:
        try:
            together.wait()
            still = 0
            while not stop.is_set():
                call()
                own.append(clock_ns())
                moved = own[-1] - own[-2] if len(own) > 1 else 1
                still = 0 if moved else still + 1
                believe(moved, still)
        except BaseException as error:  # told by the caller's thread; a barrier that broke is no news
            errors.append(error)
            stop.set()
            together.abort()

    start = clock_ns()
    threads = [threading.Thread(target=work, args=(own,), daemon=True) for own in ends]
    for thread in threads:
        thread.start()
    from_ns, until_ns = start + int(warmup_s * 1e9), start + int((warmup_s + window_s) * 1e9)
    while not stop.wait(LOOK_S):
        inside = sum(len(own) - bisect_left(own, from_ns) for own in ends)
        if stop.is_set():
            break
        if clock_ns() >= until_ns and inside > 2 * streams:
            stop.set()
    for thread in threads:
        thread.join()
    real = [error for error in errors if not isinstance(error, threading.BrokenBarrierError)]
    if real:
        raise real[0]
    done = sorted(end for own in ends for end in own)
    measured = [end for end in done if end >= from_ns]
    return Saturation(_rates(measured, streams), len(done) - len(measured), len(measured))


def _rates(ends_ns: list[int], streams: int) -> tuple[float, ...]:
    """Return calls per second between every `each`-th end: streams end in bursts, so never below a burst."""
    each = max(streams, (len(ends_ns) - 1) // SLICES)
    marks = ends_ns[::each]
    return tuple(each / ((later - earlier) * 1e-9) for earlier, later in zip(marks, marks[1:], strict=False))
