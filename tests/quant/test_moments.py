"""Errors from second moments are the errors themselves."""

import numpy as np
import pytest
from small_networks import node, some

from qbench.quant.moments import grouped, loss, moments, rows_of, shift, signal

CASES = {
    "product": (node("MatMul", ["x", "w"], ["y"]), (7, 4)),
    "grouped": (node("Conv", ["x", "w"], ["y"], group=2), (6, 4, 1, 1)),
}


def rows(count, groups=1, seed=0):
    rng = np.random.default_rng(seed)
    xs = (rng.standard_normal((groups, count, 4)) @ rng.standard_normal((4, 4)) + 0.7).astype("f4")
    return xs, xs + rng.normal(0.1, 0.3, xs.shape).astype("f4")


def batches(groups):
    return [rows(50, groups), rows(30, groups, 1), rows(1, groups, 2)]


def joined(groups):
    pairs = batches(groups)
    return tuple(np.concatenate([pair[side] for pair in pairs], 1).astype("f8") for side in (0, 1))


def weights(groups):
    true = some(groups, 3, 4).astype("f8")
    return true, np.rint(true * 4) / 4


@pytest.mark.parametrize("groups", [1, 2])
def test_loss_is_the_mean_squared_error(groups):
    (xs, ys), (true, own) = joined(groups), weights(groups)
    wanted = ((xs @ true.transpose(0, 2, 1) - ys @ own.transpose(0, 2, 1)) ** 2).mean(1)
    np.testing.assert_allclose(loss(true, own, moments(batches(groups))), wanted, rtol=1e-4)
    power = ((xs @ true.transpose(0, 2, 1)) ** 2).mean(1)
    np.testing.assert_allclose(signal(true, moments(batches(groups))), power, rtol=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_shift_is_the_mean_difference_of_every_channel(case):
    made, shape = CASES[case]
    groups = 2 if case == "grouped" else 1
    (xs, ys), (true, own) = joined(groups), weights(groups)
    wanted = (xs @ true.transpose(0, 2, 1) - ys @ own.transpose(0, 2, 1)).mean(1).reshape(-1)
    stored = [a.reshape(6, 4, 1, 1) if groups == 2 else a[0].T for a in (true, own)]
    np.testing.assert_allclose(shift(made, *stored, moments(batches(groups))), wanted, atol=1e-4)


def test_centred_is_the_loss_that_a_corrected_bias_leaves():
    (xs, ys), (true, own) = joined(1), weights(1)
    of = moments(batches(1))
    bias = shift(node("MatMul", ["x", "w"], ["y"]), true[0].T, own[0].T, of)
    wanted = ((xs @ true.transpose(0, 2, 1) - ys @ own.transpose(0, 2, 1) - bias) ** 2).mean(1)
    np.testing.assert_allclose(loss(true, own, of.centred), wanted, rtol=1e-3)
    assert (loss(true, own, of.centred) < loss(true, own, of)).all()


def test_by_hand():
    # x is 1, 3 and y is 1, 2: W = 2 and V = 3 answer 2, 6 and 3, 6
    of = moments([(np.array([[[1.0], [3.0]]]), np.array([[[1.0], [2.0]]]))])
    assert (of.own.item(), of.cross.item(), of.true.item()) == (2.5, 3.5, 5)
    assert loss(np.array([[[2.0]]]), np.array([[[3.0]]]), of).item() == 0.5
    assert shift(node("MatMul", ["x", "w"], ["y"]), np.array([[2.0]]), np.array([[3.0]]), of).item() == -0.5
    assert loss(np.array([[[2.0]]]), np.array([[[3.0]]]), of.centred).item() == 0.25


def test_of_nothing_there_are_none():
    assert moments([]) is None


def test_rows_and_weights_meet_by_group():
    made, w, x = node("Conv", ["x", "w"], ["y"], group=2), some(6, 2, 3, 3), some(2, 4, 3, 3)
    found = rows_of(made, w.shape, x, 100)
    matrix = grouped(made, w.reshape(6, -1))
    assert found.shape == (2, 2, 18)
    assert found.dtype == np.float32
    assert matrix.shape == (2, 3, 18)
    np.testing.assert_array_equal(matrix[1, 0], w[3].ravel())
    np.testing.assert_array_equal(found[1, 0], x[0, 2:].ravel())
    assert rows_of(node("ConvTranspose", ["x", "w"], ["y"]), (4, 2, 3, 3), x, 100) is None
