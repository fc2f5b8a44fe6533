"""Biases that cannot be rounded become additions: exactly, and only those."""

import numpy as np
import pytest
from small_networks import convolutions, network, node, products, said, some

from qbench.quant.biases import apart_biases

PICTURES = np.random.default_rng(0).standard_normal((3, 4, 5, 5)).astype("f4")


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_transposed_convolution_of_groups_keeps_its_answers(groups):
    stored = {"w": some(4, 3, 2, 2), "b": some(3 * groups)}
    nodes = [node("ConvTranspose", ["x", "w", "b"], ["y"], group=groups, strides=[2, 2])]
    model = network(nodes, (4, 5, 5), stored)
    before = said(model, PICTURES)
    assert apart_biases(model) == (groups > 1)
    assert [n.op_type for n in model.graph.node] == ["ConvTranspose", "Add"][: 1 + (groups > 1)]
    np.testing.assert_allclose(said(model, PICTURES), before, atol=1e-5)


def test_a_gemm_that_adds_a_matrix_or_something_computed_keeps_its_answers():
    x = np.random.default_rng(1).standard_normal((4, 4)).astype("f4")
    for nodes in (
        [node("Gemm", ["x", "w", "m"], ["y"])],
        [node("Gemm", ["x", "v"], ["c"]), node("Gemm", ["x", "w", "c"], ["y"])],
    ):
        model = network(nodes, (4,), {"w": some(4, 3), "m": some(4, 3), "v": some(4, 3, seed=2)})
        before = said(model, x)
        assert apart_biases(model) == 1
        np.testing.assert_allclose(said(model, x), before, atol=1e-5)


def test_a_gemm_that_scales_what_it_adds_stays():
    model = network(
        [node("Gemm", ["x", "w", "m"], ["y"], beta=0.5)], (4,), {"w": some(4, 3), "m": some(4, 3)}
    )
    assert apart_biases(model) == 0


@pytest.mark.parametrize("make", [convolutions, products])
def test_rows_of_numbers_stay(make):
    model = make()
    before = model.SerializeToString(deterministic=True)
    assert apart_biases(model) == 0
    assert model.SerializeToString(deterministic=True) == before
