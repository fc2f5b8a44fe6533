"""Where a file's loss comes from: on which examples, in which batches, and what is right on them."""

import numpy as np
import onnx
import pytest
from small_networks import damaged, network, node, said, some

from qbench.errors import DoesNotFit
from qbench.quant import explanation
from qbench.quant.affine import WeightGrid
from qbench.quant.explanation import explained
from qbench.quant.recipe import Recipe
from qbench.strategies.base import Calibration, Selection

ROWS = some(96, 8)


@pytest.fixture
def told(tmp_path):
    """Return a function: explain a network whose second layer has next to no bits left, or another."""

    def give(selection, fixed=None, model=None, recipe=None):
        onnx.save(model or damaged(1, 2), tmp_path / "float.onnx")
        data = Calibration("rows", {"x": ROWS}, fixed, selection=selection)
        return explained(tmp_path / "float.onnx", ("Gemm",), "a test", recipe or Recipe(), data)

    return give


def test_without_labels_right_is_what_the_float_network_answers(told):
    found = told(Selection("rows", {"x": ROWS}))
    assert found.judge == "float"
    back = {loss.layer.name: loss.right.mean() - found.right.mean() for loss in found.layers}
    assert list(back) == ["w0", "w1"]
    assert back["w1"] > 0.1
    assert back["w1"] > back["w0"]


def test_labels_decide_where_there_are_some(told):
    """A layer in float answers as float does; by labels that float gets wrong, that is wrong."""
    model = network([node("Gemm", ["x", "w"], ["y"])], (8,), {"w": some(8, 8)})
    answers = said(model, ROWS).argmax(1)
    labels = np.where(np.arange(96) < 60, answers, (answers + 1) % 8)
    found = told(
        Selection("rows", {"x": ROWS}, lambda outputs: outputs.argmax(1) == labels),
        model=model,
        recipe=Recipe(WeightGrid(8), activation_bits=32),
    )
    assert found.judge == "labels"
    assert found.layers[0].right.tolist() == [True] * 60 + [False] * 36


def test_the_first_so_many_are_judged_and_labels_hear_of_no_others(told, monkeypatch):
    monkeypatch.setattr(explanation, "JUDGED_ON", 40)
    heard = []

    def right(outputs):
        heard.append(len(outputs))
        return outputs[:, 0] > 0

    found = told(Selection("rows", {"x": ROWS}, right))
    assert {len(found.right), *(len(loss.right) for loss in found.layers), *heard} == {40}


def fixed_batch(model, size):
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = size
    return model


@pytest.mark.parametrize("filled", [0, 2], ids=["10 rows", "10 and 2 behind"])
@pytest.mark.parametrize("labelled", [False, True])
def test_a_network_of_a_fixed_batch_judges_every_example_once(filled, labelled, told):
    """10 examples in batches of 4; right is the same as in a network that takes any batch."""
    right = (lambda outputs: outputs[:10].argmax(1) == np.arange(10) % 8) if labelled else None
    rows = np.concatenate([ROWS[:10], ROWS[9:10].repeat(filled, 0)])
    found = told(Selection("rows", {"x": rows}, right, filled), 4, fixed_batch(damaged(1, 2), 4))
    free = told(Selection("rows", {"x": ROWS[:10]}, right))
    assert found.right.tolist() == free.right.tolist()
    assert len(found.right) == 10
    for own, other in zip(found.layers, free.layers, strict=True):
        assert own.right.tolist() == other.right.tolist()
        assert own.snr_db == pytest.approx(other.snr_db, abs=3)  # two examples are heard twice


@pytest.mark.parametrize(
    "selection", [None, Selection("rows", {}), Selection("rows", {"x": ROWS[:0]})], ids=["", "no", "0"]
)
def test_without_examples_to_judge_by_nothing_is_explained(selection, told):
    with pytest.raises(DoesNotFit, match=r"a test is explained on selection examples.*\n  fix: give a few"):
        told(selection)
