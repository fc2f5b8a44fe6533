"""What timing a call adds to it. Target: below 2 microseconds a sample."""

import time
from statistics import median

from qbench.measure.timing import _Stopwatch

CALLS = 20_000


def test_what_a_reading_adds_to_a_call(benchmark):
    """A call that does nothing: what is left between the two readings of the clock is the stopwatch's own."""
    watch = _Stopwatch(lambda: None, time.perf_counter_ns)
    samples = []

    def run():
        samples.extend(watch.one() for _ in range(CALLS))

    benchmark.pedantic(run, rounds=20)
    benchmark.extra_info["inside_a_sample_ns"] = median(samples)
    benchmark.extra_info["around_a_sample_ns"] = benchmark.stats.stats.median / CALLS * 1e9
