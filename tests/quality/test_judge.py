"""Judging: laws that hold for every kind, limits at their edges, faults that must be seen."""

import numpy as np
import pytest
from outputs import LOOKS_LIKE, blobs, ctc, normal, sigmoid, unit, yolo

from qbench.metrics import CATALOGUE
from qbench.quality.compare import assess, broken, compare
from qbench.quality.judge import how_bad, how_bad_one, judge, judge_one, rests_on, summary, worst
from qbench.quality.limits import LIMITS
from qbench.records import Measurement, OutputQuality

MANY = {
    "scores": normal(400, 6),
    "sigmoid": sigmoid(2 * normal(400, 12)),
    "map": np.concatenate([blobs()] * 40),
    "embedding": unit(normal(400, 32)),
    "boxes": np.random.default_rng(0).uniform(0, 640, (400, 4)).astype("f4"),
    "text": np.concatenate([ctc(100, blank=0), ctc(100, blank=0)[::-1]]),
    "labels": np.arange(400) % 7,
    "values": np.linspace(-1, 1, 400)[:, None].astype("f4"),
}  # fmt: skip


@pytest.mark.parametrize("kind", MANY)
def test_identical_outputs_pass(kind):
    values = MANY[kind]
    found = assess(["y"], [values], [values.copy()])
    assert found.outputs[0].output_kind == kind
    assert judge(found.outputs).outcome == "pass"
    assert how_bad(found.outputs) == 0
    assert found.collapses == ()


@pytest.mark.parametrize("kind", MANY)
def test_outputs_of_other_examples_fail(kind):
    values = MANY[kind]
    found = assess(["y"], [values], [np.random.default_rng(3).permutation(values)])
    assert judge(found.outputs).outcome == "fail"
    assert how_bad(found.outputs) > 1
    assert len(found.collapses) == 1


@pytest.mark.parametrize("kind", [kind for kind in MANY if kind != "labels"])
def test_an_output_that_has_died_has_collapsed(kind):
    found = assess(["y"], [MANY[kind]], [np.zeros_like(MANY[kind])])
    assert judge(found.outputs).outcome == "fail"
    assert len(found.collapses) == 1


@pytest.mark.parametrize("kind", [kind for kind in MANY if MANY[kind].dtype.kind == "f"])
def test_more_noise_is_never_better(kind):
    noise = np.random.default_rng(5).standard_normal(MANY[kind].shape).astype("f4")
    levels = [MANY[kind].std() * share * noise for share in (0, 0.01, 0.1, 1)]
    bad = [how_bad(compare(["y"], [MANY[kind]], [MANY[kind] + level])) for level in levels]
    assert bad == sorted(bad)
    assert bad[0] == 0 < bad[1]


@pytest.mark.parametrize(("name", "values", "kind"), LOOKS_LIKE, ids=[name for name, *_ in LOOKS_LIKE])
def test_a_number_that_is_none_in_one_example_voids_the_output(name, values, kind):  # noqa: ARG001
    if values.dtype.kind != "f" or not values.size:
        return
    given = values.copy()
    given.reshape(len(given), -1)[1, 0] = np.nan
    assert broken(values, given) == broken(None, given) == 1
    found = assess([name], [values], [given])
    assert judge(found.outputs).outcome in ("fail", "inconclusive")
    assert "1 of" in found.collapses[0].text
    assert broken(given, given) == 0  # float says so as well
    assert assess([name], [given], [given.copy()]).collapses == ()


# --- the worst decides -------------------------------------------------------------------------------


def test_the_worst_output_decides_and_the_sentence_names_it():
    first, second = normal(200, 6), 5 * normal(200, 5)
    wrong = np.where(np.arange(200)[:, None] < 25, second, np.roll(second, 1, axis=1))
    found = compare(["first", "second"], [first, second], [first, wrong])
    judgement = judge(found)
    assert judgement.outcome == "fail"
    assert worst(found) is found[1]
    told = "output `second` (scores): the same first answer as float on 12.5 % of 200 examples"
    assert judgement.rests_on == told == rests_on(found[1])
    assert told in judgement.text
    assert how_bad(found) == how_bad_one(found[1])


def test_one_channel_of_a_picture_that_is_noise_alone_does_not_hold():
    picture = np.random.default_rng(0).random((20, 3, 16, 16)).astype("f4")
    picture[:, 2] *= 0.02
    given = picture.copy()
    given[:, 2] = 0.01
    (found,) = compare(["y"], [picture], [given], kinds={"y": "values"})
    assert found.output_kind == "values"
    assert judge([found]).outcome == "fail"
    assert "channel" in judge([found]).text


def test_boxes_that_are_good_beside_scores_that_are_gone_fail():
    given = yolo(40)
    given[:, 4:] = 0
    judgement = judge(compare(["output0"], [yolo(40)], [given]))
    assert judgement.outcome == "fail"
    assert "channels 4 to 6 of axis 1 (sigmoid)" in judgement.rests_on


def test_nothing_that_can_judge_is_unjudged_with_the_reason():
    x = normal(20, 5)
    judgement = judge(compare(["x"], [x], [x], inputs={"in": x}))
    assert judgement.outcome == "unjudged"
    assert "handed through" in judgement.text
    assert judge(()).outcome == "unjudged"
    assert how_bad(()) == float("inf")
    assert worst(()) is None


# --- limits ------------------------------------------------------------------------------------------


def quality(metric, samples):
    return OutputQuality("y", "kind", metric, (Measurement(metric, tuple(samples)),))


@pytest.mark.parametrize("metric", LIMITS)
def test_every_limit_is_of_a_known_metric_has_a_reason_and_two_sides(metric):
    limit = LIMITS[metric]
    better = CATALOGUE[metric].better
    assert (limit.passes > limit.fails) == (better == "higher")
    assert len(limit.reason) > 40
    middle = (limit.passes + limit.fails) / 2
    assert judge_one(quality(metric, [limit.passes])).outcome == "pass"
    assert judge_one(quality(metric, [middle])).outcome == "inconclusive"
    beyond = limit.fails - 0.01 if better == "higher" else limit.fails + 0.01
    assert judge_one(quality(metric, [beyond])).outcome == "fail"
    assert how_bad_one(quality(metric, [limit.passes])) == pytest.approx(1)


def test_an_interval_of_shares_stays_among_shares():
    for samples in ([0.0] * 16, [1.0] * 16, [0.9, 1.0] * 8):
        mean, interval = summary(Measurement("map_overlap", tuple(samples)))
        assert 0 <= interval.low <= mean <= interval.high <= 1


def test_few_examples_prove_nothing():
    assert judge_one(quality("same_first", [1] * 100)).outcome == "inconclusive"
    assert judge_one(quality("same_first", [1] * 400)).outcome == "pass"
    assert judge_one(quality("same_first", [1] * 94 + [0] * 6)).outcome == "inconclusive"
    assert judge_one(quality("same_first", [1] * 340 + [0] * 60)).outcome == "fail"
    assert judge_one(quality("map_overlap", [0.96] * 10)).outcome == "inconclusive"
    assert judge_one(quality("map_overlap", [0.96] * 200)).outcome == "pass"


def test_what_is_no_share_has_an_interval_that_neither_ends_at_1_nor_is_widened():
    """Divergences of 1.7 and 1.8 nat: a mean of 1.75 and no end below it."""
    value, interval = summary(Measurement("kl_divergence", (1.7, 1.8) * 50))
    assert value == pytest.approx(1.75)
    assert interval.low < 1.75 < interval.high < 1.8
