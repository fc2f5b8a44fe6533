"""A voice has a process of its own: whatever it does there, the others answer and its reason is kept."""

import numpy as np
import pytest
import voices_of_tests as voices
from asked_network import WEIGHTS, X

from qbench.referee.asking import Answer, Limits, Silent, ask

MIB = 1 << 20
ENOUGH = Limits(60.0, 2048 * MIB)


def by_hand():
    hidden = np.maximum(X @ WEIGHTS[0], 0)
    return np.maximum(hidden @ WEIGHTS[1], 0) + X


def test_all_calls_are_answered_in_order(small, calls):
    (said,) = ask([voices.Honest], small, calls, ENOUGH)
    assert isinstance(said, Answer)
    assert [call[0].shape for call in said.calls] == [(1, 4), (3, 4)]
    np.testing.assert_allclose(said.calls[1][0], by_hand(), rtol=1e-5)


@pytest.mark.parametrize(
    ("voice", "limits", "reason"),
    [
        (voices.Hangs, Limits(1.5, 2048 * MIB), "no answer within 1.5 s"),
        (voices.EatsMemory, Limits(60.0, 400 * MIB), "it took more than 0.391 GiB of memory"),
        (voices.Crashes, ENOUGH, "killed by SIGSEGV"),
        (voices.Leaves, ENOUGH, "ended with exit code 7: the last words"),
        (voices.Refuses, ENOUGH, "no implementation of Sinh"),
        (voices.SaysWords, ENOUGH, "no tensor of numbers"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_no_answer_is_a_reason_and_no_error(voice, limits, reason, small, calls):
    (said,) = ask([voice], small, calls, limits)
    assert isinstance(said, Silent)
    assert reason in said.reason


def test_what_was_answered_before_the_time_was_over_counts(small, calls):
    (said,) = ask([voices.AnswersOnce], small, calls, Limits(6.0, 2048 * MIB))
    assert len(said.calls) == 1
    np.testing.assert_allclose(said.calls[0][0], by_hand()[:1], rtol=1e-5)


def test_a_missing_library_is_a_reason(small, calls, monkeypatch, tmp_path):
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "openvino.py").write_text("raise ImportError('openvino is hidden')")
    monkeypatch.syspath_prepend(str(tmp_path / "hidden"))
    from qbench.referee.voices.openvino import OpenVino

    (said,) = ask([OpenVino], small, calls, ENOUGH)
    assert "openvino is hidden" in said.reason
