"""A layer as rows times a matrix: against the engine, whatever the form."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_networks import network, node, said, some

from qbench.quant.products import as_matrix, from_matrix, windows

CONVOLUTIONS = {
    "plain": ((2, 3, 6, 7), (4, 3, 3, 2), {}),
    "padded": ((2, 3, 6, 6), (4, 3, 3, 3), {"pads": [1, 0, 2, 1]}),
    "strided": ((2, 3, 9, 8), (4, 3, 3, 3), {"strides": [2, 3]}),
    "dilated": ((2, 3, 9, 9), (4, 3, 3, 2), {"dilations": [2, 3], "pads": [1] * 4}),
    "grouped": ((2, 6, 5, 5), (4, 3, 3, 3), {"group": 2, "pads": [1] * 4}),
    "depthwise": ((2, 4, 5, 5), (4, 1, 3, 3), {"group": 4, "strides": [2, 2]}),
    "all": (
        (2, 4, 9, 9), (6, 2, 3, 3), {"group": 2, "pads": [2, 1, 0, 1], "strides": [2, 1], "dilations": [1, 2]}
    ),
    "pointwise": ((2, 3, 4, 4), (5, 3, 1, 1), {}),
    "one axis": ((2, 3, 9), (4, 3, 3), {"pads": [1, 1], "strides": [2]}),
    "three axes": ((2, 2, 4, 5, 4), (3, 2, 2, 2, 2), {"pads": [1, 0, 0, 0, 1, 1]}),
    "valid": ((2, 3, 6, 6), (4, 3, 3, 3), {"auto_pad": "VALID"}),
}  # fmt: skip


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_windows_times_the_weight_are_the_convolution(case):
    given, shape, facts = CONVOLUTIONS[case]
    made, x, w = node("Conv", ["x", "w"], ["y"], **facts), some(*given), some(*shape)
    found = windows(made, shape, x, most=10**6)
    rows = found.values.reshape(*found.values.shape[:2], -1)  # (groups, rows, channels * positions)
    matrix = as_matrix(made, w).reshape(len(rows), -1, rows.shape[2])
    own = np.einsum("gnk,grk->ngr", rows, matrix).reshape(rows.shape[1], -1)
    wanted = said(network([made], given[1:], {"w": w}), x)
    assert found.positions == len(own)
    np.testing.assert_allclose(own, np.moveaxis(wanted, 1, -1).reshape(len(own), -1), atol=1e-4)


@pytest.mark.parametrize(("kind", "given", "shape", "facts"), [
    ("Gemm", (5, 4), (4, 3), {}), ("Gemm", (5, 4), (3, 4), {"transB": 1}), ("MatMul", (5, 4), (4, 3), {}),
    ("MatMul", (2, 5, 4), (4, 3), {}),
])  # fmt: skip
def test_windows_times_the_weight_are_the_product(kind, given, shape, facts):
    made, x, w = node(kind, ["x", "w"], ["y"], **facts), some(*given), some(*shape)
    (rows,) = windows(made, shape, x, most=10**6).values[..., 0]
    wanted = said(network([made], given[1:], {"w": w}), x)
    np.testing.assert_allclose(rows @ as_matrix(made, w).T, wanted.reshape(-1, 3), atol=1e-5)


def test_what_is_padded_with_can_be_told():
    made = node("Conv", ["x", "w"], ["y"], pads=[1] * 4)
    found = windows(made, (1, 1, 3, 3), np.zeros((1, 1, 1, 1), "f4"), fill=7)
    assert found.values.reshape(-1).tolist() == [7, 7, 7, 7, 0, 7, 7, 7, 7]


def test_some_rows_evenly_spaced_stand_for_all():
    made, x = node("MatMul", ["x", "w"], ["y"]), np.arange(100, dtype="f4")[:, None]
    found = windows(made, (1, 3), x, most=4)
    assert found.values.reshape(-1).tolist() == [0, 33, 66, 99]
    assert found.positions == 100


@pytest.mark.parametrize(("made", "shape"), [
    (node("Conv", ["x", "w"], ["y"], auto_pad="SAME_UPPER"), (1, 1, 3, 3)),
    (node("Gemm", ["x", "w"], ["y"], transA=1), (4, 3)),
    (node("MatMul", ["x", "w"], ["y"]), (2, 4, 3)),
    (node("ConvTranspose", ["x", "w"], ["y"]), (1, 1, 3, 3)),
])  # fmt: skip
def test_forms_that_are_not_known_are_none(made, shape):
    assert windows(made, shape, some(2, 1, 4, 4)) is None


@pytest.mark.parametrize(("kind", "shape", "facts", "rows"), [
    ("Conv", (4, 3, 2, 5), {}, 4), ("Conv", (6, 1, 3), {"group": 6}, 6),
    ("ConvTranspose", (4, 3, 2, 5), {}, 3), ("Gemm", (4, 3), {}, 3), ("Gemm", (4, 3), {"transB": 1}, 4),
    ("MatMul", (4, 3), {}, 3), ("MatMul", (2, 4, 3), {}, 3),
])  # fmt: skip
def test_a_weight_comes_back_from_its_matrix(kind, shape, facts, rows):
    made, w = node(kind, ["x", "w"], ["y"], **facts), some(*shape)
    matrix = as_matrix(made, w)
    assert matrix.shape == (rows, w.size // rows)
    back = from_matrix(made, matrix, shape)
    assert back.flags.c_contiguous
    np.testing.assert_array_equal(back, w)


@pytest.mark.parametrize(("kind", "given", "shape", "facts"), [
    ("ConvTranspose", (1, 4, 3, 3), (4, 3, 2, 2), {}), ("Conv", (1, 4, 3, 3), (3, 4, 2, 2), {}),
    ("Gemm", (2, 4), (3, 4), {"transB": 1}), ("Gemm", (2, 4), (4, 3), {}), ("MatMul", (2, 4), (4, 3), {}),
])  # fmt: skip
def test_a_row_of_the_matrix_is_an_output_channel(kind, given, shape, facts):
    """With that row alone, nothing but that channel is answered."""
    made, w = node(kind, ["x", "w"], ["y"], **facts), some(*shape)
    matrix = as_matrix(made, w)
    for row in range(len(matrix)):
        alone = np.where(np.arange(len(matrix))[:, None] == row, matrix, 0)
        stored = [numpy_helper.from_array(from_matrix(made, alone, shape), "w")]
        ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("x", "y")]
        graph = helper.make_graph([made], "one", ends[:1], ends[1:], stored)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        found = np.moveaxis(said(model, some(*given)), 1, 0).reshape(3, -1)
        assert [bool(channel.any()) for channel in found] == [place == row for place in range(3)]
