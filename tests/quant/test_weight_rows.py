"""Weights as matrices: the rows of every operator, and the way back."""

import numpy as np
import pytest
from onnx import helper

from qbench.quant.weight_rows import as_rows


@pytest.mark.parametrize(("node", "position", "shape", "wanted"), [
    (("Conv", {}), 1, (4, 3, 2, 2), (4, 12)),
    (("ConvTranspose", {}), 1, (6, 4, 2, 2), (4, 24)),
    (("ConvTranspose", {"group": 2}), 1, (6, 4, 2, 2), (8, 12)),
    (("Gemm", {"transB": 1}), 1, (4, 7), (4, 7)),
    (("Gemm", {}), 1, (7, 4), (4, 7)),
    (("Gemm", {}), 0, (4, 7), (4, 7)),
    (("Gemm", {"transA": 1}), 0, (7, 4), (4, 7)),
    (("MatMul", {}), 1, (2, 7, 4), (8, 7)),
    (("MatMul", {}), 0, (2, 4, 7), (8, 7)),
    (("MatMul", {}), 1, (7,), (1, 7)),
])  # fmt: skip
def test_a_row_is_what_one_output_is_summed_from(node, position, shape, wanted):
    kind, facts = node
    weight = np.arange(np.prod(shape), dtype="f4").reshape(shape)
    rows, back = as_rows(helper.make_node(kind, ["x", "w"], ["y"], **facts), position, weight)
    assert rows.shape == wanted
    np.testing.assert_array_equal(back(rows), weight)


def test_the_rows_of_a_grouped_transposed_convolution_do_not_mix_groups():
    weight = np.zeros((4, 3, 2))  # two groups of two inputs and three outputs
    weight[2:] = 1
    rows, _ = as_rows(helper.make_node("ConvTranspose", ["x", "w"], ["y"], group=2), 1, weight)
    assert (rows[:3] == 0).all()
    assert (rows[3:] == 1).all()


def test_a_matrix_product_sums_along_the_first_axis_of_its_right_side():
    rows, _ = as_rows(helper.make_node("MatMul", ["x", "w"], ["y"]), 1, np.array([[1, 2], [3, 4]]))
    assert rows.tolist() == [[1, 3], [2, 4]]
