"""Every kind: recognised on outputs of real shapes, worked by hand, and refused where it cannot be."""

import numpy as np
import pytest
from outputs import LOOKS_LIKE, RNG, blobs, ctc, normal, sigmoid, softmax, yolo

from qbench.errors import BadParameter
from qbench.quality.compare import assess, compare, read_kinds, recognise
from qbench.quality.kinds.base import KINDS
from qbench.quality.kinds.text import similarity
from qbench.quality.parts import parts_of
from qbench.quality.seen import Seen
from qbench.records import Measurement


@pytest.mark.parametrize(("name", "values", "kind"), LOOKS_LIKE, ids=[name for name, *_ in LOOKS_LIKE])
def test_a_kind_is_recognised_from_shape_range_and_values(name, values, kind):
    assert recognise(Seen.of(name, values)) == kind


@pytest.mark.parametrize(("name", "values", "kind"), LOOKS_LIKE, ids=[name for name, *_ in LOOKS_LIKE])
def test_identical_outputs_are_perfect_whatever_their_kind(name, values, kind):
    (found,) = compare([name], [values], [values.copy()])
    assert (found.output_kind, found.recognised) == (kind, True)
    perfect = {"range_error": 0.0, "dead_channels": 0.0, "kl_divergence": 0.0, "confidence_moved": 0.0}
    for measurement in found.measurements:
        np.testing.assert_allclose(measurement.samples, perfect.get(measurement.metric, 1.0), atol=1e-9)


def test_every_kind_is_recognised_on_something_here_but_those_that_need_to_know_the_network():
    assert {kind for *_, kind in LOOKS_LIKE} == set(KINDS) - {"passed", "state"}
    assert len({KINDS[name].order for name in KINDS}) == len(list(KINDS))


def test_points_of_a_signal_are_no_classes_and_classes_in_no_order_are():
    waves = np.sin(np.linspace(0, 6, 48) * RNG.uniform(1, 3, (64, 1, 1))).astype("f4")
    assert recognise(Seen.of("sound", waves)) == "values"
    shuffled = waves[..., RNG.permutation(48)]  # the same numbers
    assert recognise(Seen.of("sound", shuffled)) == "scores"


@pytest.mark.parametrize(
    ("low", "high", "kind"), [(0.16, 0.31, "values"), (0.01, 0.31, "sigmoid"), (0.16, 0.9, "sigmoid")]
)
def test_one_number_an_example_is_a_score_where_it_comes_near_an_end(low, high, kind):
    assert recognise(Seen.of("error", np.linspace(low, high, 64, dtype="f4"))) == kind


# --- worked by hand ------------------------------------------------------------------------------------


def measured(wanted, given, kind, **more):
    (found,) = compare(["y"], [np.asarray(wanted)], [np.asarray(given)], kinds={"y": kind}, **more)
    return {m.metric: m.samples for m in found.measurements}, found


def test_class_scores_by_hand():
    wanted = np.array([[0.0, np.log(3.0)], [2.0, 1.0], [5.0, 1.0]])
    found, quality = measured(wanted, [[0.0, 0.0], [2.0, 1.0], [0.0, 1.0]], "scores")
    assert found["same_first"] == (0, 1, 0)
    assert found["kl_divergence"][0] == pytest.approx(0.25 * np.log(0.5) + 0.75 * np.log(1.5))
    assert (quality.decides, quality.recognised) == ("same_first", False)


def test_probabilities_are_not_put_through_a_softmax_again():
    found, _ = measured([[0.25, 0.75], [0.5, 0.5]], [[0.5, 0.5], [0.5, 0.5]], "probabilities")
    assert found["kl_divergence"] == pytest.approx((0.25 * np.log(0.5) + 0.75 * np.log(1.5), 0))
    assert found["confidence_moved"] == pytest.approx((0.25, 0))
    assert found["same_first"] == (0, 1)


def test_positions_are_counted_along_the_last_axis_and_along_the_second_of_pictures():
    wanted = np.eye(3)[[[0, 1, 2, 0], [1, 1, 1, 1]]]
    given = np.eye(3)[[[0, 1, 2, 1], [1, 0, 0, 0]]]
    assert measured(wanted, given, "scores")[0]["same_positions"] == (0.75, 0.25)
    pictures = [values.transpose(0, 2, 1)[..., None] for values in (wanted, given)]
    assert measured(*pictures, "scores")[0]["same_positions"] == (0.75, 0.25)


def test_confident_answers_by_hand():
    wanted = np.tile([[0.9, 0.8, 0.1, 0.6]], (3, 1))
    given = [[0.9, 0.4, 0.1, 0.6], [0.9, 0.8, 0.7, 0.6], [0.0, 0.0, 0.0, 0.0]]
    found, _ = measured(wanted, given, "sigmoid")
    assert found["confident_overlap"] == pytest.approx((2 / 3, 3 / 4, 0))
    assert found["confident_kept"] == pytest.approx((2 / 3, 1, 0))
    assert found["confidence_moved"] == pytest.approx((0.4 / 3, 0, 2.3 / 3))


def test_where_float_is_hardly_confident_the_threshold_is_lower():
    wanted = np.tile([[0.3, 0.2, 0.0]], (8, 1))
    assert KINDS["sigmoid"](Seen.of("y", wanted)).threshold == 0.25
    found, _ = measured(wanted, np.tile([[0.3, 0.26, 0.0]], (8, 1)), "sigmoid")
    assert found["confident_overlap"] == (0.5,) * 8


def test_a_score_that_crosses_the_threshold_by_a_hair_is_the_same_answer():
    wanted = np.tile([[0.52, 0.48, 0.9]], (8, 1))
    found, _ = measured(wanted, np.tile([[0.48, 0.52, 0.9]], (8, 1)), "sigmoid")
    assert found["confident_overlap"] == found["confident_kept"] == (1.0,) * 8
    found, _ = measured(wanted, np.tile([[0.46, 0.54, 0.9]], (8, 1)), "sigmoid")
    assert found["confident_overlap"] == pytest.approx((1 / 3,) * 8)
    assert found["confident_kept"] == (0.5,) * 8


def test_examples_without_a_confident_answer_say_nothing_of_it():
    wanted = np.array([[0.9, 0.0], [0.1, 0.0]] * 8)
    found, _ = measured(wanted, wanted * 1.01, "sigmoid")
    assert found["confident_overlap"] == (1.0,) * 8  # of sixteen examples


def test_overlap_of_maps_by_hand():
    wanted, given = np.zeros((2, 1, 4, 4)), np.zeros((2, 1, 4, 4))
    wanted[0, 0, :2], given[0, 0, 1:3] = 1, 1  # 8 pixels each, 4 in common
    wanted[1, 0, 0, 0] = given[1, 0, 0, 0] = 0.6
    found, _ = measured(wanted, given, "map")
    assert found["map_overlap"] == pytest.approx((4 / 12, 1))
    assert found["confident_kept"] == pytest.approx((0.5, 1))


def test_boxes_by_hand():
    found, _ = measured([[0.0, 0, 100, 200], [0, 0, 0, 0]], [[0.0, 8, 100, 200], [4, 4, 4, 4]], "boxes")
    assert found["range_error"] == pytest.approx((2 / 200, 4 / 200))


def test_embeddings_by_hand_and_no_first_answer_of_theirs():
    wanted = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    given = np.array([[1.0, 0.0], [0.9, 0.1], [1.0, 0.0], [0.1, 0.9]])
    found, quality = measured(wanted, given, "embedding")
    assert found["cosine"] == pytest.approx((1, 1, 0, 1))
    assert found["same_nearest"] == (0, 1, 0, 0)  # the third now is the first's own direction
    assert quality.decides == "cosine"
    assert "same_first" not in found


def test_text_by_hand_after_repeats_and_blanks_are_dropped():
    paths = [[0, 1, 1, 0, 1, 2], [1, 2, 3, 0, 0, 0]]  # 1 1 2; 1 2 3
    same_texts = [[1, 0, 0, 1, 2, 2], [1, 2, 0, 0, 0, 0]]  # 1 1 2; 1 2
    found, _ = measured(np.eye(4)[paths], np.eye(4)[same_texts], "text")
    assert found["same_text"] == (1, 0)
    assert found["text_similarity"] == pytest.approx((1, 2 / 3))


@pytest.mark.parametrize(("first", "second", "distance"), [
    ("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2), ("abc", "abc", 0),
    ("abc", "", 3),
])  # fmt: skip
def test_edit_distance_by_hand(first, second, distance):
    longest = max(len(first), len(second), 1)
    found = similarity([ord(c) for c in first], [ord(c) for c in second])
    assert found == pytest.approx(1 - distance / longest)


def test_labels_by_hand():
    assert measured([[1, 2], [3, 4]], [[1, 2], [3, 5]], "labels")[0]["same_labels"] == (1, 0.5)


def test_a_tenth_of_noise_is_twenty_decibels():
    found, quality = measured(
        np.ones((4, 3)) * [[1], [2], [3], [4]], np.ones((4, 3)) * [[1.1], [2.2], [3.3], [4.4]], "values"
    )  # noqa: E501
    assert found["sqnr"] == pytest.approx((20,))
    assert found["cosine"] == pytest.approx((1,))
    assert quality.decides == "sqnr"


@pytest.mark.parametrize("scale", [1e-6, 3.0, 1e6])
def test_noise_is_counted_in_the_signal_s_own_units(scale):
    wanted, noise = normal(50, 4).astype(float), 0.01 * RNG.standard_normal((50, 4))
    once = measured(wanted, wanted + noise, "values")[0]
    scaled = measured(scale * wanted, scale * (wanted + noise), "values")[0]
    for name in ("sqnr", "sqnr_varying", "sqnr_worst_channel", "cosine"):
        assert scaled[name] == pytest.approx(once[name])
    louder = measured(wanted, wanted + 10 * noise, "values")[0]
    assert louder["sqnr"][0] == pytest.approx(once["sqnr"][0] - 20)


def test_zeros_have_no_direction_in_common_with_anything():
    assert measured(np.ones((4, 3)) + np.eye(4, 3), np.zeros((4, 3)), "values")[0]["cosine"] == (0.0,)


def test_a_shift_of_all_values_does_not_hide_that_what_varies_is_gone():
    wanted = 1000 + normal(200, 3).astype(float)
    found = measured(wanted, np.full_like(wanted, 1000), "values")[0]
    assert found["sqnr"][0] > 50
    assert found["sqnr_varying"][0] < 0.5
    assert found["dead_channels"] == (1.0,)


# --- parts, constants, what passes through ---------------------------------------------------------------


def test_boxes_and_scores_in_one_tensor_are_judged_apart():
    outputs = compare(["output0"], [yolo()], [yolo()])
    assert [(one.part, one.output_kind) for one in outputs] == [
        ("channels 0 to 3 of axis 1", "boxes"),
        ("channels 4 to 6 of axis 1", "sigmoid"),
    ]
    turned = yolo().transpose(0, 2, 1)
    assert [one.part for one in compare(["o"], [turned], [turned])] == [
        "channels 0 to 3 of axis 2",
        "channels 4 to 6 of axis 2",
    ]


def test_scores_that_are_all_zero_are_seen_beside_boxes_that_are_good():
    given = yolo()
    given[:, 4:] = 0
    found = assess(["output0"], [yolo()], [given])
    assert len(found.collapses) == 1
    assert found.collapses[0].text.startswith("output 'output0', channels 4 to 6 of axis 1: it says the same")


@pytest.mark.parametrize("values", [
    normal(40, 10), normal(40, 1000), softmax(9 * normal(40, 200)), sigmoid(5 * normal(8, 80, 400) - 6),
    blobs(), normal(8, 20, 384), softmax(ctc()),
])  # fmt: skip
def test_what_is_of_one_piece_is_not_split(values):
    assert parts_of(Seen.of("y", values)) == ()


def test_a_constant_and_an_input_handed_through_say_nothing_and_say_why():
    x = normal(20, 5)
    constant = np.tile(np.arange(6, dtype="f4"), (20, 1))
    found = compare(["c", "x"], [constant, x], [constant, x], inputs={"features": x})
    assert [(one.output_kind, one.decides) for one in found] == [("constant", ""), ("passed", "")]
    assert "judges nothing" in found[0].withheld[0].reason
    assert "handed through" in found[1].withheld[0].reason


def test_a_constant_that_is_no_longer_that_constant_is_judged():
    constant = np.tile(np.arange(6, dtype="f4"), (20, 1))
    (found,) = compare(["c"], [constant], [constant * 1.5])
    assert (found.output_kind, found.decides) == ("values", "sqnr")


def test_outputs_whose_length_depends_on_their_values_are_compared_one_by_one():
    wanted = [np.arange(n, dtype="i8") for n in (3, 4, 5)]
    assert compare(["ids"], [wanted], [list(wanted)])[0].measurements == (
        Measurement("same_labels", (1, 1, 1)),
    )
    shorter = [wanted[0], wanted[1][:2], wanted[2]]
    (found,) = compare(["ids"], [wanted], [shorter])
    assert found.measurements == (Measurement("same_labels", (1, 1, 0)),)
    boxes = [RNG.uniform(0, 640, (n, 4)).astype("f4") for n in (3, 4, 5)]
    (found,) = compare(["boxes"], [boxes], [[boxes[0], boxes[1][:1], boxes[2]]])
    assert (found.decides, found.measurements[0].samples) == ("comparable", (1, 1, 0))


# --- what the user says --------------------------------------------------------------------------------


def test_the_user_s_word_goes_before_what_is_recognised():
    assert (
        compare(["y"], [normal(40, 10)], [normal(40, 10)], kinds={"y": "values"})[0].output_kind == "values"
    )


@pytest.mark.parametrize(("kinds", "words"), [
    ({"y": "sigmod"}, "no kind of output is called 'sigmod'(.|\n)*did you mean 'sigmoid'"),
    ({"z": "scores"}, "no output 'z'(.|\n)*known: y"),
    ({"y": "sigmoid"}, "from 0 to 1; y is float32 of shape Nx10(.|\n)*read as scores"),
    ({"y": "text"}, "shape"),
    ({"y": "constant"}, "this one is not"),
    ({"y": "map"}, "from 0 to 1"),
])  # fmt: skip
def test_a_word_that_cannot_be_is_refused_with_a_fix(kinds, words):
    with pytest.raises(BadParameter, match=words):
        compare(["y"], [normal(40, 10)], [normal(40, 10)], kinds=kinds)


def test_numbers_of_unlike_units_are_no_classes_and_are_judged_one_by_one():
    values = (normal(60, 3) * [1, 50, 3000] + [0, 400, 90000]).astype("f4")
    found = compare(["y"], [values], [values * 1.001])
    assert [one.part for one in found] == [f"channel {number} of axis 1" for number in range(3)]
    assert {one.output_kind for one in found} == {"values"}


def test_a_masked_class_is_a_class_all_the_same():
    logits = normal(60, 5)
    logits[:, 3] = -1e9
    (found,) = compare(["y"], [logits], [logits])
    assert (found.output_kind, found.part) == ("scores", "")


def test_outputs_of_another_shape_are_counted_and_no_crash():
    (found,) = compare(["y"], [normal(40, 10)], [normal(40, 9)])
    assert found.measurements == (Measurement("same_first", (0.0,) * 40),)
    assert "40 of 40" in found.withheld[0].reason


def test_large_logits_do_not_overflow():
    found, _ = measured(1e4 * normal(4, 3), np.zeros((4, 3)), "scores")
    assert np.isfinite(found["kl_divergence"]).all()


def test_state_for_the_next_call_judges_nothing_whatever_it_says():
    (found,) = compare(["hn"], [normal(20, 6)], [np.zeros((20, 6), "f4")], kinds={"hn": "state"})
    assert (found.decides, found.measurements) == ("", ())
    assert "the calls after it" in found.withheld[0].reason


def test_what_the_user_says_is_read_with_a_fix_for_what_is_no_pair():
    assert read_kinds(["a=scores", "b = text", "x=y=boxes"]) == {"a": "scores", "b": "text", "x=y": "boxes"}
    for entry in ("scores", "=scores", "a="):
        with pytest.raises(BadParameter, match="NAME=KIND(.|\n)*sigmoid"):
            read_kinds([entry])
