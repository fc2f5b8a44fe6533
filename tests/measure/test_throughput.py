"""Saturation: rates are worked out by hand, and every call that ends is counted once."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbench.measure.throughput import SLICES, _rates, saturate
from qbench.measure.timing import BrokenClock


def test_rates_by_hand_of_two_streams_that_end_together():
    # two streams, a call every 2 s each, both ending at once: one call a second
    ends = [second * 10**9 for second in (2, 2, 4, 4, 6, 6)]
    assert _rates(ends, 2) == (1.0, 1.0)


@given(st.lists(st.integers(1, 10**9), min_size=5, max_size=400), st.integers(1, 2))
def test_slices_cover_the_window_and_each_holds_the_same_number_of_calls(gaps, streams):
    ends = [sum(gaps[: n + 1]) for n in range(len(gaps))]
    rates = _rates(ends, streams)
    each = max(streams, (len(ends) - 1) // SLICES)
    assert len(rates) == (len(ends) - 1) // each
    covered = ends[len(rates) * each] - ends[0]
    assert sum(each / rate for rate in rates) == pytest.approx(covered * 1e-9)


def test_as_many_callers_as_streams_are_in_the_call_at_once():
    inside, most, lock = 0, 0, threading.Lock()

    def call():
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.01)
        with lock:
            inside -= 1

    found = saturate(call, streams=3, clock_ns=time.perf_counter_ns, window_s=0.2, warmup_s=0.05)
    assert most == 3
    assert found.calls > 6
    each = max(3, (found.calls - 1) // 10)  # calls of a slice
    took_s = sum(each / rate for rate in found.rates_per_s)
    assert each * len(found.rates_per_s) <= 3 * (took_s / 0.01 + 1)  # three sleepers end no more often


def test_a_slow_call_is_waited_for():
    found = saturate(
        lambda: time.sleep(0.05), streams=2, clock_ns=time.perf_counter_ns, window_s=0.01, warmup_s=0.0
    )
    assert found.calls > 4
    assert all(rate > 0 for rate in found.rates_per_s)


def test_what_a_call_raises_is_told_and_the_others_stop():
    def call():
        time.sleep(0.001)
        raise RuntimeError("the engine gave up")

    with pytest.raises(RuntimeError, match="the engine gave up"):
        saturate(call, streams=2, clock_ns=time.perf_counter_ns, window_s=5, warmup_s=0)


def test_a_clock_that_goes_back_gives_no_rate():
    now = iter([*range(0, 4_000_000, 1_000), *range(1_000_000, 10**9, 1_000)])
    with pytest.raises(BrokenClock, match="went back by 0.003 s"):
        saturate(lambda: None, streams=1, clock_ns=lambda: next(now), window_s=10.0, warmup_s=0.0)


def test_a_clock_that_stands_still_ends_the_window():
    with pytest.raises(BrokenClock, match="stood still during 1,000 calls"):
        saturate(lambda: None, streams=2, clock_ns=lambda: 7, window_s=0.1, warmup_s=0.0)
