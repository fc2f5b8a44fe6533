"""Channels that go: worked by hand, equal to zeros in their place, whole where they cannot be followed."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession

from qbench.errors import DoesNotFit
from qbench.quant.channel_spaces import channel_spaces
from qbench.quant.channels import kept, narrow, work_in_words

node = helper.make_node
RNG = np.random.default_rng(0)


def network(nodes, weights, shape=("n", 3, 8, 8), outputs=("y",), ints=None):
    info = helper.make_tensor_value_info
    held = [numpy_helper.from_array(np.asarray(array, "f4"), name) for name, array in weights.items()]
    held += [numpy_helper.from_array(np.asarray(array, "i8"), name) for name, array in (ints or {}).items()]
    ends = [info("x", TensorProto.FLOAT, shape)], [info(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(nodes, "network", *ends, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def copied(model):
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def narrowed(model, share=0.5, *, norm="l1", multiple=1):
    copy = copied(model)
    found = narrow(copy, share, norm=norm, multiple=multiple, technique="channel_prune")
    onnx.shape_inference.infer_shapes(copy, check_type=True, strict_mode=True)
    return copy, found


def answers(model, x):
    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x.astype("f4")})[0]


def shapes(model):
    return {t.name: list(t.dims) for t in model.graph.initializer}


def zeroed(model, found):
    """Return the network with zeros where channels went: in weights, biases and depthwise ones."""
    copy = copied(model)
    held = {t.name: t for t in copy.graph.initializer}
    for space in channel_spaces(copy):
        makers = [part.name for part in space.parts if part.name in found.stays]
        for part in space.parts if makers else ():
            array = numpy_helper.to_array(held[part.name]).copy()
            gone = np.setdiff1d(np.arange(space.size), found.stays[makers[0]])
            if part.role != "reads":
                np.moveaxis(array, part.axis, 0)[gone] = 0
            held[part.name].CopyFrom(numpy_helper.from_array(array, part.name))
    return copy


def same_as_zeroed(model, share=0.5, **how):
    small, found = narrowed(model, share, **how)
    x = RNG.standard_normal((2, 3, 8, 8))
    np.testing.assert_allclose(answers(small, x), answers(zeroed(model, found), x), atol=1e-4)
    return small, found


def weight(*shape):
    return RNG.standard_normal(shape) / np.sqrt(np.prod(shape[1:]) or 1)


def residual():
    """Return a stem, a block added to it, a wider block with a shortcut, a mean and a classifier."""
    nodes = [
        node("Conv", ["x", "w0", "b0"], ["c0"]),
        node("Relu", ["c0"], ["r0"]),
        node("Conv", ["r0", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], ["r1"]),
        node("Conv", ["r1", "w2", "b2"], ["c2"], pads=[1, 1, 1, 1]),
        node("Add", ["c2", "r0"], ["a0"]),
        node("Relu", ["a0"], ["r2"]),
        node("MaxPool", ["r2"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["p", "w3"], ["c3"]),
        node("Conv", ["p", "w4"], ["c4"]),
        node("Add", ["c3", "c4"], ["a1"]),
        node("ReduceMean", ["a1", "axes"], ["mean"], keepdims=1),
        node("Reshape", ["mean", "flat"], ["f"]),
        node("Gemm", ["f", "w5", "b5"], ["y"], transB=1),
    ]
    weights = {"w0": weight(8, 3, 1, 1), "b0": weight(8), "w1": weight(6, 8, 3, 3), "b1": weight(6)}
    weights |= {"w2": weight(8, 6, 3, 3), "b2": weight(8), "w3": weight(12, 8, 1, 1)}
    weights |= {"w4": weight(12, 8, 1, 1), "w5": weight(5, 12), "b5": weight(5)}
    return network(nodes, weights, ints={"axes": [-1, -2], "flat": [-1, 12]})


def mobile():
    """Return conv, depthwise, conv, the same again added, all bounded by six; a mean that drops its axes."""
    nodes = [
        node("Conv", ["x", "w0", "b0"], ["c0"]),
        node("Clip", ["c0", "zero", "six"], ["r0"]),
        node("Conv", ["r0", "d0", "e0"], ["c1"], group=16, pads=[1, 1, 1, 1]),
        node("Clip", ["c1", "zero", "six"], ["r1"]),
        node("Conv", ["r1", "w1", "b1"], ["c2"]),
        node("Conv", ["c2", "w2", "b2"], ["c3"]),
        node("Clip", ["c3", "zero", "six"], ["r3"]),
        node("Conv", ["r3", "d1", "e1"], ["c4"], group=24, pads=[1, 1, 1, 1]),
        node("Clip", ["c4", "zero", "six"], ["r4"]),
        node("Conv", ["r4", "w3", "b3"], ["c5"]),
        node("Add", ["c2", "c5"], ["a"]),
        node("ReduceMean", ["a", "axes"], ["mean"], keepdims=0),
        node("Gemm", ["mean", "w4", "b4"], ["y"]),
    ]
    weights = {"w0": weight(16, 3, 1, 1), "b0": weight(16), "d0": weight(16, 1, 3, 3), "e0": weight(16)}
    weights |= {"w1": weight(8, 16, 1, 1), "b1": weight(8), "w2": weight(24, 8, 1, 1), "b2": weight(24)}
    weights |= {"d1": weight(24, 1, 3, 3), "e1": weight(24), "w3": weight(8, 24, 1, 1), "b3": weight(8)}
    weights |= {"w4": weight(8, 5), "b4": weight(5), "zero": 0.0, "six": 6.0}
    return network(nodes, weights, ints={"axes": [2, 3]})


@pytest.mark.parametrize(("size", "share", "multiple", "wanted"), [
    (32, 0.25, 8, 24),
    (16, 0.25, 8, 16),  # 12 lies between 8 and 16: the larger
    (24, 0.25, 8, 16),
    (20, 0.25, 8, 16),
    (16, 0.99, 8, 8),
    (8, 0.25, 8, 6),  # no more than a multiple: one by one
    (8, 0.99, 8, 1),  # never none
    (80, 0.9, 8, 8),
    (5, 0.5, 1, 3),
    (1, 0.9, 1, 1),
])  # fmt: skip
def test_how_many_stay(size, share, multiple, wanted):
    assert kept(size, share, multiple) == wanted


@pytest.mark.parametrize(("norm", "stay"), [("l1", 1), ("l2", 0)])
def test_the_weakest_go_worked_by_hand(norm, stay):
    # rows of (2.8, 0), (1.5, 1.5) and (1, 1.2): sums 2.8, 3, 2.2 and lengths 2.8, 2.1, 1.6
    first = np.array([[2.8, 0.0, 0.0], [1.5, 1.5, 0.0], [1.0, 1.2, 0.0]])[:, :, None, None]
    nodes = [node("Conv", ["x", "w", "b"], ["c"]), node("Conv", ["c", "v"], ["y"])]
    second = np.array([7.0, 8.0, 9.0]).reshape(1, 3, 1, 1)
    model = network(nodes, {"w": first, "b": [1.0, 2.0, 3.0], "v": second})
    small, found = narrowed(model, 0.6, norm=norm)
    arrays = {t.name: numpy_helper.to_array(t) for t in small.graph.initializer}
    assert found.stays["w"].tolist() == [stay]
    np.testing.assert_array_equal(arrays["w"], first[[stay]].astype("f4"))
    assert arrays["b"].tolist() == [[1.0, 2.0, 3.0][stay]]
    assert arrays["v"].reshape(-1).tolist() == [[7.0, 8.0, 9.0][stay]]


def test_a_residual_network_is_the_same_as_with_zeros():
    small, found = same_as_zeroed(residual())
    wanted = {"w0": [4, 3, 1, 1], "w1": [3, 4, 3, 3], "w2": [4, 3, 3, 3], "w3": [6, 4, 1, 1], "w5": [5, 6]}
    assert wanted.items() <= shapes(small).items()
    assert found.stays["w0"].tolist() == found.stays["w2"].tolist()  # coupled by the addition
    assert (found.groups, found.whole) == (3, 1)
    reshape = next(n for n in small.graph.node if n.op_type == "Reshape")
    held = {t.name: numpy_helper.to_array(t) for t in small.graph.initializer}
    assert held[reshape.input[1]].tolist() == [-1, 6]


def test_a_depthwise_network_is_the_same_as_with_zeros():
    small, found = same_as_zeroed(mobile())
    wanted = {"w0": [8, 3, 1, 1], "d0": [8, 1, 3, 3], "e0": [8], "w1": [4, 8, 1, 1], "w4": [4, 5], "b4": [5]}
    assert wanted.items() <= shapes(small).items()
    assert [a.i for n in small.graph.node for a in n.attribute if a.name == "group"] == [8, 12]
    assert found.stays["w1"].tolist() == found.stays["w3"].tolist()


def test_multiples_are_kept_where_there_are_more():
    small, _ = same_as_zeroed(mobile(), 0.4, multiple=8)
    assert shapes(small)["w0"] == [8, 3, 1, 1]  # 9.6 of 16
    assert shapes(small)["w2"] == [16, 5, 1, 1]  # 14.4 of 24; 8 are no more than a multiple: 4.8


def test_flattened_channels_leave_with_all_their_places():
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Flatten", ["c"], ["f"]), node("Gemm", ["f", "g"], ["y"])]
    model = network(nodes, {"w": weight(4, 3, 5, 5), "g": weight(4 * 16, 2)})
    small, found = same_as_zeroed(model)
    assert shapes(small) == {"w": [2, 3, 5, 5], "g": [2 * 16, 2]}
    rows = (found.stays["w"][:, None] * 16 + np.arange(16)).reshape(-1)
    full, part = ({t.name: numpy_helper.to_array(t) for t in m.graph.initializer} for m in (model, small))
    np.testing.assert_array_equal(part["g"], full["g"][rows])


def test_a_gate_for_every_channel_goes_with_it():
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("GlobalAveragePool", ["c"], ["p"]),
        node("Conv", ["p", "s", "t"], ["q"]),
        node("Sigmoid", ["q"], ["g"]),
        node("Mul", ["c", "g"], ["m"]),
        node("Add", ["m", "each"], ["a"]),
        node("Mul", ["a", "one"], ["o"]),
        node("Add", ["row", "o"], ["r"]),
        node("Conv", ["r", "v"], ["y"]),
    ]
    weights = {"w": weight(6, 3, 3, 3), "s": weight(6, 6, 1, 1), "t": weight(6), "v": weight(2, 6, 1, 1)}
    model = network(nodes, weights | {"each": weight(6, 1, 1), "one": 2.0, "row": weight(1, 1, 6)})
    small, _ = narrowed(model)
    wanted = {"w": [3, 3, 3, 3], "s": [3, 3, 1, 1], "t": [3], "each": [3, 1, 1], "one": [], "v": [2, 3, 1, 1]}
    wanted |= {"row": [1, 1, 6]}  # along the image, where it happens to be as long
    assert shapes(small) == wanted


def test_hidden_channels_between_two_matrix_products_go_and_the_stream_around_them_stays():
    nodes = [
        node("LayerNormalization", ["x", "ones"], ["n"]),
        node("MatMul", ["n", "w"], ["p"]),
        node("Add", ["b", "p"], ["a"]),
        node("Relu", ["a"], ["g"]),
        node("MatMul", ["g", "v"], ["q"]),
        node("Add", ["x", "q"], ["y"]),
    ]
    weights = {"ones": np.ones(8), "w": weight(8, 16), "b": weight(16), "v": weight(16, 8)}
    small, found = same_as_zeroed(network(nodes, weights))
    assert shapes(small) == {"ones": [8], "w": [8, 8], "b": [8], "v": [8, 8]}
    assert (found.groups, found.whole) == (1, 1)


def between(*nodes, outputs=("y",), ints=None, **weights):
    """Return a convolution, these nodes from c to d, and a convolution that reads what they give."""
    nodes = [node("Conv", ["x", "w"], ["c"]), *nodes, node("Conv", ["d", "v"], ["y"])]
    held = {"w": weight(8, 3, 1, 1), "v": weight(2, 8, 1, 1)} | weights
    return network(nodes, held, outputs=outputs, ints=ints)


@pytest.mark.parametrize(("model", "why"), [
    (between(node("Softmax", ["c"], ["d"], axis=1)), "Softmax x1"),
    (between(node("Relu", ["c"], ["d"]), outputs=("y", "d")), "the network's output x2"),
    (between(node("Conv", ["c", "g"], ["d"], group=2), g=weight(8, 4, 1, 1)), "grouped convolution x1"),
    (between(node("Concat", ["c", "c"], ["e"], axis=1), node("Slice", ["e", "a", "b", "o"], ["d"]),
             ints={"a": [0], "b": [8], "o": [1]}), "Concat x1"),
    (between(node("Mul", ["c", "w2"], ["d"]), node("Mul", ["c", "w2"], ["e"]), w2=weight(8, 1, 1)), "Mul x1"),
])  # fmt: skip
def test_what_cannot_be_followed_stays_whole(model, why):
    with pytest.raises(
        DoesNotFit, match=r"may cut none of this network \(found: Conv x(.|\n)*fix: leave"
    ) as e:
        narrowed(model)
    assert why in e.value.problem


def test_a_weight_that_two_layers_share_stays_whole():
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("Conv", ["c", "s"], ["d"]),
        node("Conv", ["d", "s"], ["y"]),
    ]
    with pytest.raises(DoesNotFit, match="because of: Conv x1"):
        narrowed(network(nodes, {"w": weight(4, 3, 1, 1), "s": weight(4, 4, 1, 1)}))


def test_what_a_branch_reads_stays_whole():
    info = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
    bodies = {
        name: helper.make_graph([node("ReduceMax", ["c"], ["z"], keepdims=0)], name, [], [info])
        for name in ("then_branch", "else_branch")
    }
    model = between(node("Relu", ["c"], ["d"]), node("If", ["yes"], ["z"], **bodies))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    with pytest.raises(DoesNotFit, match="because of: .*a loop or a branch x1"):
        narrowed(model)


def test_a_share_that_takes_nothing_is_told_with_one_that_does():
    model = network(
        [node("Conv", ["x", "w"], ["c"]), node("Conv", ["c", "v"], ["y"])],
        {"w": weight(16, 3, 1, 1), "v": weight(2, 16, 1, 1)},
    )
    with pytest.raises(DoesNotFit, match=r"share = 0.2 takes none of 16 channels, counted in multiples of 8"):
        narrowed(model, 0.2, multiple=8)
    with pytest.raises(DoesNotFit, match=r"fix: write share = 0.26 or more, or multiple = 1"):
        narrowed(model, 0.2, multiple=8)
    assert shapes(narrowed(model, 0.26, multiple=8)[0])["w"] == [8, 3, 1, 1]
    with pytest.raises(DoesNotFit, match=r"width = 0.8 takes none of (.|\n)*fix: write width = 0.74 or less"):
        narrow(copied(model), 0.2, norm="l1", multiple=8, technique="distill", wish="width = 0.8")


def test_a_weight_that_is_no_number_is_refused():
    bad = np.full((8, 3, 1, 1), np.nan)
    with pytest.raises(DoesNotFit, match="channel_prune cannot rank 'w': 24 of its 24 elements are NaN"):
        narrowed(between(node("Relu", ["c"], ["d"]), w=bad))


def test_the_work_and_bytes_are_told():
    model = between(node("Relu", ["c"], ["d"]))
    # 64 positions: 3 x 8 and 8 x 2 products at each, of which half go
    said = work_in_words(model, narrowed(model)[0])
    assert said.startswith("2,560 multiply-accumulates and ")
    assert " before, 1,280 multiply-accumulates and " in said
