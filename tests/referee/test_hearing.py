"""The whole hearing: who is asked, who is believed, and the first operator of the one who is not."""

import pytest
import voices_of_tests as voices

from qbench.referee.asking import Limits
from qbench.referee.hearing import all_voices, hear

ENOUGH = Limits(60.0, 2 << 30)


def heard(path, calls, *asked, limits=ENOUGH):
    return hear(path, calls, ["y"], asked, limits)


def test_a_voice_that_lies_is_named_alone_with_its_first_operator(small, calls):
    found = heard(small, calls, voices.Liar, voices.Honest, voices.AlsoHonest)
    ((odd, operator),) = found.odd
    assert odd.answer.voice is voices.Liar
    assert str(operator) == "Relu at node 'bend'"
    assert found.outputs is not None
    assert found.silent == ()


def test_a_fault_of_fusing_is_found_by_looking_at_one_value_at_a_time(small, calls):
    found = heard(small, calls, voices.Fuses, voices.Honest, voices.AlsoHonest)
    ((odd, operator),) = found.odd
    assert odd.answer.voice is voices.Fuses
    assert operator.op_type == "Relu"
    assert "fuse" in str(operator)


def test_slow_voices_are_asked_only_where_something_is_open(small, calls):
    quick = heard(small, calls, voices.Honest, voices.AlsoHonest, voices.Slower)
    assert voices.Slower not in {answer.voice for answer in quick.consensus.camps[0]}
    one_maker = heard(small, calls, voices.Honest, voices.Relative, voices.Slower)
    assert voices.Slower in {answer.voice for answer in one_maker.consensus.camps[0]}
    open_still = heard(small, calls, voices.Honest, voices.Liar, voices.Slower)
    assert [odd.answer.voice for odd, _ in open_still.odd] == [voices.Liar]


def test_where_no_engine_answers_nobody_else_is_asked(small, calls):
    found = heard(small, calls, voices.Refuses, voices.Slower)
    assert [one.voice for one in found.silent] == [voices.Refuses]
    assert found.consensus.alone == ()
    assert found.outputs is None


def test_two_against_two_keeps_nothing(small, calls):
    found = heard(small, calls, voices.Honest, voices.AlsoHonest, voices.Liar, voices.LiesAlike)
    assert found.outputs is None
    assert found.odd == ()


def test_who_is_silent_is_kept_with_the_reason(small, calls):
    found = heard(small, calls, voices.Honest, voices.AlsoHonest, voices.Refuses)
    assert [(one.voice, one.reason) for one in found.silent] == [
        (voices.Refuses, "NotImplementedError: no implementation of Sinh")
    ]
    assert found.outputs is not None


def test_the_voices_that_there_are():
    titles = [voice.title for voice in all_voices()]
    assert titles[:3] == ["onnxruntime", "onnxruntime without optimizations", "openvino"]
    assert {"onnx's reference evaluator", "torch, by qbench's own reader"} <= set(titles)
    assert [voice.slow for voice in all_voices()] == [False, False, False, True, True]


@pytest.mark.parametrize("voice", all_voices(), ids=lambda voice: voice.title)
def test_every_voice_answers_for_a_small_network(voice, small, calls):
    from qbench.referee.asking import ask
    from qbench.referee.distance import distance

    said, honest = ask([voice, voices.Honest], small, calls, ENOUGH)
    for found, wanted in zip(said.calls, honest.calls, strict=True):
        assert distance(found, wanted, ["y"]).error < 1e-5
