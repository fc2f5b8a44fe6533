"""Accuracy control: what it chooses by, what it puts back, and what it says of it."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

from qbench.backends.base import BACKENDS, Placement
from qbench.cases import Float, Quantized, Scheme
from qbench.errors import BadParameter, DoesNotFit
from qbench.formats.proof import weights_of
from qbench.quant.coverage import InFloat
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


def chooser(count, right=None, fixed=None, real=None):
    """Return a chooser whose network answers twice each row, and the sizes of the batches that it saw."""
    rows, sizes = np.arange(count * 2, dtype="f4").reshape(count, 2), []
    filled = 0 if real is None else count - real

    def run_of(factor):
        def run(batch):
            sizes.append(len(batch["images"]))
            return batch["images"] * factor

        return run

    given = Calibration("", {}, fixed, selection=Selection("", {"images": rows}, right, filled))
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


def test_what_only_fills_up_the_last_batch_is_never_judged():
    """Ten examples for a network of batches of four: two more rows, for which there is no label."""

    def right(outputs):  # as run/steps/given.py cuts: labels of the real ones alone
        return outputs[:10, 0] == 4 * np.arange(10)

    found, sizes = chooser(12, right, fixed=4, real=10)
    assert found.count == 10
    assert found.float_share == 1.0
    assert found.share(found.run_of(3)) == 0.1  # three times 0 is right
    assert found.validate(2, range(found.count)) == (1.0, [0] * 10)
    assert set(sizes) == {4}
    unlabelled, _ = chooser(12, fixed=4, real=10)
    assert unlabelled.count == 10


def test_few_examples_with_labels_and_a_fixed_batch_as_a_run_gives_them(
    in_format, images, tmp_path, monkeypatch
):
    """The whole step, but for the search: 10 examples fill two batches of 8 up to 16 rows."""
    source = in_format("onnx")
    model = onnx.load(source.path)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 8
    del model.graph.value_info[:]
    onnx.save(model, tmp_path / "fixed.onnx")
    filled = CHOSEN[np.minimum(np.arange(16), 9)]
    selection = Selection("", {"images": filled}, lambda outputs: np.arange(len(outputs[:10])) > 0, 6)
    monkeypatch.setattr(AccuracyControl, "_quantized", lambda self, given, data, chooser: (int8, InFloat({})))
    (tmp_path / "int8").mkdir()
    fixed = replace(source, path=tmp_path / "fixed.onnx")
    given = Calibration("", {"images": images}, 8, selection=selection)
    int8 = onnx.load(STRATEGIES["static_int8"]().apply(fixed, given, tmp_path / "int8").path)
    (note,) = AccuracyControl().apply(fixed, given, tmp_path).notes
    assert note.found == "0 of 3 layers in float; 0.00% lost of 10 selection examples, 1.00% allowed"
