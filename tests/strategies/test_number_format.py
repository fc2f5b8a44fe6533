"""Other number formats: what is stored, what is rounded in the graph, and what is refused."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from qbench.backends.base import BACKENDS, Placement
from qbench.cases import FakeQuant, Float, Scheme
from qbench.errors import BadParameter, DoesNotFit
from qbench.formats.artifact import Artifact
from qbench.quant.float_grids import on_grid, rounded
from qbench.strategies.base import STRATEGIES, Calibration

NumberFormat = STRATEGIES["number_format"]
FORMATS = ["e4m3", "e5m2", "nf4", "mxfp4", "nvfp4"]
WEIGHTS_ALONE = [{"format": name} | ({"activations": False} if name[0] == "e" else {}) for name in FORMATS]
RNG = np.random.default_rng(0)


@pytest.fixture
def product(in_format, images, tmp_path):
    """Return a function: parameters to the small network in a format."""
    number = iter(range(99))

    def give(source=None, data=images, **parameters):
        folder = tmp_path / str(next(number))
        folder.mkdir()
        return NumberFormat(**parameters).apply(
            source or in_format("onnx"), Calibration("images", {"images": data}), folder
        )

    return give


def written(path, nodes, weights, shape, opset=18):
    values = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("images", shape), ("y", None))
    ]
    arrays = [
        numpy_helper.from_array(np.asarray(array, getattr(array, "dtype", "f4")), name)
        for name, array in weights.items()
    ]
    graph = helper.make_graph(nodes, "network", values[:1], values[1:], arrays)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return Artifact("onnx", Float(), (), (), path=path)


def product_of_rows(path, weight, more=()):
    return written(path, [helper.make_node("MatMul", ["images", "w"], ["y"]), *more], {"w": weight}, ["n", 4])


def stored(artifact):
    return {t.name: numpy_helper.to_array(t) for t in onnx.load(artifact.path).graph.initializer}


def answers(artifact, inputs, engine="onnxruntime"):
    return BACKENDS[engine]().load(artifact, Placement()).run({"images": inputs})[0]


# --- parameters -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("parameters", "words"), [
    ({"format": "e3m4"}, r'no format \'e3m4\'\n  fix: write format = "e4m3" or "e5m2" or "nf4" or "mxfp4"'),
    ({"format": "nf4", "block_size": 1}, r"block_size = 1 is no block .*\n  fix: write block_size = 64"),
    ({"format": "nf4", "activations": False}, r"nothing to format 'nf4'.*\n  fix: write format = \"e4m3\""),
    ({"format": "mxfp4", "block_size": 16}, r"nothing to format 'mxfp4'.*\n  fix: write format = \"nf4\""),
])  # fmt: skip
def test_a_value_that_cannot_be_is_told_with_one_that_can(parameters, words):
    with pytest.raises(BadParameter, match=words):
        NumberFormat(**parameters)


@pytest.mark.parametrize(("parameters", "scheme"), [
    ({}, Scheme(8, 8, "per_channel")),
    ({"format": "e5m2", "activations": False}, Scheme(8, None, "per_channel")),
    ({"format": "nf4"}, Scheme(4, None, "per_group")),
    ({"format": "mxfp4"}, Scheme(4, None, "per_group")),
    ({"format": "nvfp4"}, Scheme(4, None, "per_group")),
])  # fmt: skip
def test_every_format_says_that_it_is_simulated(parameters, scheme):
    assert NumberFormat(**parameters).state(Float()) == FakeQuant(scheme)


# --- what is stored ---------------------------------------------------------------------------------


@pytest.mark.parametrize("parameters", WEIGHTS_ALONE, ids=lambda one: one["format"])
def test_every_weight_lies_on_the_grid_and_every_bias_stays(parameters, product, in_format):
    before, after = stored(in_format("onnx")), stored(product(**parameters))
    form = parameters["format"]
    wanted = {
        on_grid(array.reshape(len(array), -1), form).tobytes() for array in before.values() if array.ndim > 1
    }
    assert len(wanted) == 3
    found = [array for array in after.values() if array.ndim > 1]
    assert {array.tobytes() for array in found} == wanted
    assert {a.tobytes() for a in before.values() if a.ndim == 1} <= {a.tobytes() for a in after.values()}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_the_answers_stay_close_on_both_engines(form, engine, product, in_format, images):
    before, after = answers(in_format("onnx"), images), answers(product(format=form), images, engine)
    error = np.sqrt(((after - before) ** 2).mean() / (before**2).mean())
    assert 0.001 < error < 0.25


def test_the_four_bit_formats_look_at_no_data(product, images):
    product(format="nf4", data=images[:0])
    product(activations=False, data=images[:0])


def test_a_tensor_that_others_use_stays_as_it_was_for_them(product, tmp_path):
    weight = RNG.standard_normal((4, 4)).astype("f4")
    more = [helper.make_node("Add", ["y1", "w"], ["y"])]
    nodes = [helper.make_node("MatMul", ["images", "w"], ["y1"]), *more]
    source = written(tmp_path / "float.onnx", nodes, {"w": weight}, ["n", 4])
    inputs = np.zeros((4, 4), "f4")
    np.testing.assert_array_equal(answers(product(source, format="mxfp4"), inputs), weight)


# --- activations ------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["e4m3", "e5m2"])
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_an_activation_is_rounded_to_the_format_in_steps_of_its_scale(form, engine, product, tmp_path):
    source = product_of_rows(tmp_path / "float.onnx", np.eye(4, dtype="f4"))
    artifact = product(source, data=np.array([[0.1, -2, 1.0, 0.5]], "f4"), format=form)
    # beyond the calibration data too: 5 becomes 2, the largest that was seen
    inputs = np.array([[0.3, -0.7, 1.3, 5], [0, 1e-9, -1.9, -5]], "f4")
    scale = np.float32(2 / {"e4m3": 448, "e5m2": 57344}[form])
    wanted = rounded(inputs / scale, form) * scale
    assert wanted.max() == pytest.approx(2)
    np.testing.assert_allclose(answers(artifact, inputs, engine), wanted, rtol=1e-6)


def test_the_graph_is_computed_as_it_is_written(product, images):
    artifact = product()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    plain = onnxruntime.InferenceSession(str(artifact.path), options).run(None, {"images": images})[0]
    error = np.abs(answers(artifact, images) - plain).max() / np.ptp(plain)
    assert error < 0.02  # a sum that rounds the other way moves by one step of fp8
    casts = [node for node in onnx.load(artifact.path).graph.node if node.op_type == "Cast"]
    assert len(casts) == 6  # to fp8 and back, before each of three layers


def test_an_activation_that_two_layers_take_is_rounded_once(product, tmp_path):
    nodes = [
        helper.make_node("MatMul", ["images", "w"], ["a"]),
        helper.make_node("MatMul", ["images", "v"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("Add", ["c", "images"], ["y"]),  # which takes it as it is
    ]
    weights = {name: RNG.standard_normal((4, 4)).astype("f4") for name in "wv"}
    source = written(tmp_path / "float.onnx", nodes, weights, ["n", 4])
    graph = onnx.load(product(source, data=np.ones((2, 4), "f4")).path).graph
    assert [node.op_type for node in graph.node].count("Clip") == 1
    assert graph.node[-1].input[1] == "images"


# --- what is refused --------------------------------------------------------------------------------


def test_data_that_is_no_number_is_refused_by_the_inputs_name(product, images):
    bad = images.copy()
    bad[7, 0, 3, 3] = np.nan
    with pytest.raises(DoesNotFit, match=r"input 'images': 1 of its 40 examples .* number 7\n  fix: repair"):
        product(data=bad)
    with pytest.raises(DoesNotFit, match="there is none"):
        product(data=images[:0])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("parameters", WEIGHTS_ALONE, ids=lambda one: one["format"])
def test_a_weight_that_is_no_number_is_refused_by_its_name(bad, parameters, product, tmp_path):
    weight = np.ones((4, 4), "f4")
    weight[1, 2] = bad
    source = product_of_rows(tmp_path / "float.onnx", weight)
    with pytest.raises(DoesNotFit, match=r"weight 'w': 1 of its 16 elements are NaN or infinite\n  fix: "):
        product(source, **parameters)


def test_a_network_with_weights_of_another_type_is_refused(product, tmp_path):
    weight = np.ones((4, 4), np.float16)
    nodes = [
        helper.make_node("Cast", ["images"], ["x"], to=TensorProto.FLOAT16),
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Cast", ["h"], ["y"], to=TensorProto.FLOAT),
    ]
    source = written(tmp_path / "float.onnx", nodes, {"w": weight}, ["n", 4])
    with pytest.raises(
        DoesNotFit, match=r"1 layers of this network have none \(found: float16\)\n  fix: give"
    ):
        product(source, format="nf4")
