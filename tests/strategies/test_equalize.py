"""Equalizing a network: the same answers in float, better ones after a quantizer with one scale a tensor."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from qbench.backends.base import BACKENDS, Placement
from qbench.cases import FakeQuant, Float, Scheme
from qbench.errors import BadParameter, DoesNotFit
from qbench.strategies.base import STRATEGIES, Calibration

Equalize = STRATEGIES["equalize"]
NO_DATA = Calibration("", {})


def answers(artifact, images):
    return BACKENDS["onnxruntime"]().load(artifact, Placement()).run({artifact.inputs[0].name: images})[0]


def applied(source, folder, **parameters):
    folder.mkdir()
    return Equalize(**parameters).apply(source, NO_DATA, folder)


def test_a_value_that_cannot_be_is_told_with_those_that_can():
    with pytest.raises(BadParameter, match='no relu6 \'drop\'\n  fix: write relu6 = "replace" or "keep"'):
        Equalize(relu6="drop")


def test_only_a_float_network_can_be_equalized():
    assert Equalize().state(Float()) == Float()
    with pytest.raises(DoesNotFit, match="put it first"):
        Equalize().state(FakeQuant(Scheme(8, 8, "per_tensor")))


def test_the_answers_are_the_same_where_only_relu_is_between(in_format, images, tmp_path):
    before, product = answers(in_format("onnx"), images), applied(in_format("onnx"), tmp_path / "p")
    np.testing.assert_allclose(answers(product, images), before, atol=1e-4)
    (note,) = product.notes
    assert note.found.startswith("1 pairs of layers scaled in 2 rounds; 0 activations")
    assert not note.warns


def test_a_replaced_activation_is_told_and_warned_of(in_format, tmp_path):
    source = in_format("onnx", "bounded activations")
    (note,) = applied(source, tmp_path / "replaced").notes
    assert note.warns
    assert "2 pairs of layers" in note.found
    assert "1 activations with an upper bound replaced by Relu" in note.found
    (note,) = applied(source, tmp_path / "kept", relu6="keep").notes
    assert not note.warns
    assert "1 pairs of layers" in note.found
    assert note.found.endswith(
        "0 activations with an upper bound replaced by Relu; 1 pairs around such left alone"
    )


def test_a_network_without_a_pair_is_refused_by_the_kinds_it_has(in_format, tmp_path):
    model = onnx.load(in_format("onnx").path)
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    relu.op_type = "Sigmoid"
    onnx.save(model, tmp_path / "model.onnx")
    source = replace(in_format("onnx"), path=tmp_path / "model.onnx")
    with pytest.raises(DoesNotFit, match=r"none \(found: Conv x2.*Sigmoid x1.*\)\n  fix: leave equalize out"):
        applied(source, tmp_path / "p")


def test_a_network_with_channels_driven_apart_gains_with_one_scale_a_weight(in_format, images, tmp_path):
    model = onnx.load(in_format("onnx").path)
    first, second = (node for node in model.graph.node if node.op_type == "Conv")
    factor = 10.0 ** np.linspace(-2, 2, 16)
    kept = {tensor.name: tensor for tensor in model.graph.initializer}
    for name, by in (
        (first.input[1], factor.reshape(-1, 1, 1, 1)),
        (first.input[2], factor),
        (second.input[1], 1 / factor.reshape(1, -1, 1, 1)),
    ):
        array = (numpy_helper.to_array(kept[name]) * by).astype("f4")
        kept[name].CopyFrom(numpy_helper.from_array(array, name))
    onnx.save(model, tmp_path / "model.onnx")
    source = replace(in_format("onnx"), path=tmp_path / "model.onnx")
    wanted, errors = answers(source, images), []
    for number, start in enumerate((source, applied(source, tmp_path / "equal"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        static = STRATEGIES["static_int8"](per_channel=False)
        product = static.apply(start, Calibration("", {"images": images}), folder)
        errors.append(np.sqrt(((answers(product, images) - wanted) ** 2).mean() / (wanted**2).mean()))
    assert errors[0] > 0.2
    assert errors[1] < 0.05
