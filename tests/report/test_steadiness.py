"""What a round's witnesses say of a cell whose ratios look steady."""

import example_run as example
import pytest
from example_run import Builder, correct

from qbench.report.select import select


def unstable(tmp_path, **witnesses):
    """Return what is said of a cell of four rounds of 30 calls of 10 ms; one figure a round and witness."""
    build = Builder(tmp_path)
    build.whole(example.FP32, correct(10), (0.02,) * 4)
    build.score(example.FAST, correct(10))
    build.deploy(example.FAST)
    for k in range(4):
        told = {name: float(values[k]) for name, values in witnesses.items()}
        build.measured("time", example.FAST, k, latency=(0.01,) * 30, **told)
    return next(cell.unstable for cell in select(build.run()) if cell.case == example.FAST)


@pytest.mark.parametrize(
    ("switches", "words"),
    [
        ((6, 6, 6, 6), None),
        ((6, 7, 30, 6), "interrupted 100 times a second in round 2, and 22 times usually"),
        ((6, 6, 17, 6), None),  # 2.8 times the usual rate
        ((1, 1, 6, 1), None),  # six times, but seventeen more a second only
        ((60, 60, 60, 60), None),  # always so: the ratios inside the rounds judge it
    ],
)
def test_a_round_that_was_interrupted_far_more_often_than_the_others(tmp_path, switches, words):
    said = unstable(tmp_path, involuntary_switches=switches)
    assert said is None if words is None else words in said


@pytest.mark.parametrize(("steal", "taken"), [((0, 0, 0.003, 0), False), ((0, 0, 0.03, 0), True)])
def test_a_processor_that_was_taken_away(tmp_path, steal, taken):
    said = unstable(tmp_path, steal=steal)
    assert (said is not None and "took 10.0 % of a processor away in round 2" in said) == taken


@pytest.mark.parametrize(("waited", "taken"), [(0.05, False), (0.9, True)])
def test_threads_that_wait_for_a_processor_in_every_round(tmp_path, waited, taken):
    """Half a minute under a load that never changes: the ratios agree, and nothing rises."""
    threads = example.FAST.deployment.threads
    said = unstable(tmp_path, processor_wait=(waited * threads,) * 4, watched=(3,) * 4)
    assert (said is not None and "its threads waited 30.0 % of round 0 for one" in said) == taken


def test_no_witness_says_nothing(tmp_path):
    assert unstable(tmp_path) is None
