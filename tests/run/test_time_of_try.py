"""The time that `qbench try` gives itself: it knows what an example takes; what stands last goes first."""

from dataclasses import replace

import pytest
from workplace import SPEEDY

from qbench.hardware import load_profiles
from qbench.run.plan import Selection, make_plan
from qbench.run.targets import reach
from qbench.suite_file import load_suite

WAITS = '\n[[technique]]\nname = "saved"\nafter = ["int8"]\nchain = [{ use = "fake_calibrated" }]\n'


def timed_suite(inside, **more):
    """Return a suite of two techniques and one that waits, with what only `qbench try` sets."""
    two = {"int8": '[{ use = "fake_int8" }]', "half": '[{ use = "fake_int8", speedup = 0.5 }]'}
    inside.suite("timed", two, more=WAITS)
    return replace(load_suite("timed"), **more)


def planned(suite):
    reached = reach(load_profiles("testbed"), suite.backends)
    return make_plan(suite, SPEEDY, reached, Selection())


def test_a_network_that_is_known_to_be_slow_is_estimated_so(inside):
    quick, slow = planned(timed_suite(inside)), planned(timed_suite(inside, call_s=0.1))
    # three deployments that do not wait, 200 examples each
    assert slow.estimate_s - quick.estimate_s == pytest.approx(3 * 200 * 0.1)


def test_what_stands_last_is_left_out_where_time_is_short_and_what_waits_stays(inside):
    whole = planned(timed_suite(inside, call_s=0.1))
    cut = planned(timed_suite(inside, call_s=0.1, budget_s=whole.estimate_s - 1))
    assert [case.technique for case in cut.cells] == ["fp32", "int8", "saved"]
    assert [skip.case.technique for skip in cut.skips] == ["half"]
    (reason,) = [skip.reason for skip in cut.skips]
    assert reason.startswith("dropped to stay within the time that try gives itself, ")
    assert "--budget" not in reason  # `try` has no such option


def test_what_a_user_limits_is_told_with_the_limit_that_the_user_gave(inside):
    suite = timed_suite(inside, call_s=0.1)
    whole = planned(suite)
    reached = reach(load_profiles("testbed"), suite.backends)
    cut = make_plan(suite, SPEEDY, reached, Selection(budget_s=whole.estimate_s - 1))
    minutes = f"{(whole.estimate_s - 1) / 60:g}m"
    assert [skip.reason for skip in cut.skips] == [
        f"dropped to stay within --budget {minutes} (priority 1 in the suite)"
    ]


def test_time_that_nothing_fits_into_leaves_the_plan_as_it_is(inside):
    """Nobody asked for it, so nobody is told that it is too short: the plan says how long it takes."""
    whole = planned(timed_suite(inside, call_s=0.1))
    assert planned(timed_suite(inside, call_s=0.1, budget_s=1.0)).cells == whole.cells
