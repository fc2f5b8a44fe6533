"""Gemm with plain numbers: the same answers, and a bias in a row."""

import numpy as np
import pytest
from small_networks import initializers, network, node, said, some

from qbench.quant.gemm import plain_gemms

X = some(5, 4)


@pytest.mark.parametrize("facts", [{}, {"alpha": 3.0}, {"beta": 0.5}, {"alpha": 0.5, "beta": -2.0}], ids=str)
@pytest.mark.parametrize("shape", [(6,), (1, 6), (1,), (1, 1), ()], ids=str)
@pytest.mark.parametrize("turned", [0, 1])
def test_the_answers_stay_and_the_factors_go(facts, shape, turned):
    stored = {"w": some(6, 4) if turned else some(4, 6), "b": some(*shape)}
    model = network([node("Gemm", ["x", "w", "b"], ["y"], transB=turned, **facts)], (4,), stored)
    before = said(model, X)
    plain_gemms(model)
    (made,) = model.graph.node
    assert not {a.name for a in made.attribute} - {"transB"}
    assert initializers(model)[made.input[2]].shape == (6,)
    assert len(model.graph.initializer) == 2
    np.testing.assert_allclose(said(model, X), before, atol=1e-5)


def test_what_is_plain_already_keeps_its_names():
    facts = {"alpha": 1.0, "beta": 1.0}
    model = network([node("Gemm", ["x", "w", "b"], ["y"], **facts)], (4,), {"w": some(4, 6), "b": some(6)})
    before = model.SerializeToString(deterministic=True)
    plain_gemms(model)
    assert model.SerializeToString(deterministic=True) == before


def test_what_others_share_stays_theirs():
    nodes = [
        node("Gemm", ["x", "w", "b"], ["h"], alpha=2.0, beta=3.0),
        node("Gemm", ["h", "w", "b"], ["y"]),
    ]
    model = network(nodes, (4,), {"w": some(4, 4), "b": some(4)})
    before = said(model, X)
    plain_gemms(model)
    np.testing.assert_allclose(said(model, X), before, atol=1e-4)
    assert set(initializers(model)) > {"w", "b"}


def test_a_bias_for_every_example_is_added_behind_and_numbers_that_are_computed_stay():
    nodes = [
        node("Gemm", ["x", "w", "b"], ["h"]),
        node("Relu", ["v"], ["u"]),
        node("Gemm", ["h", "u", "c"], ["y"], alpha=2.0),
    ]  # noqa: E501
    model = network(nodes, (4,), {"w": some(4, 4), "b": some(5, 4), "v": some(4, 4), "c": some(4)})
    before = said(model, X)
    plain_gemms(model)
    np.testing.assert_allclose(said(model, X), before, atol=1e-5)
    assert initializers(model)["b"].shape == (5, 4)
    assert [one.op_type for one in model.graph.node] == ["Gemm", "Add", "Relu", "Gemm"]
    assert list(model.graph.node[0].input) == ["x", "w"]
    assert model.graph.node[3].attribute[0].f == 2
