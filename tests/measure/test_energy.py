"""Traces of counters, recorded and made up: what can be believed gives joules, the rest gives its reason."""

import json
from pathlib import Path

import pytest

from qbench.measure.energy import Counter, EnergyTrace, NoEnergy, energy_window, judge

TRACES = Path(__file__).parent / "traces"
MS = 0.001


def steady(watts, seconds, start_s=0.0, start_j=0.0, every_s=0.1):
    """Return the readings of a constant power."""
    count = round(seconds / every_s)
    return tuple((start_s + i * every_s, start_j + watts * i * every_s) for i in range(count + 1))


def trace(idle=10.0, busy=30.0, after=None, calls=1000, seconds=10.0, change=None, spoilt_after=None):
    """Return a trace of 2 s idle, 10 s busy, 2 s idle; `change` may spoil the busy readings."""
    before = steady(idle, 2.0)
    middle = steady(busy, seconds, before[-1][0], before[-1][1])
    last = steady(after if after is not None else idle, 2.0, middle[-1][0], middle[-1][1])
    return EnergyTrace(
        before,
        tuple(change(list(middle)) if change else middle),
        spoilt_after(list(last)) if spoilt_after else last,
        calls,
    )


def test_joules_of_a_call_by_hand():
    """Ten seconds at 30 W are 300 J over 1,000 calls; without the 10 W of idling, 200 J."""
    found = judge(trace(), period_s=MS)
    assert found.gross_j == pytest.approx(0.3)
    assert found.net_j == pytest.approx(0.2)
    assert (found.power_w, found.idle_before_w, found.idle_after_w) == pytest.approx((30, 10, 10))
    assert found.window_s == pytest.approx(10)


def test_idle_power_that_moved_leaves_no_net_energy():
    found = judge(trace(idle=10.0, after=16.0), period_s=MS)
    assert found.gross_j == pytest.approx(0.3)
    assert found.net_j is None
    assert "idle power moved from 10 W to 16 W" in found.why_no_net


def test_a_device_that_takes_no_more_than_when_idle_has_no_net_energy():
    found = judge(trace(idle=30.0, busy=29.0), period_s=MS)
    assert found.net_j is None
    assert "29 W in the window and 30 W when idle" in found.why_no_net


@pytest.mark.parametrize("idles", [{"idle": 0.0}, {"idle": 10.0, "after": 0.0}])
def test_a_counter_that_stands_still_while_idle_gives_no_net_energy(idles):
    found = judge(trace(**idles), period_s=MS)
    assert found.gross_j == pytest.approx(0.3)
    assert found.net_j is None
    assert "did not move while nothing ran" in found.why_no_net


def reason(period_s=MS, wraps_j=None, **spoilt):
    with pytest.raises(NoEnergy) as told:
        judge(trace(**spoilt), period_s=period_s, wraps_j=wraps_j)
    return str(told.value)


def test_a_counter_that_does_not_move_gives_no_zero():
    assert "did not move at all" in reason(busy=0.0)


def test_a_counter_that_stops_in_the_middle_is_found():
    def stop(readings):
        return [(t, min(j, readings[60][1])) for t, j in readings]

    assert "stood still for 4 s" in reason(change=stop)


def test_a_counter_that_pauses_and_catches_up_is_found_too():
    def pause(readings):
        return [(t, readings[30][1] if 30 <= i < 45 else j) for i, (t, j) in enumerate(readings)]

    assert "stood still for 1." in reason(change=pause)


def test_a_counter_that_jumps_back_is_found():
    def back(readings):
        return [(t, j - 100 if i > 50 else j) for i, (t, j) in enumerate(readings)]

    assert "jumped back" in reason(change=back)
    assert "jumped back" in reason(change=back, wraps_j=10_000.0)  # far from its end: that is no wrap


def test_a_counter_that_jumps_forward_is_found():
    def ahead(readings):
        return [(t, j + 5_000 if i > 50 else j) for i, (t, j) in enumerate(readings)]

    assert "the counter jumped: 5e+04 W between two readings, and 30 W usually" in reason(change=ahead)


def test_a_small_jump_is_found_where_it_is_a_part_of_all_joules():
    """80 J in a tenth of a second, of 600 J in all: thirteen per cent that nobody took."""

    def ahead(readings):
        return [(t, j + 80 if i > 50 else j) for i, (t, j) in enumerate(readings)]

    assert "the counter jumped" in reason(busy=60.0, change=ahead)


def test_a_device_that_takes_twice_as_much_for_a_moment_does_not_jump():
    def burst(readings):
        return [(t, j + 3 if i > 50 else j) for i, (t, j) in enumerate(readings)]

    assert judge(trace(change=burst), period_s=MS).gross_j == pytest.approx(0.303)


def test_few_readings_show_nothing():
    """Twelve calls of a second: the counter may have stopped within any of them."""

    def sparse(readings):
        return readings[::10]

    assert "was read 11 times in 10 s" in reason(change=sparse)


def stops(readings):
    return [(t, min(j, readings[4][1])) for t, j in readings]


def jumps(readings):
    return [(t, j + 50 if i > 9 else j) for i, (t, j) in enumerate(readings)]


@pytest.mark.parametrize(
    ("spoil", "told"), [(stops, "the counter stood still for 1.6 s"), (jumps, "the counter jumped")]
)
def test_a_fault_while_nothing_ran_leaves_no_net_energy(spoil, told):
    found = judge(trace(spoilt_after=spoil), period_s=MS)
    assert found.gross_j == pytest.approx(0.3)
    assert found.net_j is None
    assert f"while nothing ran, {told}" in found.why_no_net


def test_a_clock_that_stands_still_ends_the_window():
    joules = iter(range(10**6))
    with pytest.raises(NoEnergy, match="the clock stood still during 1,000 calls"):
        energy_window(
            lambda: None,
            Counter(lambda: (float(n := next(joules)), float(n)), MS),
            sleep=lambda _: None,
            clock_s=lambda: 5.0,
        )


def test_long_calls_prolong_the_window_until_the_counter_was_read_often_enough():
    state = {"s": 0.0}

    def spend(seconds):
        state["s"] += seconds

    taken = energy_window(
        lambda: spend(2.0),
        Counter(lambda: (state["s"], 30 * state["s"]), MS),
        sleep=spend,
        clock_s=lambda: state["s"],
    )
    assert len(taken.busy) >= 20
    assert taken.calls * 2.0 == pytest.approx(taken.busy[-1][0] - taken.busy[0][0])


@pytest.mark.parametrize("offset", [0.0, 10.0, 200.0, 260.0])
def test_a_counter_that_begins_anew_is_followed(offset):
    """Its range is 262 J, as of a 32-bit counter of 61 microjoules; the window takes 300 J."""
    whole = trace()
    wrapped = EnergyTrace(
        *(
            tuple((t, (j + offset) % 262.0) for t, j in part)
            for part in (whole.before, whole.busy, whole.after)
        ),
        whole.calls,
    )
    found = judge(wrapped, period_s=MS, wraps_j=262.0)
    assert found.gross_j == pytest.approx(0.3)
    assert found.net_j == pytest.approx(0.2)


def test_a_window_shorter_than_a_hundred_periods_is_no_window():
    assert "shorter than 100 periods of the counter (0.2 s each)" in reason(period_s=0.2)
    assert "shorter than 100 periods" in reason(calls=0)


def test_a_clock_that_stands_still_is_found():
    def still(readings):
        return [(readings[min(i, 50)][0], j) for i, (_, j) in enumerate(readings)]

    assert "the clock of the readings did not move on from 7 s" in reason(change=still)


def test_one_reading_knows_nothing():
    whole = trace()
    with pytest.raises(NoEnergy, match="once only"):
        judge(EnergyTrace(whole.before, whole.busy[:1], whole.after, 10), period_s=MS)


@pytest.mark.parametrize("path", sorted(TRACES.glob("*.json")), ids=lambda path: path.stem)
def test_recorded_counters_are_judged_as_they_were(path):
    told = json.loads(path.read_text())
    parts = (tuple(map(tuple, told[name])) for name in ("before", "busy", "after"))
    recorded = EnergyTrace(*parts, told["calls"])
    if "reason" in told:
        with pytest.raises(NoEnergy, match=told["reason"]):
            judge(recorded, period_s=told["period_s"], wraps_j=told["wraps_j"])
    else:
        found = judge(recorded, period_s=told["period_s"], wraps_j=told["wraps_j"])
        assert found.gross_j == pytest.approx(told["gross_j"], rel=1e-6)


def test_a_window_reads_idle_busy_and_idle_again():
    """On a clock and a counter of our own: 10 W while sleeping, 30 W while calling."""
    state = {"s": 0.0, "j": 0.0, "calls": 0}

    def pass_by(seconds, watts):
        state["s"] += seconds
        state["j"] += seconds * watts

    def call():
        state["calls"] += 1
        pass_by(0.02, 30)

    taken = energy_window(
        call,
        Counter(lambda: (state["s"], state["j"]), MS),
        window_s=10.0,
        sleep=lambda seconds: pass_by(seconds, 10),
        clock_s=lambda: state["s"],
    )
    assert taken.calls == state["calls"] == pytest.approx(500, abs=6)
    found = judge(taken, period_s=MS)
    assert found.gross_j == pytest.approx(30 * 0.02)
    assert found.net_j == pytest.approx(20 * 0.02)


def test_a_slow_counter_gets_a_longer_window_and_longer_idles():
    state = {"s": 0.0}

    def call():
        state["s"] += 0.5

    def sleep(seconds):
        state["s"] += seconds

    taken = energy_window(
        call, Counter(lambda: (state["s"], state["s"]), 0.5), sleep=sleep, clock_s=lambda: state["s"]
    )
    assert taken.busy[-1][0] - taken.busy[0][0] >= 50
    assert taken.before[-1][0] - taken.before[0][0] == 10
