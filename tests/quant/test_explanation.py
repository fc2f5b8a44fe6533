"""Where a file's loss comes from: told against what the float network answers, not the quantized one."""

import onnx
import pytest
from small_networks import damaged, some

from qbench.errors import DoesNotFit
from qbench.quant.explanation import explained
from qbench.quant.recipe import Recipe
from qbench.strategies.base import Calibration, Selection

ROWS = some(96, 8)


@pytest.fixture
def told(tmp_path):
    """Return a function: explain a network whose second layer has next to no bits left."""
    onnx.save(damaged(1, 2), tmp_path / "float.onnx")

    def give(selection):
        data = Calibration("rows", {"x": ROWS}, selection=selection)
        return explained(tmp_path / "float.onnx", ("Gemm",), "a test", Recipe(), data)

    return give


def test_right_is_what_the_float_network_answers(told):
    found = {loss.layer.name: loss.recovered for loss in told(Selection("rows", {"x": ROWS}))}
    assert list(found) == ["w0", "w1"]
    assert found["w1"] > 0.1
    assert found["w1"] > found["w0"]


def test_without_examples_to_judge_by_nothing_is_explained(told):
    with pytest.raises(DoesNotFit, match=r"a test is explained on selection examples.*\n  fix: give a few"):
        told(None)
