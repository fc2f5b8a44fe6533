"""Weight-only quantization on networks whose rows and layers are known."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qbench.backends.base import BACKENDS, Placement
from qbench.cases import Float, Quantized, Scheme
from qbench.errors import BadParameter, DoesNotFit
from qbench.formats.artifact import Artifact, TensorSpec
from qbench.formats.edges import named
from qbench.quant.gemm import products_of, split_gemms
from qbench.quant.ir_graph import ir_weights
from qbench.quant.qdq_graph import onnx_weights
from qbench.strategies.base import STRATEGIES, Calibration
from qbench.strategies.weight_only import WeightOnly, padded

RNG = np.random.default_rng(0)
ROWS = RNG.standard_normal((6, 128)).astype("f4")


def layers(folder, *widths, kind="Gemm"):
    """Return a network of Gemms (or MatMuls) with these widths, the first of them its input's."""
    nodes, stored, name = [], [], "x"
    for number, (rows, columns) in enumerate(zip(widths, widths[1:], strict=False)):
        weight = (RNG.standard_normal((columns, rows)) / np.sqrt(rows)).astype("f4")
        inputs = [name, f"w{number}", f"b{number}"] if kind == "Gemm" else [name, f"w{number}"]
        stored.append(numpy_helper.from_array(weight if kind == "Gemm" else weight.T.copy(), f"w{number}"))
        stored.append(numpy_helper.from_array(RNG.standard_normal(columns).astype("f4"), f"b{number}"))
        name = f"y{number}"
        nodes.append(helper.make_node(kind, inputs, [name], **({"transB": 1} if kind == "Gemm" else {})))
    ends = [
        helper.make_tensor_value_info(end, TensorProto.FLOAT, ["n", width])
        for end, width in (("x", widths[0]), (name, widths[-1]))
    ]
    graph = helper.make_graph(nodes, "layers", ends[:1], ends[1:], stored)
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    specs = (
        (TensorSpec("x", "float32", (None, widths[0])),),
        (TensorSpec(name, "float32", (None, widths[-1])),),
    )
    return Artifact("onnx", Float(), *specs, path)


def applied(artifact, folder, **parameters):
    (folder / "product").mkdir()
    return WeightOnly(**parameters).apply(artifact, Calibration("", {}), folder / "product")


def as_ir(artifact, folder):
    (folder / "ir").mkdir()
    return named("to_openvino").convert(artifact, folder / "ir")


def bits_of(product):
    read = ir_weights if product.format == "openvino" else onnx_weights
    return [weight.bits for weight in read(product.path) if weight.multiplied]


# --- parameters -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("parameters", "words"), [
    ({"bits": 3}, "no bits = 3(.|\n)*8 or 4"),
    ({"group_size": 48}, "group_size = 48(.|\n)*16, 32, 64, 128, 256, or -1"),
    ({"activations": "int4"}, 'no activations \'int4\'(.|\n)*"float" or "int8"'),
])  # fmt: skip
def test_a_value_that_does_not_exist_is_refused_with_those_that_do(parameters, words):
    with pytest.raises(BadParameter, match=words):
        WeightOnly(**parameters)


@pytest.mark.parametrize(("parameters", "scheme"), [
    ({}, Scheme(8, None, "per_channel")),
    ({"bits": 4}, Scheme(4, None, "per_group")),
    ({"bits": 4, "group_size": -1}, Scheme(4, None, "per_channel")),
    ({"bits": 4, "activations": "int8"}, Scheme(4, 8, "per_group", dynamic=True)),
])  # fmt: skip
def test_the_state_says_what_is_narrow(parameters, scheme):
    assert WeightOnly(**parameters).state(Float()) == Quantized(scheme)


# --- what is stored -------------------------------------------------------------------------------


@pytest.mark.parametrize("convert", [lambda artifact, folder: artifact, as_ir], ids=["onnx", "openvino"])
@pytest.mark.parametrize(("parameters", "bits"), [
    ({}, [8, 8, 8]), ({"symmetric": True}, [8, 8, 8]), ({"bits": 4}, [4, 4, 4]),
    ({"bits": 4, "all_layers": False}, [4, 4, 8]), ({"all_layers": False}, [8, 8, 8]),
])  # fmt: skip
def test_how_wide_every_layer_is_stored(tmp_path, convert, parameters, bits):
    source = convert(layers(tmp_path, 128, 64, 192, 10), tmp_path)
    assert bits_of(applied(source, tmp_path, **parameters)) == bits


@pytest.mark.parametrize("convert", [lambda artifact, folder: artifact, as_ir], ids=["onnx", "openvino"])
@pytest.mark.parametrize("kind", ["Gemm", "MatMul"])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("activations", ["float", "int8"])
def test_the_answers_are_those_of_float_but_for_the_rounding(tmp_path, convert, kind, symmetric, activations):
    # A step is a 255th of a weight's range, or a 15th: sixteen times the noise
    source = convert(layers(tmp_path, 128, 64, 192, 10, kind=kind), tmp_path)
    engine = BACKENDS["onnxruntime" if source.format == "onnx" else "openvino"]()
    wanted = engine.load(source, Placement()).run({"x": ROWS})[0]
    for bits, limit in ((8, 0.02), (4, 0.2)):
        folder = tmp_path / str(bits)
        folder.mkdir()
        product = applied(source, folder, bits=bits, symmetric=symmetric, activations=activations)
        given = engine.load(product, Placement()).run({"x": ROWS})[0]
        error = np.sqrt(np.square(given - wanted).mean() / np.square(wanted).mean())
        assert 1e-5 < error < limit


def test_zero_points_and_scales_are_counted(tmp_path):
    # 64 rows of 128: two groups of 64 each, a scale of four bytes a group; four-bit zero points, two a byte
    product = applied(layers(tmp_path, 128, 64), tmp_path, bits=4)
    (weight,) = onnx_weights(product.path)
    assert (weight.elements, weight.stored_bytes) == (8192, 4096 + 128 * 4 + 64)


# --- rows and groups ------------------------------------------------------------------------------


def test_padding():
    assert [padded(length, 64) for length in (1, 64, 65)] == [64, 64, 128]


def test_a_row_that_does_not_fill_a_group_is_named_with_the_groups_that_it_fills(tmp_path):
    source = layers(tmp_path, 48, 64)
    with pytest.raises(DoesNotFit, match=r"lengths found: 48\)\n  fix: write group_size = 16$"):
        applied(source, tmp_path, group_size=32)  # two groups for one and a half: a third more
    with pytest.raises(DoesNotFit, match="lengths found: 48(.|\n)*group_size = 16 or -1"):
        applied(as_ir(source, tmp_path), tmp_path / "ir", bits=4)


def test_a_layer_that_would_be_stored_larger_stays_in_float(tmp_path):
    assert bits_of(applied(layers(tmp_path, 128, 20, 64, 10), tmp_path)) == [8, 32, 8]


def test_rows_that_fill_no_group_at_all_leave_the_technique_out(tmp_path):
    with pytest.raises(DoesNotFit, match="lengths found: 10(.|\n)*leave weight_only out"):
        applied(layers(tmp_path, 10, 64), tmp_path)


def test_a_scale_a_channel_is_for_the_other_engine_only(tmp_path):
    with pytest.raises(DoesNotFit, match="= -1 asks for one a channel(.|\n)*group_size = 16 or 32"):
        applied(layers(tmp_path, 128, 64), tmp_path, bits=4, group_size=-1)


def test_four_bits_need_a_product_and_eight_take_a_convolution(tmp_path):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 64, 6, 6])
    stored = [numpy_helper.from_array(np.ones((64, 3, 3, 3), "f4"), "w")]
    graph = helper.make_graph([helper.make_node("Conv", ["x", "w"], ["y"])], "conv", [x], [y], stored)
    onnx.save(helper.make_model(graph, ir_version=10), tmp_path / "model.onnx")
    source = as_ir(Artifact("onnx", Float(), (), (), tmp_path / "model.onnx"), tmp_path)
    assert bits_of(applied(source, tmp_path)) == [8]
    with pytest.raises(DoesNotFit, match="found: Convolution x1(.|\n)*or write bits = 8"):
        applied(source, tmp_path / "ir", bits=4)
    with pytest.raises(DoesNotFit, match=r"found: Conv x1\)"):
        WeightOnly().apply(
            Artifact("onnx", Float(), (), (), tmp_path / "model.onnx"), Calibration("", {}), tmp_path
        )


# --- Gemms ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("facts", [{}, {"transB": 1}, {"alpha": 0.5}, {"transA": 1}, {"beta": 2.0}])
@pytest.mark.parametrize("bias", [True, False])
def test_a_gemm_in_two_nodes_computes_the_same(facts, bias):
    from onnx.reference import ReferenceEvaluator

    x = RNG.standard_normal((5, 16) if not facts.get("transA") else (16, 5)).astype("f4")
    stored = {"w": RNG.standard_normal((7, 16) if facts.get("transB") else (16, 7)).astype("f4")}
    if bias:
        stored["b"] = RNG.standard_normal(7).astype("f4")
    node = helper.make_node("Gemm", ["x", *stored], ["y"], **facts)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node], "g", [value("x", TensorProto.FLOAT, x.shape)], [value("y", TensorProto.FLOAT, [5, 7])],
        [numpy_helper.from_array(array, name) for name, array in stored.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    (wanted,) = ReferenceEvaluator(model).run(None, {"x": x})
    split_gemms(model)
    kinds = [node.op_type for node in model.graph.node]
    plain = not set(facts) - {"transB"}
    assert kinds == ((["MatMul", "Add"] if bias else ["MatMul"]) if plain else ["Gemm"])
    assert list(products_of(model).values()) == ([16] if plain else [])
    onnx.checker.check_model(model)
    np.testing.assert_allclose(ReferenceEvaluator(model).run(None, {"x": x})[0], wanted, rtol=1e-5, atol=1e-5)


def test_a_weight_that_two_gemms_share_is_turned_once(tmp_path):
    model = onnx.load(layers(tmp_path, 64, 64, 64).path)
    model.graph.node[1].input[1] = "w0"
    split_gemms(model)
    assert sorted(t.name for t in model.graph.initializer) == ["b0", "b1", "w0_turned"]


@pytest.mark.parametrize("bits", [8, 4])
def test_the_kernel_that_ran_is_the_narrow_one(tmp_path, bits):
    product = applied(layers(tmp_path, 128, 64, 10), tmp_path, bits=bits)
    proof = BACKENDS["onnxruntime"]().load(product, Placement()).prove({"x": ROWS})
    assert (proof.low_bit, proof.other) == (2, 0)


def test_it_is_in_the_registry():
    assert STRATEGIES["weight_only"] is WeightOnly
