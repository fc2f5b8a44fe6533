"""What lies between layers: rounded where integers come in and go out, in float elsewhere. By hand."""

import numpy as np
import pytest
from small_networks import network, node, said, some

from qbench.quant.between import ALONE, STORED, between_layers, open_ends, plain_pads, told
from qbench.quant.coverage import named
from qbench.quant.observers import Range
from qbench.quant.qdq_layout import Layout, prepare, runner
from qbench.quant.ranges import extents

LAYER = {"w": some(4, 4) / 2, "v": some(4, 4, seed=1) / 2}


def reasons(model, **how):
    named(model)
    return dict(between_layers(model, **how).nodes)


def rows(count=32, wide=4):
    return np.random.default_rng(3).standard_normal((count, wide)).astype("f4")


def test_a_residual_between_two_layers_is_rounded():
    nodes = [
        node("MatMul", ["x", "w"], ["a"]), node("Relu", ["a"], ["r"]), node("Add", ["r", "x"], ["s"]),
        node("MatMul", ["s", "v"], ["y"]),
    ]  # fmt: skip
    assert reasons(network(nodes, (4,), LAYER)) == {}


@pytest.mark.parametrize("kind", ["Add", "Mul", "Where"])
def test_a_constant_side_keeps_an_operator_in_float_and_a_scalar_too(kind):
    for constant in (np.float32(0.5), some(4)):
        chosen = ["yes", "a", "k"] if kind == "Where" else ["a", "k"]
        nodes = [
            node("MatMul", ["x", "w"], ["a"]),
            node(kind, chosen, ["s"]),
            node("MatMul", ["s", "v"], ["y"]),
        ]
        model = network(nodes, (4,), LAYER | {"k": constant, "yes": np.array([True])})
        assert reasons(model) == {f"{kind}_1": f"{STORED}|{kind}"}
        assert reasons(model, operators=("MatMul", kind)) == {f"{kind}_1": f"{STORED}|{kind}"}


def test_an_operator_that_gives_to_floats_alone_is_in_float_and_takes_others_with_it():
    """Boxes and scores put together at the end of a network: the last layers give floats."""
    nodes = [
        node("MatMul", ["x", "w"], ["boxes"]), node("MatMul", ["x", "v"], ["logits"]),
        node("Sigmoid", ["logits"], ["scores"]), node("Concat", ["boxes", "scores"], ["y"], axis=1),
    ]  # fmt: skip
    assert reasons(network(nodes, (4,), LAYER)) == {
        "Sigmoid_2": f"{ALONE}|Sigmoid", "Concat_3": f"{ALONE}|Concat",
    }  # fmt: skip


def test_the_mean_of_squares_of_a_written_out_normalization_is_in_float():
    nodes = [
        node("MatMul", ["x", "w"], ["a"]),
        node("Mul", ["a", "a"], ["squares"]),
        node("ReduceMean", ["squares"], ["mean"], axes=[1]),
        node("Sqrt", ["mean"], ["root"]),
        node("Reciprocal", ["root"], ["over"]),
        node("Mul", ["a", "over"], ["n"]),
        node("MatMul", ["n", "v"], ["y"]),
    ]
    assert set(reasons(network(nodes, (4,), LAYER))) == {"Mul_1", "Mul_5"}


def test_what_passes_integers_on_counts_as_the_layer_behind_it():
    nodes = [
        node("MatMul", ["x", "w"], ["a"]), node("Relu", ["a"], ["r"]), node("Reshape", ["r", "shape"], ["q"]),
        node("Add", ["q", "q"], ["s"]), node("Transpose", ["s"], ["t"], perm=[1, 0]),
        node("MatMul", ["t", "v"], ["y"]),
    ]  # fmt: skip
    model = network(nodes, (4,), {"w": some(4, 4), "v": some(8, 8), "shape": np.array([-1, 4])})
    assert reasons(model) == {}
    assert reasons(model, kept=["MatMul_0"]) == {"Add_3": f"{ALONE}|Add"}
    assert reasons(model, operators=("MatMul", "Add")) == {}


def test_a_note_counts_kinds():
    nodes = [
        node("MatMul", ["x", "w"], ["a"]), node("Add", ["a", "k"], ["b"]), node("Mul", ["b", "k"], ["c"]),
        node("Add", ["c", "b"], ["d"]), node("MatMul", ["d", "v"], ["y"]),
    ]  # fmt: skip
    model = network(nodes, (4,), LAYER | {"k": some(4)})
    named(model)
    (note,) = told(between_layers(model))
    assert note == ("left in float between layers", f"Add x1, Mul x1 ({STORED}); Add x1 ({ALONE})")
    assert list(told(between_layers(network([node("MatMul", ["x", "w"], ["y"])], (4,), LAYER)))) == []


def test_channels_of_unlike_range_survive_a_factor_each():
    """A factor of 1000 for one channel and of 1/1000 for the others: as a rounded product, zeros are left."""
    factors = np.array([1000, 1e-3, 1e-3, 1e-3], "f4")
    stored = {"w": np.eye(4, dtype="f4"), "k": factors, "v": np.diag(1 / factors)}
    nodes = [
        node("MatMul", ["x", "w"], ["a"]),
        node("Mul", ["a", "k"], ["b"]),
        node("MatMul", ["b", "v"], ["y"]),
    ]
    model = network(nodes, (4,), stored)
    prepare(model)
    x = rows()
    layout = Layout(operators=("MatMul",))
    names = Layout().rounded(model)
    assert names == layout.rounded(model)  # of the Mul, only what its neighbours round
    ranges: dict[str, Range] = extents(runner(model, names), [{"x": x}], "a test")
    written = Layout(kept=("MatMul_2",)).written(model, ranges)
    found, wanted = said(written, x), said(model, x)
    assert np.abs(found - wanted).max() < 0.05


def test_a_pad_of_zeros_names_no_zero_and_another_value_stays():
    stored = {"w": some(2, 3, 3, 3), "around": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "zero": np.float32(0)}
    for value, left in ((0, ""), (2, "zero")):
        stored["zero"] = np.float32(value)
        nodes = [node("Pad", ["x", "around", "zero"], ["p"]), node("Conv", ["p", "w"], ["y"])]
        model = network(nodes, (3, 6, 6), stored)
        x = np.random.default_rng(0).standard_normal((2, 3, 6, 6)).astype("f4")
        before = said(model, x)
        plain_pads(model)
        assert model.graph.node[0].input[2] == left
        np.testing.assert_array_equal(said(model, x), before)


def test_a_product_that_nothing_takes_as_integers_gives_floats():
    """The first goes to a softmax by way of a Reshape, the last one out; a convolution is rounded still."""
    nodes = [
        node("MatMul", ["x", "w"], ["a"]), node("Reshape", ["a", "shape"], ["b"]),
        node("Softmax", ["b"], ["c"]),
        node("MatMul", ["c", "v"], ["d"]), node("Relu", ["d"], ["r"]), node("MatMul", ["r", "v"], ["y"]),
    ]  # fmt: skip
    model = network(nodes, (4,), LAYER | {"shape": np.array([-1, 4])})
    named(model)
    assert open_ends(model) == {"a", "b", "y"}
    assert open_ends(model, operators=("MatMul", "Conv")) == {"a", "b", "y"}
    assert open_ends(model, kept=["MatMul_5"]) == {"a", "b", "d"}
    assert set(Layout().rounded(model)) == {"x", "c", "r"}
    x = rows()
    ranges = extents(runner(model, ["x", "c", "r"]), [{"x": x}], "a test")
    written = Layout().written(model, ranges)
    rounds = [n.input[0] for n in written.graph.node if n.op_type == "QuantizeLinear"]
    assert set(rounds) == {"x", "c", "r"}
    assert not [tensor.name for tensor in written.graph.initializer if tensor.name.startswith("y_")]
    assert np.abs(said(written, x) - said(model, x)).max() < 0.03
    convolution = network([node("Conv", ["x", "k"], ["y"])], (3, 4, 4), {"k": some(2, 3, 1, 1)})
    named(convolution)
    assert open_ends(convolution) == set()
