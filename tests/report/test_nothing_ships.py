"""Why nothing is shipped: the reason must be the true one."""

import example_run as example
from example_run import Builder, correct

from qbench.report.recommend import recommend
from qbench.report.select import select


def test_a_machine_that_was_taken_away_is_the_reason_and_not_that_nothing_was_timed(tmp_path):
    build = Builder(tmp_path)
    build.prepare(example.FP32)
    build.score(example.FP32, correct(10))
    build.deploy(example.FP32)
    for k, switches in enumerate((6.0, 6.0, 60.0)):
        build.measured("time", example.FP32, k, latency=(0.01,) * 30, involuntary_switches=switches)
    (advice,) = recommend(select(build.run()))
    assert (advice.kind, advice.because) == ("float", "nothing quantized was tried")
    assert "interrupted" in advice.sure


def test_what_was_never_timed_says_so(tmp_path):
    build = Builder(tmp_path)
    build.prepare(example.FP32)
    build.score(example.FP32, correct(10))
    (advice,) = recommend(select(build.run()))
    assert "both scored and timed" in advice.gains
