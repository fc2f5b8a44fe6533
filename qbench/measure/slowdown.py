"""A slow-down of a known size, put into real calls: what a detector of slow-downs is tried on."""

from __future__ import annotations

from collections.abc import Callable

TRIALS = 1_000  # calls of nothing, to know what lengthening costs by itself


def slowed(
    call: Callable[[], object],
    share: float,
    clock_ns: Callable[[], int],
    spend: Callable[[float], object],
) -> Callable[[], object]:
    """Return a call that takes `share` longer than this one; `spend` lets so many nanoseconds go by, busily.

    In proportion to every call, so that slow ones are slowed as much as quick ones; busily, because a
    processor that sleeps wakes late, and at another clock rate. What the lengthening costs by itself is
    measured first and left out of it: half a microsecond is a fifth of a per cent of a short call.

    Raises:
        ValueError: a share that is negative.
    """
    if share < 0:
        raise ValueError(f"a call cannot be slowed down by {share}")
    if share == 0:
        return call
    return _lengthened(call, share, clock_ns, spend, _own_cost_ns(clock_ns, spend))


def _lengthened(
    call: Callable[[], object],
    share: float,
    clock_ns: Callable[[], int],
    spend: Callable[[float], object],
    own_ns: float,
) -> Callable[[], object]:
    def longer() -> object:
        start = clock_ns()
        answer = call()
        spend((clock_ns() - start) * share - own_ns)
        return answer

    return longer


def _own_cost_ns(clock_ns: Callable[[], int], spend: Callable[[float], object]) -> float:
    """Return what a lengthened call takes besides the call and the time that is put in."""

    def nothing() -> None:
        return None

    longer = _lengthened(nothing, 0.0, clock_ns, spend, 0.0)
    took = []
    for one in (nothing, longer):
        start = clock_ns()
        for _ in range(TRIALS):
            one()
        took.append(clock_ns() - start)
    return max(0.0, took[1] - took[0]) / TRIALS
