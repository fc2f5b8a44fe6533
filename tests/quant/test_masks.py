"""A constant that stands for minus infinity: not in a range, and no attention is lost to it."""

import numpy as np
import onnx
import pytest
from small_networks import network, node, said, some

from qbench.cases import Float
from qbench.formats.artifact import Artifact, TensorSpec
from qbench.quant.masks import Masks
from qbench.strategies.base import STRATEGIES, Calibration

LEAST = float(np.finfo("f4").min)


def filled(constant):
    """Where x is below -1.5 a constant stands, and a product takes it: its range is at stake."""
    nodes = [
        node("Less", ["x", "edge"], ["far"]), node("Where", ["far", "mask", "x"], ["m"]),
        node("Max", ["m", "floor"], ["c"]), node("MatMul", ["m", "w"], ["p"]),
        node("MatMul", ["c", "w"], ["q"]), node("Add", ["p", "zero"], ["y"]), node("Identity", ["q"], ["z"]),
    ]  # fmt: skip
    stored = {
        "edge": np.float32(-1.5),
        "mask": np.float32(constant),
        "floor": np.float32(-2),
        "w": some(6, 4),
    }
    return network(nodes, (6,), stored | {"zero": np.float32(0)}, outputs=("y", "z"))


@pytest.mark.parametrize("constant", [-1e4, -1e9, LEAST])
def test_the_constant_is_found_and_left_out_of_ranges(constant):
    masks = Masks.of(filled(constant))
    assert masks.level == abs(np.float32(constant))
    run = masks.left_out(lambda batch: iter([("m", batch["x"]), ("c", batch["x"][:1])]))
    values = np.array([1.0, constant, -2.0], "f4")
    assert [(name, array.tolist()) for name, array in run({"x": values})] == [
        ("m", [1.0, -2.0]),
        ("c", [1.0]),
    ]
    (note,) = masks.notes()
    assert note == ("left out of ranges", f"the mask constant {constant:.3g}, in m")


def test_a_network_without_one_is_looked_at_as_it_is():
    masks = Masks.of(filled(-100))
    run = object()
    assert masks.left_out(run) is run
    assert list(masks.notes()) == []


@pytest.mark.parametrize("name", ["static_int8", "ptq"])
def test_what_is_not_masked_keeps_its_codes_and_the_note_names_the_constant(name, tmp_path):
    x = some(64, 6)
    model = filled(LEAST)
    onnx.save(model, tmp_path / "float.onnx")
    specs = (TensorSpec("x", "float32", (None, 6)),)
    source = Artifact("onnx", Float("fp32"), specs, specs, path=tmp_path / "float.onnx")
    (tmp_path / "out").mkdir()
    product = STRATEGIES[name]().apply(source, Calibration("rows", {"x": x}), tmp_path / "out")
    whole = (x >= -1.5).all(axis=1)  # rows in which nothing is masked
    wanted, found = said(model, x, name="y")[whole], said(onnx.load(product.path), x, name="y")[whole]
    assert 10 * np.log10((wanted**2).sum() / ((wanted - found) ** 2).sum()) > 30
    told = {note.what: note.found for note in product.notes}
    assert told["left out of ranges"] == "the mask constant -3.4e+38, in m"


def attention(constant):
    """One head over six places, the last two of which a mask in the network keeps from being looked at."""
    mask = np.zeros((1, 6), "f4")
    mask[:, 4:] = 1
    nodes = [
        *(node("MatMul", ["x", f"w{one}"], [one]) for one in "qkv"),
        node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]), node("MatMul", ["q", "kt"], ["scores"]),
        node("Mul", ["hidden", "mask"], ["out"]), node("Add", ["scores", "out"], ["masked"]),
        node("Softmax", ["masked"], ["a"]), node("MatMul", ["a", "v"], ["y"]),
    ]  # fmt: skip
    stored = {name: some(8, 8, seed=seed) / 3 for seed, name in enumerate(("wq", "wk", "wv"))}
    return network(nodes, (6, 8), stored | {"hidden": mask, "mask": np.float32(constant)})


@pytest.mark.parametrize("constant", [-100, LEAST])
def test_attention_with_a_mask_is_as_good_with_any_constant(constant, tmp_path):
    x = some(48, 6, 8)
    model = attention(constant)
    onnx.save(model, tmp_path / "float.onnx")
    specs = (TensorSpec("x", "float32", (None, 6, 8)),)
    source = Artifact("onnx", Float("fp32"), specs, specs, path=tmp_path / "float.onnx")
    (tmp_path / "out").mkdir()
    product = STRATEGIES["static_int8"]().apply(source, Calibration("rows", {"x": x}), tmp_path / "out")
    wanted, found = said(model, x), said(onnx.load(product.path), x)
    assert 10 * np.log10((wanted**2).sum() / ((wanted - found) ** 2).sum()) > 28
