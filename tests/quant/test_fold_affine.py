"""A scale and a shift behind a convolution, folded into it: the same answers; and where they stay."""

import numpy as np
import pytest
from small_networks import network, node, said, some

from qbench.quant.fold import fold_affine


def affine(*nodes, **stored):
    first = node("Conv", ["x", "w"], ["c"])
    return network([first, *nodes], (3, 5, 5), {"w": some(4, 3, 3, 3)} | stored)


@pytest.mark.parametrize("shape", [(), (1,), (4, 1, 1), (1, 4, 1, 1)])
@pytest.mark.parametrize("turned", [False, True])
def test_a_scale_and_a_shift_go_into_the_convolution(shape, turned):
    sides = (lambda a, b: [b, a]) if turned else (lambda a, b: [a, b])
    nodes = [node("Mul", sides("c", "k"), ["m"]), node("Add", sides("m", "s"), ["y"])]
    model = affine(*nodes, k=some(*shape) + np.float32(2), s=some(*shape, seed=1))
    pictures = some(2, 3, 5, 5, seed=3)
    before = said(model, pictures)
    assert fold_affine(model) == 2
    assert [n.op_type for n in model.graph.node] == ["Conv"]
    assert {t.name for t in model.graph.initializer} == set(model.graph.node[0].input[1:])
    np.testing.assert_allclose(said(model, pictures), before, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("nodes", "stored"),
    [
        ([node("Mul", ["c", "k"], ["y"])], {"k": some(3)}),  # one a column
        ([node("Mul", ["c", "k"], ["y"])], {"k": some(2, 1, 1, 1)}),  # one an example
        ([node("Mul", ["c", "k"], ["m"]), node("Add", ["m", "c"], ["y"])], {"k": np.float32(2)}),
        ([node("Mul", ["c", "c"], ["y"])], {}),
    ],
)
def test_what_is_not_one_number_a_channel_or_has_other_users_stays(nodes, stored):
    model = affine(*nodes, **stored)
    before = model.SerializeToString(deterministic=True)
    assert fold_affine(model) == 0
    assert model.SerializeToString(deterministic=True) == before


def test_a_weight_that_another_takes_too_stays():
    nodes = [
        node("Mul", ["c", "k"], ["m"]), node("Conv", ["x", "w"], ["d"]), node("Add", ["m", "d"], ["y"]),
    ]  # fmt: skip
    model = affine(*nodes, k=np.float32(2))
    assert fold_affine(model) == 0
