import pytest

from qbench.measure.verdict import LONGEST_WARMUP_S, collapsed, not_finite, not_steady
from qbench.profile import PROFILES


@pytest.mark.parametrize(
    ("accuracy", "float_accuracy", "chance", "gone"),
    [
        (0.50, 0.90, 0.10, False),  # exactly half of the lead of 0.8 is left
        (0.4999, 0.90, 0.10, True),
        (0.2475, 0.8107, 0.10, True),  # what a public reference file expects of a broken network
        (0.90, 0.90, 0.10, False),
        (0.95, 0.90, 0.10, False),
        (0.00, 0.90, 0.10, True),
        (0.10, 0.10, 0.10, False),  # the float network knows nothing: there is nothing to lose
        (0.00, 0.05, 0.10, False),
    ],
)
def test_a_collapse_is_the_loss_of_more_than_half_of_the_lead_over_guessing(
    accuracy, float_accuracy, chance, gone
):
    verdict = collapsed(accuracy, float_accuracy, chance)
    assert (verdict is not None) is gone
    if verdict:
        assert verdict.kind == "collapsed"
        assert f"{accuracy:.1%} against {float_accuracy:.1%}" in verdict.text


def test_one_answer_that_is_no_number_is_enough():
    assert not_finite(0, 100) is None
    assert not_finite(1, 100).kind == "collapsed"
    assert "1 of 100" in not_finite(1, 100).text


def test_a_window_that_began_in_a_drift_says_how_long_it_waited():
    assert not_steady(True, 2.0, 2.0) is None
    assert "2.0 s" in not_steady(False, 2.0, 2.0).text


def test_the_advice_is_never_what_was_already_done():
    assert "--profile standard" in not_steady(False, 2.0, 2.0).text
    assert "--profile" not in not_steady(False, 10.0, 10.0).text  # that is standard's warm-up


def test_the_longest_warm_up_is_the_profiles_own():
    assert max(profile.warmup_cap_s for profile in PROFILES.values()) == LONGEST_WARMUP_S
