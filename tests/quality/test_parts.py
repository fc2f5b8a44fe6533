"""Channels of unlike range in one tensor: found wherever they lie, judged apart; nothing else is split."""

import numpy as np
import pytest
from outputs import ctc, normal, sigmoid, softmax

from qbench.quality.compare import assess
from qbench.quality.judge import judge
from qbench.quality.parts import parts_of
from qbench.quality.seen import Seen

COUNT, ANCHORS = 60, 100
SCORES = [4, *range(7, 56, 3)]  # of a pose: box, score, 17 times (x, y, visibility)


def near_a_grid(rng):
    """Return coordinates that follow the anchors' grid: neighbours are alike."""
    return np.clip(np.linspace(0, 640, ANCHORS) + rng.normal(0, 8, (COUNT, ANCHORS)), 0, 640)


def anywhere(rng):
    return rng.uniform(0, 640, (COUNT, ANCHORS))


def waves(rng):
    """Return smooth coordinates: signals, by their looks."""
    base = np.sin(np.linspace(0, 9, ANCHORS)) * 300 + 320
    return base + rng.normal(0, 20, (COUNT, 1)) + rng.normal(0, 4, (COUNT, ANCHORS))


def pose(places):
    rng = np.random.default_rng(0)
    found = np.stack([places(rng) for _ in range(56)], axis=1)
    found[:, SCORES] = rng.uniform(0, 1, (COUNT, len(SCORES), ANCHORS)) ** 8
    return found.astype("f4")


def detector(places, silent):
    """Return four coordinates and four classes, some of which never fire."""
    rng = np.random.default_rng(0)
    found = np.stack([places(rng) for _ in range(8)], axis=1)
    found[:, 4:] = rng.uniform(0, 1, (COUNT, 4, ANCHORS)) ** 20 * 0.6
    found[:, silent] = 0
    return found.astype("f4")


def noisy(values):
    """Add an error of one pixel to what is in pixels, and of a thousandth to scores."""
    noise = np.random.default_rng(1).standard_normal(values.shape)
    in_pixels = np.abs(values).max(axis=(0, 2), keepdims=True) > 1
    return (values + noise * np.where(in_pixels, 1, 1e-3 * (values > 0))).astype("f4")


def turned(values):
    return np.ascontiguousarray(values.transpose(0, 2, 1))


PLACES = [near_a_grid, anywhere, waves]
NETWORKS = {
    **{f"pose, {places.__name__}": (pose(places), SCORES) for places in PLACES},
    **{
        f"classes {silent} silent, {places.__name__}": (detector(places, silent), [4, 5, 6, 7])
        for places in PLACES
        for silent in ([], [4], [5], [7], [4, 5])
    },
}


@pytest.mark.parametrize("turn", [np.asarray, turned], ids=["channels first", "channels last"])
@pytest.mark.parametrize("name", NETWORKS)
def test_scores_among_coordinates_are_judged_apart(name, turn):
    values, scores = NETWORKS[name]
    healthy = assess(["y"], [turn(values)], [turn(noisy(values))])
    assert [one.output_kind for one in healthy.outputs] == ["boxes", "sigmoid"]
    assert judge(healthy.outputs).outcome == "pass"
    assert healthy.collapses == ()
    gone = noisy(values)
    gone[:, scores] = 0
    found = assess(["y"], [turn(values)], [turn(gone)])
    assert judge(found.outputs).outcome == "fail"
    assert "(sigmoid)" in judge(found.outputs).rests_on
    assert len(found.collapses) == 1


@pytest.mark.parametrize("name", NETWORKS)
def test_coordinates_that_are_gone_beside_scores_that_are_good_do_not_hold(name):
    values, scores = NETWORKS[name]
    places = [channel for channel in range(values.shape[1]) if channel not in scores]
    given = values.copy()
    given[:, places] = given[::-1, places][:, :, ::-1]
    assert judge(assess(["y"], [values], [given]).outputs).outcome == "fail"


def test_one_of_the_scores_of_a_pose_that_is_gone_does_not_hold():
    """The score of the person, of eighteen: nothing is found any more."""
    values = pose(waves)
    given = values.copy()
    given[:, 4] = 0
    assert judge(assess(["y"], [values], [given]).outputs).outcome == "fail"


def test_a_part_that_is_no_run_of_neighbours_is_named_by_its_channels():
    found = assess(["y"], [pose(waves)], [pose(waves)]).outputs
    assert [one.part for one in found] == [
        "channels 0 to 3, 5 to 6, 8 to 9 ... of axis 1",
        "channels 4, 7, 10 ... of axis 1",
    ]
    found = assess(["y"], [detector(waves, [4])], [detector(waves, [4])]).outputs
    assert [one.part for one in found] == ["channels 0 to 3 of axis 1", "channels 4 to 7 of axis 1"]


def test_rows_of_box_confidence_and_class_are_three_parts():
    rng = np.random.default_rng(0)
    rows = rng.uniform(0, 640, (COUNT, 20, 6)).astype("f4")
    rows[..., 4] /= 640
    rows[..., 5] = rng.integers(0, 80, (COUNT, 20))
    found = assess(["y"], [rows], [rows]).outputs
    assert [(one.part, one.output_kind) for one in found] == [
        ("channels 0 to 3 of axis 2", "boxes"),
        ("channel 4 of axis 2", "sigmoid"),
        ("channel 5 of axis 2", "values"),
    ]


def test_many_units_are_grouped_and_not_given_up():
    """Ten columns in three units, none beside its like; the same one is always the largest."""
    scales = np.array([1, 100, 10_000] * 3 + [1])
    values = ((normal(COUNT, 10) + 20 * (np.arange(10) == 8)) * scales).astype("f4")  # the ninth is first
    found = parts_of(Seen.of("y", values))
    assert [part.channels for part in found] == [(0, 3, 6, 9), (1, 4, 7), (2, 5, 8)]
    gone = values.copy()
    gone[:, ::3] = 0
    given = assess(["y"], [values], [gone])
    assert {one.output_kind for one in given.outputs} == {"values"}
    assert judge(given.outputs).outcome == "fail"


def test_rows_of_unlike_units_are_no_places_of_classes():
    """Along the anchors there is a first answer in every row, which says nothing."""
    rng = np.random.default_rng(0)
    values = (rng.standard_normal((COUNT, 3, 30)) * [[1], [100], [10_000]]).astype("f4")
    assert {one.output_kind for one in assess(["y"], [values], [values]).outputs} == {"values"}


@pytest.mark.parametrize("values", [
    ctc(), softmax(ctc()), np.where(np.arange(30) == 7, -1e9, ctc()).astype("f4"),
    sigmoid(5 * normal(8, 80, 400) - 6), normal(8, 12, 9), normal(3, 10),
    np.where(np.arange(12)[:, None] > 9, -1e9, normal(8, 12, 9)).astype("f4"),
    np.maximum(normal(40, 200), 0) * np.geomspace(0.05, 50, 200, dtype="f4"),
], ids=["text", "read text", "text, a letter masked", "scores", "tokens", "three", "tokens, masked places",
        "features of every size"])  # fmt: skip
def test_ranges_without_a_gap_or_that_say_nothing_are_one_piece(values):
    assert [one.part for one in assess(["y"], [values], [values]).outputs] == [""]


def test_a_small_channel_of_plain_values_counts_by_its_own_size():
    """A channel of ±0.02 beside one of ±300: what it says is noise, and 80 dB over both."""
    values = (normal(COUNT, 2, 8, 8) * np.array([300, 0.02])[:, None, None]).astype("f4")
    given = values.copy()
    given[:, 1] = values[::-1, 1]
    for names in ({}, {"y": "values"}):
        assert judge(assess(["y"], [values], [given], kinds=names).outputs).outcome == "fail"
    rounded = values.copy()
    rounded[:, 1] = 5 + 1e-6 * values[:, 1]  # stands still, but for a float's last digit
    last = rounded.copy()
    last[:, 1] = rounded[::-1, 1]
    assert judge(assess(["y"], [rounded], [last], kinds={"y": "values"}).outputs).outcome == "pass"


def test_a_score_that_float_is_hardly_ever_confident_in_may_be_rounded_to_zero():
    """Its answers are no one's loss, and what stands still of the others is told."""
    values = sigmoid(normal(200, 6) - 2)
    values[:, 5] = 0.001 * values[:, 4]
    given = values.copy()
    given[:, 5] = 0
    assert judge(assess(["y"], [values], [given]).outputs).outcome == "pass"
    given[:, 4] = 0
    assert "confident in stand still" in judge(assess(["y"], [values], [given]).outputs).text


def test_without_a_confident_score_nothing_is_said_of_dead_ones():
    values = (0.009 * sigmoid(normal(60, 6))).astype("f4")
    (found,) = assess(["y"], [values], [values * 0.99]).outputs
    assert {one.metric: one.reason for one in found.withheld}["dead_channels"].startswith(
        "float is confident"
    )
