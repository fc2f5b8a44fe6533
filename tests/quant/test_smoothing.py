"""Outliers of activations in weights: exact in float, by hand, and better once rounded."""

import numpy as np
import onnx
import pytest
from small_networks import network, node, said, some

from qbench.cases import Float
from qbench.errors import BadParameter, DoesNotFit
from qbench.formats.artifact import Artifact, TensorSpec
from qbench.quant.smoothing import factors, ratio_of, taken_by_products
from qbench.strategies.base import STRATEGIES, Calibration

ROWS = np.random.default_rng(4).standard_normal((64, 16)).astype("f4")
ROWS[:, 3] *= 60  # an outlier channel


def test_factors_worked_by_hand():
    # alpha 0.5: sqrt(16) / sqrt(4) = 2, sqrt(1) / sqrt(0.25) = 2, and a dead channel stays
    wide = np.array([16.0, 1.0, 0.0])
    weights = [np.array([[4.0, -1], [0.25, 0.1], [1, 1]])]
    assert factors(wide, weights, 0.5).tolist() == [2.0, 2.0, 1.0]
    assert factors(wide, weights, 1.0).tolist() == [16.0, 1.0, 1.0]
    assert factors(wide, weights, 0.0).tolist() == [0.25, 4.0, 1.0]


def test_the_widest_over_the_median_of_what_is_alive():
    assert ratio_of(np.array([1.0, 2.0, 8.0, 0.0])) == 4.0
    assert ratio_of(np.zeros(3)) == 1.0


def artifact(model, folder):
    onnx.save(model, folder / "float.onnx")
    shape = tuple(dim.dim_value or None for dim in model.graph.input[0].type.tensor_type.shape.dim)
    specs = (TensorSpec("x", "float32", shape),)
    return Artifact("onnx", Float("fp32"), specs, specs, path=folder / "float.onnx")


def smoothed(model, x, folder, **parameters):
    data = Calibration("rows", {"x": x})
    (folder / "smooth").mkdir(exist_ok=True)
    return STRATEGIES["smooth_quant"](**parameters).apply(artifact(model, folder), data, folder / "smooth")


def shared_and_turned():
    """Two products of one input, which share a weight with a third, and a Gemm with a turned one."""
    nodes = [
        node("MatMul", ["x", "w"], ["a"]), node("Gemm", ["x", "t", "b"], ["c"], transB=1),
        node("Add", ["a", "c"], ["s"]), node("MatMul", ["s", "w"], ["y"]),
    ]  # fmt: skip
    return network(nodes, (16,), {"w": some(16, 16) / 4, "t": some(16, 16, seed=1) / 4, "b": some(16)})


def test_answers_stay_and_a_shared_weight_stays_with_its_other_user(tmp_path):
    model = shared_and_turned()
    product = smoothed(model, ROWS, tmp_path, outliers=20.0)
    after = onnx.load(product.path)
    np.testing.assert_allclose(said(after, ROWS), said(model, ROWS), rtol=1e-4, atol=1e-3)
    assert [n.op_type for n in after.graph.node].count("Mul") == 1
    assert next(n for n in after.graph.node if n.output[0] == "y").input[1] == "w"
    (note,) = [note.found for note in product.notes if note.what == "smoothed"]
    assert note.startswith("1 of 2 inputs of products; the widest channel was ")
    assert note.endswith("0 factors are in a LayerNormalization, 1 are multiplications of their own")


def normalized(more=()):
    scale = np.ones(16, "f4")
    scale[5] = 50
    nodes = [
        node("LayerNormalization", ["x", "g", "h"], ["n"]), node("MatMul", ["n", "w"], ["y"]), *more,
    ]  # fmt: skip
    return network(nodes, (16,), {"g": scale, "h": some(16), "w": some(16, 8) / 4})


def test_a_normalization_takes_the_factors_over(tmp_path):
    rows = some(32, 16)
    product = smoothed(normalized(), rows, tmp_path)
    after = onnx.load(product.path)
    assert [n.op_type for n in after.graph.node] == ["LayerNormalization", "MatMul"]
    np.testing.assert_allclose(said(after, rows), said(normalized(), rows), rtol=1e-4, atol=1e-3)


def test_but_not_where_another_takes_what_it_makes(tmp_path):
    model = normalized([node("Abs", ["n"], ["z"])])
    model.graph.output.append(onnx.helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, None))
    rows = some(32, 16)
    after = onnx.load(smoothed(model, rows, tmp_path).path)
    assert [n.op_type for n in after.graph.node] == ["LayerNormalization", "Mul", "MatMul", "Abs"]
    np.testing.assert_allclose(said(after, rows, name="z"), said(model, rows, name="z"), rtol=1e-5)


def test_a_quantizer_behind_it_loses_far_less(tmp_path):
    model = normalized()
    rows = some(64, 16)
    data = Calibration("rows", {"x": rows})
    wanted = said(model, rows)
    plain = STRATEGIES["static_int8"](per_channel=False).apply(artifact(model, tmp_path), data, tmp_path)
    smooth = smoothed(model, rows, tmp_path)
    (tmp_path / "int8").mkdir()
    both = STRATEGIES["static_int8"](per_channel=False).apply(smooth, data, tmp_path / "int8")
    errors = [np.square(said(onnx.load(p.path), rows) - wanted).mean() for p in (plain, both)]
    assert errors[1] < errors[0] / 4


def test_what_has_no_outliers_is_refused_with_a_number_that_would_do(tmp_path):
    rows = np.tile(np.array([1.0, -1.0], "f4"), (8, 8))
    model = network([node("MatMul", ["x", "w"], ["y"])], (16,), {"w": some(16, 4)})
    assert [one.tensor for one in taken_by_products(model)] == ["x"]
    with pytest.raises(DoesNotFit, match=r"(?s)at most 1 times as wide.*a smaller number, 1 at least"):
        smoothed(model, rows, tmp_path)
    for wrong in ({"alpha": 1.5}, {"outliers": 0.5}):
        with pytest.raises(BadParameter, match=next(iter(wrong))):
            STRATEGIES["smooth_quant"](**wrong)
