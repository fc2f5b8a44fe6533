"""Four-bit floats as a file stores them and an engine multiplies from them."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qbench.backends.base import BACKENDS, Placement
from qbench.cases import Float, Quantized, Scheme
from qbench.errors import BadParameter, DoesNotFit
from qbench.formats.artifact import Artifact, TensorSpec
from qbench.formats.edges import named
from qbench.quant.float_grids import on_grid
from qbench.quant.ir_graph import ir_weights
from qbench.strategies.base import STRATEGIES, Calibration
from qbench.strategies.native_format import NativeFormat

FORMATS = ("mxfp4", "nvfp4", "nf4")
RNG = np.random.default_rng(3)
ROWS = RNG.standard_normal((8, 128)).astype("f4")


def network(folder, weight, operator="MatMul"):
    """Return an IR that multiplies its input, (n, length), with `weight`, (outputs, length)."""
    if operator == "MatMul":
        node, shape = helper.make_node("MatMul", ["x", "w"], ["y"]), ["n", weight.shape[1]]
        stored, out = weight.T.copy(), ["n", weight.shape[0]]
    else:
        node, shape = helper.make_node("Conv", ["x", "w"], ["y"]), ["n", weight.shape[1], 4, 4]
        stored, out = weight[:, :, None, None], ["n", weight.shape[0], 4, 4]
    named_ends = (("x", shape), ("y", out))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, of) for name, of in named_ends]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [numpy_helper.from_array(stored, "w")])
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    specs = [(TensorSpec(name, "float32", (None, *of[1:])),) for name, of in named_ends]
    (folder / "ir").mkdir()
    return named("to_openvino").convert(Artifact("onnx", Float(), *specs, path), folder / "ir")


def applied(folder, weight=ROWS, operator="MatMul", **parameters):
    source = network(folder, weight, operator)
    (folder / "product").mkdir()
    return NativeFormat(**parameters).apply(source, Calibration("", {}), folder / "product")


@pytest.mark.parametrize("form", FORMATS)
def test_the_file_stores_four_bits_and_the_kernel_multiplies_from_them(tmp_path, form):
    product = applied(tmp_path, format=form)
    assert product.state == Quantized(Scheme(4, None, "per_group"))
    assert [weight.bits for weight in ir_weights(product.path) if weight.multiplied] == [4]
    session = BACKENDS["openvino"]().load(product, Placement())
    proof = session.prove({"x": ROWS})
    assert (proof.low_bit, proof.other) == (1, 0), proof.evidence


@pytest.mark.parametrize("form", FORMATS)
def test_it_answers_as_the_simulated_format_does_up_to_the_scales(tmp_path, form):
    """Both put the weights on the same steps; how a scale is rounded is each program's own."""
    product = applied(tmp_path, format=form)
    x = RNG.standard_normal((64, 128)).astype("f4")
    (found,) = BACKENDS["openvino"]().load(product, Placement()).run({"x": x})
    true, simulated = x @ ROWS.T, x @ on_grid(ROWS, form, 64).T
    moved = np.abs(simulated - true).mean()
    assert np.abs(found - true).mean() == pytest.approx(moved, rel=0.35)
    assert np.abs(found - true).mean() > 0.3 * moved  # it is no float network under another name


@pytest.mark.parametrize(("parameters", "words"), [
    ({"format": "e4m3"}, 'no format \'e4m3\'(.|\n)*"mxfp4" or "nvfp4" or "nf4"(.|\n)*number_format'),
    ({"format": "nf4", "block_size": 48}, "block_size = 48(.|\n)*16, 32, 64"),
    ({"block_size": 32}, "says nothing to format 'mxfp4'(.|\n)*or leave block_size out"),
])  # fmt: skip
def test_a_value_that_does_not_exist_is_refused_with_those_that_do(parameters, words):
    with pytest.raises(BadParameter, match=words):
        NativeFormat(**parameters)


def test_blocks_that_do_not_divide_a_row_are_refused_with_a_size_that_does(tmp_path):
    with pytest.raises(
        DoesNotFit, match=r"blocks of 32 do not divide(.|\n)*lengths found: 48(.|\n)*size = 16"
    ):
        applied(tmp_path, ROWS[:, :48].copy())


def test_a_network_without_a_product_is_refused_with_what_it_has(tmp_path):
    with pytest.raises(DoesNotFit, match="none of them(.|\n)*Convolution"):
        applied(tmp_path, operator="Conv")


def test_it_has_a_simulated_form_of_the_same_name():
    for form in FORMATS:
        assert STRATEGIES["number_format"](format=form).format == NativeFormat(format=form).format
