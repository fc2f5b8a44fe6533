"""The line that has the reason, of texts that engines really gave (onnxruntime 1.31, openvino 2026.4)."""

import json
from pathlib import Path

import pytest

from qbench.errors import DoesNotFit
from qbench.reasons import fix_of, reason_of

KEPT = json.loads((Path(__file__).parent / "golden" / "engine_errors.json").read_text())
TEXTS = {one["error"]: one["reason"] for one in KEPT}


@pytest.mark.parametrize(("error", "reason"), TEXTS.items(), ids=range(len(TEXTS)))
def test_the_reason_is_told_and_not_what_stands_around_it(error, reason):
    assert reason_of(error) == reason


def test_an_error_of_our_own_keeps_its_problem_and_its_advice_apart():
    error = f"DoesNotFit: {DoesNotFit('12 columns', fix='give 16')}"
    assert (reason_of(error), fix_of(error)) == ("DoesNotFit: 12 columns", "give 16")
    assert fix_of("RuntimeError: no") == ""


def test_a_reason_is_one_line_of_the_text():
    for error, reason in TEXTS.items():
        assert "\n" not in reason_of(error)
        assert reason_of(reason) == reason
    for words in ("core.cpp:132", "node.cpp", "[ONNXRuntimeError]", "onnxruntime_src"):
        assert not any(words in reason_of(error) for error in TEXTS)
