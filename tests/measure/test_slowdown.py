"""A slow-down of a known size on a clock that is ours."""

import pytest

from qbench.measure.slowdown import slowed


class Clock:
    """Moves by what a call takes, and by one nanosecond whenever it is read."""

    def __init__(self):
        self.now = 0

    def __call__(self):
        self.now += 1
        return self.now

    def spend(self, takes):
        self.now += max(0, round(takes))

    def call(self, takes):
        self.now += takes
        return "answer"


@pytest.mark.parametrize("takes", [1_000, 100_000])
@pytest.mark.parametrize("share", [0.02, 0.05, 0.20])
def test_every_call_is_slowed_in_proportion(takes, share):
    clock = Clock()
    longer = slowed(lambda: clock.call(takes), share, clock, clock.spend)
    start = clock.now
    assert longer() == "answer"
    assert clock.now - start == pytest.approx(takes * (1 + share), abs=4)


class DearClock(Clock):
    """A reading takes 300 ns: a tenth of a per cent of many a call."""

    def __call__(self):
        self.now += 300
        return self.now


def test_what_lengthening_costs_by_itself_is_left_out():
    clock = DearClock()
    longer = slowed(lambda: clock.call(100_000), 0.05, clock, clock.spend)
    start = clock.now
    longer()
    assert clock.now - start == pytest.approx(105_000, abs=20)  # and not 105,600


def test_nothing_put_in_is_the_call_itself():
    def call():
        return None

    assert slowed(call, 0.0, lambda: 0, abs) is call


def test_a_call_cannot_be_hurried():
    with pytest.raises(ValueError, match="cannot be slowed down by -0.1"):
        slowed(lambda: None, -0.1, lambda: 0, abs)
