"""What stays in float: by kind of operator, by name; checked by hand on networks of a few nodes."""

import re

import numpy as np
import onnx
import pytest
from small_networks import convolutions, network, node, products, said, some

from qbench.errors import BadParameter, DoesNotFit
from qbench.quant.coverage import BETWEEN, Coverage, InFloat, listed, named, some_left_or_raise, uncovered
from qbench.quant.qdq_graph import put_in_order
from qbench.quant.qdq_layout import IN_FLOAT

COVERS = ("Conv", "Gemm")


def test_a_text_of_names_is_read_with_or_without_spaces():
    found = Coverage.read("a test", COVERS, "Conv, Gemm,Conv", " first ,second")
    assert found == Coverage(("Conv", "Gemm"), ("first", "second"))
    assert not Coverage.read("a test", COVERS, "", "")


@pytest.mark.parametrize(
    ("operators", "keep_float", "said"),
    [
        (
            "Cnov",
            "",
            "names 'Cnov', which it does not quantize.*did you mean 'Conv'.*write some of Conv, Gemm",
        ),
        ("Add,Mul", "", 'names no layer that has weights.*operators = "Conv,Gemm"'),
        (" , ", "", "operators = ' , ' is no text of names"),
        ("", ",", "keep_float = ',' is no text of names"),
        (7, "", "operators = 7 is no text of names"),
    ],
)
def test_a_parameter_that_says_nothing_is_refused(operators, keep_float, said):
    with pytest.raises(BadParameter, match=re.compile(said, re.DOTALL)):
        Coverage.read("a test", COVERS, operators, keep_float)


def test_the_operators_between_layers_are_those_of_the_library():
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    layers = {"Conv", "ConvTranspose", "Gemm", "MatMul", "EmbedLayerNormalization"}
    assert {*QDQRegistry, *QLinearOpsRegistry} - layers <= set(BETWEEN)
    assert IN_FLOAT & {*QDQRegistry} <= {*BETWEEN, *layers}


@pytest.mark.parametrize("name", ["second", "c2", "w2"])  # of the node, of its output, of its weight
def test_a_layer_is_found_by_each_of_its_names(name):
    model = convolutions()
    model.graph.node[2].name = "second"
    named(model)
    assert dict(Coverage(keep_float=(name,)).kept(model, "a test").nodes) == {
        "second": "keep_float names them"
    }


def test_a_weight_that_two_layers_share_names_both():
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("MatMul", ["a", "w"], ["y"])]
    model = network(nodes, (4,), {"w": some(4, 4)})
    named(model)
    assert list(Coverage(keep_float=("w",)).kept(model, "a test").nodes) == ["MatMul_0", "MatMul_1"]


def test_an_unknown_name_is_answered_with_the_nearest():
    model = convolutions()
    named(model)
    with pytest.raises(DoesNotFit, match=r"(?s)keep_float names 'Conv_3'.*such as Conv_[02], "):
        Coverage(keep_float=("Conv_3",)).kept(model, "a test")


def test_names_become_distinct_and_what_was_distinct_stays():
    model = products(deep=3)
    for place, name in enumerate(["first", "same", "same", "", "Relu_3"]):
        model.graph.node[place].name = name
    named(model)
    assert [n.name for n in model.graph.node] == ["first", "same", "Gemm_2", "Relu_3_", "Relu_3"]
    before = [n.name for n in model.graph.node]
    named(model)
    assert [n.name for n in model.graph.node] == before


def test_nothing_left_to_quantize_is_refused_with_the_reason():
    model = products()
    named(model)
    all_of_it = Coverage(keep_float=("w0", "w1")).kept(model, "a test")
    with pytest.raises(
        DoesNotFit, match=r"(?s)all 2 layers .* in float \(keep_float names them\).*fewer names"
    ):
        some_left_or_raise(model, COVERS, all_of_it, "a test")
    some_left_or_raise(model, COVERS, Coverage(keep_float=("w0",)).kept(model, "a test"), "a test")


def test_notes_say_how_many_which_and_why():
    found = InFloat({"a": "one reason", "b": "another"}) | InFloat({"a": "a later reason", "c": "one reason"})
    assert list(found.notes()) == [
        ("left in float", "2: a, c (one reason)"),
        ("left in float", "1: b (another)"),
    ]
    assert list(found.notes(["b"])) == [("left in float", "1: b (another)")]
    assert listed([str(number) for number in range(10)]) == "0, 1, 2, 3, 4, 5, 6, 7 and 2 more"


def test_openvino_words_of_operators():
    assert Coverage(("Conv", "Gemm", "MatMul")).of_ir() == ("Convolution", "MatMul", "GroupConvolution")


def test_a_layer_of_an_ir_is_found_by_the_names_that_it_had_in_onnx(tmp_path):
    import openvino

    model = convolutions()
    onnx.save(model, tmp_path / "m.onnx")
    ir = openvino.Core().read_model(tmp_path / "m.onnx")
    kinds = {operator.get_friendly_name(): operator.get_type_name() for operator in ir.get_ordered_ops()}
    for name, kind in (("w1", "Convolution"), ("w2", "GroupConvolution"), ("w3", "MatMul")):
        found = Coverage(keep_float=(name,)).kept_of_ir(ir, "a test")
        assert [kinds[one] for one in found.nodes] == [kind]
    assert "Convolution" in [
        kinds[one] for one in Coverage(keep_float=("c1",)).kept_of_ir(ir, "a test").nodes
    ]
    with pytest.raises(DoesNotFit, match="keep_float names 'w9'"):
        Coverage(keep_float=("w9",)).kept_of_ir(ir, "a test")


def test_integers_of_a_network_are_where_they_were_asked_for_and_nowhere_else():
    """A product, an addition and a second product: what a layer in float gave and took stays in float."""
    from qbench.quant.qdq_layout import Layout

    nodes = [
        node("MatMul", ["x", "v"], ["a"]), node("Relu", ["a"], ["r"]), node("Add", ["r", "x"], ["s"]),
        node("MatMul", ["s", "w"], ["y"]),
    ]  # fmt: skip
    model = network(nodes, (4,), {"v": some(4, 4), "w": some(4, 4, seed=1)})
    named(model)
    usual = Layout().rounded(model)
    chosen = Layout(operators=("MatMul",)).rounded(model)
    assert set(usual) == {"x", "r", "s"}  # the last product gives floats
    assert set(chosen) == {"x", "r", "s"}  # the addition's two sides are a layer's input and output
    one = Layout(operators=("MatMul",), kept=("MatMul_0",)).rounded(model)
    assert set(one) == {"s"}
    assert set(Layout(kept=("MatMul_0",)).rounded(model)) == {"s"}  # the addition has a float side
    written = Layout(operators=("MatMul",), kept=("MatMul_0",)).written(
        model, dict.fromkeys(one, (-1.0, 1.0))
    )
    plain = next(n for n in written.graph.node if n.name == "MatMul_0")
    assert list(plain.input) == ["x", "v"]
    assert np.array_equal(
        onnx.numpy_helper.to_array(next(t for t in written.graph.initializer if t.name == "v")), some(4, 4)
    )


def test_what_multiplies_and_is_not_quantized_is_told_with_the_reason():
    """A recurrent layer, and a product inside of both branches of an If."""
    branch = {}
    for word in ("then", "else"):
        inner = onnx.helper.make_node("MatMul", ["f", "v"], [f"{word}_y"], f"{word}_product")
        made = onnx.helper.make_tensor_value_info(f"{word}_y", onnx.TensorProto.FLOAT, None)
        branch[f"{word}_branch"] = onnx.helper.make_graph([inner], word, [], [made])
    nodes = [
        node("LSTM", ["x", "wi", "wr"], ["h"], hidden_size=4),
        node("Flatten", ["h"], ["f"]),
        node("Gemm", ["f", "w"], ["g"]),
        node("If", ["yes"], ["y"], **branch),
    ]
    stored = {
        "wi": some(1, 16, 4),
        "wr": some(1, 16, 4),
        "w": some(4, 4),
        "v": some(4, 4),
        "yes": np.array(True),
    }
    model = network(nodes, (2, 4), stored)
    named(model)
    assert dict(uncovered(model, COVERS).nodes) == {
        "LSTM_0": "LSTM, which is not among the operators that are quantized",
        "then_product": "inside of an If or a Loop",
        "else_product": "inside of an If or a Loop",
    }


def test_makers_come_before_users_in_bodies_too():
    body = onnx.helper.make_graph(
        [node("Add", ["r", "r"], ["t"])], "then", [], [onnx.helper.make_empty_tensor_value_info("t")]
    )
    other = onnx.helper.make_graph(
        [node("Neg", ["r"], ["e"])], "else", [], [onnx.helper.make_empty_tensor_value_info("e")]
    )
    nodes = [
        node("If", ["yes"], ["y"], then_branch=body, else_branch=other),
        node("Abs", ["x"], ["z"]),
        node("Relu", ["x"], ["r"]),
    ]
    model = network(nodes, (4,), {"yes": np.array(True)})
    put_in_order(model)
    assert [n.op_type for n in model.graph.node] == ["Relu", "If", "Abs"]
    x = some(2, 4)
    np.testing.assert_array_equal(said(model, x), 2 * np.maximum(x, 0))
