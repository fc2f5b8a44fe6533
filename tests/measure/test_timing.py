"""Windows on a clock that moves only when the call says so."""

import itertools

import pytest

from qbench.measure.timing import STILL, BrokenClock, time_window

MS = 1_000_000


class Call:
    """Takes the durations it is given, in order; the last one stays."""

    def __init__(self, *durations_ns):
        self.durations, self.now, self.count = durations_ns, 0, 0

    def __call__(self):
        self.now += self.durations[min(self.count, len(self.durations) - 1)]
        self.count += 1

    def window(self, window_s=0.1, warmup_cap_s=1.0):
        return time_window(self, clock_ns=lambda: self.now, window_s=window_s, warmup_cap_s=warmup_cap_s)


def test_the_cold_call_is_kept_apart():
    window = Call(900 * MS, 1 * MS).window()
    assert window.first_ns == 900 * MS
    assert set(window.warmup_ns) == {1 * MS}
    assert set(window.samples_ns) == {1 * MS}


def test_a_steady_call_is_warm_after_three_blocks_of_five():
    window = Call(10 * MS).window()
    assert window.steady
    assert len(window.warmup_ns) == 15


def test_a_short_call_warms_up_for_a_tenth_of_a_second_however_steady_it_looks():
    window = Call(1 * MS).window()
    assert window.steady
    assert sum(window.warmup_ns) == 100 * MS


def test_the_warm_up_goes_on_while_calls_get_faster():
    falling = [(100 - n) * MS // 10 for n in range(60)]
    window = Call(50 * MS, *falling, 4 * MS).window()
    assert window.steady
    assert len(window.warmup_ns) > 60
    assert set(window.samples_ns) == {4 * MS}


def test_a_jump_starts_the_warm_up_again():
    # ten fast calls, then slow ones: the medians of the last three blocks are 10, 10 and 20
    window = Call(10 * MS, *[10 * MS] * 10, *[20 * MS] * 20).window()
    assert len(window.warmup_ns) == 25


def test_five_in_a_hundred_is_steady_and_more_is_not():
    def blocks(last):
        return Call(100 * MS, *[100 * MS] * 10, *[last] * 5).window(warmup_cap_s=1.6)

    assert blocks(105 * MS).steady
    assert not blocks(106 * MS).steady


def test_the_cap_ends_a_warm_up_that_never_settles():
    window = Call(*[n * MS for n in range(1, 500)]).window(warmup_cap_s=0.5)
    assert not window.steady
    assert window.first_ns + sum(window.warmup_ns[:-1]) < 500 * MS
    assert window.samples_ns


def test_the_cold_call_counts_towards_the_cap_and_one_warm_call_follows_it():
    assert Call(2000 * MS, 1 * MS).window(warmup_cap_s=1.0).warmup_ns == (1 * MS,)


def test_a_cold_call_does_not_hide_that_the_others_are_too_short_for_the_clock():
    assert Call(2000 * MS, 1_000).window(warmup_cap_s=1.0).group == 100


def test_the_window_lasts_as_long_as_it_was_asked_to():
    window = Call(1 * MS).window(window_s=0.1)
    assert len(window.samples_ns) == 100


def test_a_call_longer_than_everything_is_warmed_up_and_measured_once():
    call = Call(9_000 * MS)
    window = call.window(window_s=1.0, warmup_cap_s=2.0)
    assert window.samples_ns == (9_000 * MS,)
    assert window.warmup_ns == (9_000 * MS,)
    assert call.count == 3


def test_a_window_of_no_length_still_has_a_sample():
    assert Call(1 * MS).window(window_s=0.0).samples_ns == (1 * MS,)


@pytest.mark.parametrize(("duration", "group"), [(20_000, 1), (19_999, 5), (10_000, 10), (300, 333)])
def test_calls_too_short_for_the_clock_are_timed_in_groups(duration, group):
    window = Call(duration).window(window_s=0.01)
    assert window.group == group
    assert set(window.samples_ns) == {duration}


def test_a_clock_that_does_not_move_during_a_call_is_no_division_by_zero():
    ticks = iter(range(0, 10**9, 1000))
    window = time_window(lambda: None, clock_ns=lambda: next(ticks), window_s=0.001, warmup_cap_s=0.001)
    assert window.samples_ns


# --- calls that differ ------------------------------------------------------------------------------


class Mix:
    """Calls that take 1 ms, 2 ms and 30 ms in turn; the warm-up's takes 33 ms."""

    def __init__(self):
        self.now, self.count = 0, 0

    def __call__(self):
        self.now += (1 * MS, 2 * MS, 30 * MS)[self.count % 3]
        self.count += 1

    def warm(self):
        self.now += 33 * MS

    def window(self, window_s):
        how = {"clock_ns": lambda: self.now, "window_s": window_s, "warmup_cap_s": 1.0}
        return time_window(self, **how, warm=self.warm, lap=3)


@pytest.mark.parametrize(("window_s", "laps"), [(0.0, 1), (0.033, 1), (0.034, 2), (0.065, 2), (0.067, 3)])
def test_calls_that_differ_are_timed_in_whole_laps(window_s, laps):
    window = Mix().window(window_s)
    assert window.samples_ns == (1 * MS, 2 * MS, 30 * MS) * laps
    assert (window.first_ns, set(window.warmup_ns)) == (33 * MS, {33 * MS})
    assert window.steady
    assert window.group == 1


# --- clocks that lie ---------------------------------------------------------------------------------


def test_a_clock_that_never_moves_ends_in_words_and_not_in_a_loop():
    with pytest.raises(BrokenClock, match="stood still during 1,000 calls"):
        time_window(lambda: None, clock_ns=lambda: 7, window_s=1.0, warmup_cap_s=1.0)


@pytest.mark.parametrize("moves", [100, 5_000])
def test_a_clock_that_stops_in_the_middle_is_found(moves):
    """It is read three or four times a call: it stops in the warm-up, or in the window."""
    ticks = itertools.chain(range(0, moves * 100_000, 100_000), itertools.repeat(moves * 100_000))
    with pytest.raises(BrokenClock, match="stood still"):
        time_window(lambda: None, clock_ns=lambda: next(ticks), window_s=3600.0, warmup_cap_s=0.2)


def test_a_clock_that_goes_back_is_found_at_once():
    ticks = iter([*range(0, 100 * MS, MS), *range(50 * MS, 10**12, MS)])
    with pytest.raises(BrokenClock, match=r"went back by 0\.0[45]\d* s"):
        time_window(lambda: None, clock_ns=lambda: next(ticks), window_s=0.2, warmup_cap_s=0.0)


def test_a_coarse_clock_is_no_broken_one():
    """Fifteen milliseconds a tick, as some systems have it: calls are timed in groups until it moves."""
    calls = [0]

    def call():
        calls[0] += 1

    window = time_window(
        call, clock_ns=lambda: calls[0] // (STILL - 1) * 15 * MS, window_s=0.1, warmup_cap_s=0.1
    )
    assert sum(window.samples_ns) > 0
