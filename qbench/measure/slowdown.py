"""A slow-down of a known size, put into real calls: what a detector of slow-downs is tried on."""

from __future__ import annotations

from collections.abc import Callable


def slowed(
    call: Callable[[], object],
    share: float,
    clock_ns: Callable[[], int],
    spend: Callable[[float], object],
) -> Callable[[], object]:
    """Return a call that takes `share` longer than this one; `spend` lets so many nanoseconds go by, busily.

    In proportion to every call, so that slow ones are slowed as much as quick ones; busily, because a
    processor that sleeps wakes late, and at another clock rate.

    Raises:
        ValueError: a share that is negative.
    """
    if share < 0:
        raise ValueError(f"a call cannot be slowed down by {share}")
    if share == 0:
        return call

    def longer() -> object:
        start = clock_ns()
        answer = call()
        spend((clock_ns() - start) * share)
        return answer

    return longer
