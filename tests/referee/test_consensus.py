"""Who agrees with whom: two that agree are never both accused."""

import numpy as np
import pytest
import voices_of_tests as voices

from qbench.referee.asking import Answer
from qbench.referee.consensus import agreed

RIGHT = np.array([[0.0, 1.0], [2.0, 3.0]])


def said(voice, *calls):
    return Answer(voice, tuple((np.asarray(call, "f4"),) for call in calls))


def names(answers):
    return [answer.voice.title for answer in answers]


def test_one_against_two_is_the_odd_one():
    found = agreed(
        [said(voices.Liar, RIGHT + 1), said(voices.Honest, RIGHT), said(voices.AlsoHonest, RIGHT)], ["y"]
    )
    assert names(found.camps[0]) == ["the honest one", "the other honest one"]
    (odd,) = found.odd(["y"])
    assert odd.answer.voice is voices.Liar
    assert odd.far.how == "by 0.33 of the range of output 'y'"
    assert found.makers == 2
    assert not found.settled


def test_two_against_two_accuses_nobody():
    two = [said(voices.Liar, RIGHT + 1), said(voices.LiesAlike, RIGHT + 1)]
    found = agreed([said(voices.Honest, RIGHT), said(voices.AlsoHonest, RIGHT), *two], ["y"])
    assert len(found.camps) == 2
    assert found.speaker is None
    assert found.odd(["y"]) == ()


def test_three_against_two_accuses_nobody_either():
    three = [said(v, RIGHT) for v in (voices.Honest, voices.AlsoHonest, voices.Slower)]
    found = agreed([*three, said(voices.Liar, RIGHT + 1), said(voices.LiesAlike, RIGHT + 1)], ["y"])
    assert found.speaker is None
    assert found.odd(["y"]) == ()


def test_where_all_differ_nobody_is_believed():
    found = agreed([said(v, RIGHT + i) for i, v in enumerate((voices.Honest, voices.Liar))], ["y"])
    assert (found.camps, found.speaker) == ((), None)
    assert len(found.alone) == 2
    assert found.odd(["y"]) == ()


def test_who_meets_one_of_a_camp_is_never_accused():
    # the outer two are too far apart for each other, and both meet the one in the middle, who speaks for all
    ladder = [
        said(v, RIGHT + i * 2e-3) for i, v in enumerate((voices.Liar, voices.Honest, voices.AlsoHonest))
    ]
    found = agreed(ladder, ["y"])
    assert len(found.camps[0]) == 3
    assert found.speaker.voice is voices.Honest
    assert found.odd(["y"]) == ()


def test_two_of_one_maker_leave_it_open():
    found = agreed([said(voices.Honest, RIGHT), said(voices.Relative, RIGHT)], ["y"])
    assert found.speaker is not None
    assert found.makers == 1
    assert not found.settled
    settled = agreed([said(voices.Honest, RIGHT), said(voices.AlsoHonest, RIGHT + 1e-6)], ["y"])
    assert settled.settled
    assert settled.within == pytest.approx(1e-6 / 3, rel=0.1)


def test_two_of_one_maker_accuse_nobody_however_many_stand_alone_beside_them():
    others = [said(v, RIGHT + 1 + i) for i, v in enumerate((voices.Liar, voices.AlsoHonest, voices.Slower))]
    found = agreed([said(voices.Honest, RIGHT), said(voices.Relative, RIGHT), *others], ["y"])
    assert (found.speaker, found.odd(["y"])) == (None, ())
    apart = found.apart(["y"])
    assert [one.answer.voice for one in apart] == [voices.Liar, voices.AlsoHonest, voices.Slower]
    assert apart[0].far.how == "by 0.33 of the range of output 'y'"


def test_who_has_answered_more_speaks_and_only_what_both_answered_is_compared():
    found = agreed([said(voices.Honest, RIGHT[:1]), said(voices.AlsoHonest, RIGHT[:1], RIGHT)], ["y"])
    assert found.speaker.voice is voices.AlsoHonest
    later = agreed([said(voices.Honest, RIGHT, RIGHT), said(voices.Liar, RIGHT, RIGHT + 1)], ["y"])
    assert later.camps == ()


def test_the_call_that_is_farthest_is_named():
    three = [said(voices.Honest, RIGHT, RIGHT), said(voices.AlsoHonest, RIGHT, RIGHT)]
    (odd,) = agreed([*three, said(voices.Liar, RIGHT + 0.1, RIGHT + 1)], ["y"]).odd(["y"])
    assert odd.call == 1
