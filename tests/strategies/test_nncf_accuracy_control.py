"""Accuracy control: what it chooses by, what it puts back, and what it says of it."""

import numpy as np
import pytest

from qbench.backends.base import BACKENDS, Placement
from qbench.cases import Float, Quantized, Scheme
from qbench.errors import BadParameter, DoesNotFit
from qbench.formats.proof import weights_of
from qbench.strategies.base import STRATEGIES, Calibration, Selection
from qbench.strategies.nncf_accuracy_control import EXAMPLES, Chooser

AccuracyControl = STRATEGIES["nncf_accuracy_control"]
FORMATS = {"openvino": "openvino", "onnx": "onnxruntime"}
CHOSEN = np.random.default_rng(1).standard_normal((300, 3, 8, 8)).astype("f4")


def data(images, chosen=CHOSEN, right=None, fixed=None):
    return Calibration("", {"images": images}, fixed, selection=Selection("", {"images": chosen}, right))


def answers(artifact, images):
    return BACKENDS[FORMATS[artifact.format]]().load(artifact, Placement()).run({"images": images})[0]


def in_float(artifact):
    return [weight.name for weight in weights_of(artifact) if weight.bits == 32]


@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan")])
def test_a_drop_that_is_no_share_is_refused(value):
    with pytest.raises(BadParameter, match=r"max_drop = .* is no share (.|\n)*fix: write max_drop = 0.01"):
        AccuracyControl(max_drop=value)


def test_the_state_says_that_layers_may_be_in_float():
    assert AccuracyControl().state(Float()) == Quantized(Scheme(8, 8, "per_channel", mixed=True))


@pytest.mark.parametrize("name", FORMATS)
def test_layers_go_back_until_the_drop_is_small_enough(name, in_format, images, tmp_path):
    (tmp_path / "loose").mkdir()
    loose = AccuracyControl(max_drop=0.2).apply(in_format(name), data(images), tmp_path / "loose")
    assert in_float(loose) == []
    assert loose.notes[-1].found.startswith("0 of 3 layers in float; ")
    strict = AccuracyControl(max_drop=0.01).apply(in_format(name), data(images), tmp_path)
    assert 0 < len(in_float(strict)) < 3
    told = strict.notes[-1]
    assert told.found.startswith(
        f"{len(in_float(strict))} of 3 layers in float ({', '.join(in_float(strict))})"
    )
    assert not told.warns
    wanted = answers(in_format(name), CHOSEN).argmax(1)
    lost = [1 - (answers(product, CHOSEN).argmax(1) == wanted).mean() for product in (loose, strict)]
    assert lost[1] < 0.0101 < lost[0]  # these same examples, asked of the files
    assert f"{lost[1]:.2%} lost of 300 selection examples, 1.00% allowed" in told.found


def test_the_task_says_what_is_right_where_it_can(in_format, images, tmp_path):
    seen = []

    def right(outputs):
        seen.append(len(outputs))
        return np.arange(len(outputs)) % 2 == 0  # whatever the outputs are: nothing is ever lost

    product = AccuracyControl(max_drop=0.0).apply(in_format("onnx"), data(images, right=right), tmp_path)
    assert set(seen) == {300}  # all at once, in order, as the task judges them
    assert product.notes[-1].found == (
        "0 of 3 layers in float; 0.00% lost of 300 selection examples, 0.00% allowed"
    )


def test_nothing_that_may_stay_quantized_is_refused_with_a_drop_that_would_do(in_format, images, tmp_path):
    wanted = answers(in_format("onnx"), CHOSEN)

    def right(outputs):  # only what is float to the last digits
        return np.abs(outputs - wanted).max(axis=1) < 1e-5

    with pytest.raises(DoesNotFit, match=r"all 3 layers had to go back (.|\n)*fix: allow a larger max_drop"):
        AccuracyControl().apply(in_format("onnx"), data(images, right=right), tmp_path)


@pytest.mark.parametrize("name", FORMATS)
def test_data_that_is_no_number_is_refused(name, in_format, images, tmp_path):
    bad = images.copy()
    bad[7, 0, 3, 3] = np.nan
    with pytest.raises(DoesNotFit, match=r"calibration input 'images': 1 of its 40 .* number 7"):
        AccuracyControl().apply(in_format(name), data(bad), tmp_path)
    with pytest.raises(DoesNotFit, match=r"selection input 'images': it holds NaN(.|\n)*fix: repair"):
        AccuracyControl().apply(in_format(name), data(images, chosen=bad), tmp_path)


@pytest.mark.parametrize("selection", [None, Selection("", {}), Selection("", {"images": CHOSEN[:0]})])
def test_without_selection_examples_there_is_nothing_to_choose_by(selection, in_format, images, tmp_path):
    with pytest.raises(DoesNotFit, match="there are none\n  fix: choose a task with a selection split"):
        AccuracyControl().apply(
            in_format("onnx"), Calibration("", {"images": images}, selection=selection), tmp_path
        )


# --- the chooser ------------------------------------------------------------------------------------


def chooser(count, right=None, fixed=None):
    """Return a chooser whose network answers twice each row, and the sizes of the batches that it saw."""
    rows, sizes = np.arange(count * 2, dtype="f4").reshape(count, 2), []

    def run_of(factor):
        def run(batch):
            sizes.append(len(batch["images"]))
            return batch["images"] * factor

        return run

    given = Calibration("", {}, fixed, selection=Selection("", {"images": rows}, right))
    return Chooser.of(given, run_of, 2), sizes


def test_a_few_hundred_examples_are_asked_in_batches_of_the_networks_size():
    found, sizes = chooser(1000)
    assert (found.count, sum(sizes) >= EXAMPLES, set(sizes)) == (EXAMPLES, True, {16})
    _, sizes = chooser(10, fixed=4)
    assert sizes == [4, 4, 4]


def test_part_of_the_examples_is_judged_as_part_of_all():
    def right(outputs):  # twice the row, where it was asked
        return outputs[:, 0] == 4 * np.arange(10)

    found, _ = chooser(10, right)
    share, moved = found.validate(2, [7, 2, 9])
    assert (share, moved) == (1.0, [0, 0, 0])
    share, moved = found.validate(3, [7, 2])  # half again as much: a quarter of the square
    assert share == pytest.approx(-0.25e-6)
    assert moved == pytest.approx([-0.25, -0.25])
