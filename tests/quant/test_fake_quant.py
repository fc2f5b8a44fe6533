"""Rounding with a gradient: forward as the file rounds, backward by the papers' equations."""

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from qbench.quant.fake_quant import Steps, coarse_gradients, fused, rounded, rounding, stochastic_int8

RNG = np.random.default_rng(0)


def tensor(*values):
    return torch.tensor(values, dtype=torch.float32)


def by_the_standard(x, scale, zero, axis=1):
    """Return what QuantizeLinear and DequantizeLinear make of x."""
    stored = [numpy_helper.from_array(array, name) for name, array in (("s", scale), ("z", zero))]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], axis=axis),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], axis=axis),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "pair", ends[:1], ends[1:], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return ReferenceEvaluator(model).run(None, {"x": x})[0]


@pytest.mark.parametrize("forward", ["rounded", "fused"])
@pytest.mark.parametrize(("scale", "zero"), [(0.25, 0), (0.25, 7), (0.5, 128), (0.013, 255)])
def test_forward_is_the_files_rounding(forward, scale, zero):
    """Halves of a step go to the even one, counted without the zero point."""
    x = np.concatenate([np.arange(-40, 40) * 0.125, RNG.standard_normal(200) * 9]).astype("f4")
    wanted = by_the_standard(x, np.array(scale, "f4"), np.array(zero, "u1"))
    steps = Steps(torch.tensor(scale), torch.tensor(float(zero)), 0, 255)
    if forward == "fused":
        found = fused(torch.from_numpy(x), steps)
    else:
        found = rounded(torch.from_numpy(x), steps.scale, steps.zero_point, 0, 255)
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-6)


@pytest.mark.parametrize("forward", ["rounded", "fused"])
@pytest.mark.parametrize("axis", [0, 1])
def test_forward_is_the_files_rounding_channel_by_channel(forward, axis):
    x, scale = RNG.standard_normal((3, 4, 2)).astype("f4"), RNG.uniform(0.01, 0.1, (3, 4)[axis]).astype("f4")
    wanted = by_the_standard(x, scale, np.zeros(len(scale), "i1"), axis)
    shape = [1, 1, 1]
    shape[axis] = -1
    steps = Steps(torch.from_numpy(scale.reshape(shape)), torch.zeros(()), -128, 127)
    found = (
        fused(torch.from_numpy(x), steps)
        if forward == "fused"
        else rounded(torch.from_numpy(x), steps.scale, steps.zero_point, -128, 127)
    )
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-6)


@pytest.mark.parametrize("forward", ["rounded", "fused"])
def test_the_gradient_goes_straight_through_inside_and_ends_outside(forward):
    x = tensor(-9, -0.9, 0.3, 0.74, 9).requires_grad_()
    steps = Steps(torch.tensor(0.25), torch.tensor(4.0), 0, 7)  # from -1 to 0.75
    made = fused(x, steps) if forward == "fused" else rounded(x, steps.scale, steps.zero_point, 0, 7)
    assert made.tolist() == [-1, -1, 0.25, 0.75, 0.75]
    (made * tensor(1, 2, 3, 4, 5)).sum().backward()
    assert x.grad.tolist() == [0, 2, 3, 4, 0]


def test_the_gradient_of_a_scale_is_that_of_equation_3():
    # inside round(v) - v, outside the code at the end; v = -3, -1.2, 0.4, 1.5, 9 of codes -2 to 2
    scale = torch.tensor(0.5, requires_grad=True)
    for v, wanted in ((-3, -2), (-1.2, 0.2), (0.4, -0.4), (1.5, 0.5), (9, 2)):
        (found,) = torch.autograd.grad(rounded(tensor(v) * 0.5, scale, torch.zeros(()), -2, 2).sum(), scale)
        assert found.item() == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("zero", [0.0, 3.0])
def test_a_scales_gradient_is_the_slope_between_two_codes_changes(zero):
    """While no code changes, the answer is linear in the scale but for the rounded part: (code - zero)."""
    x, scale, nudge = tensor(0.31, -0.12, 9, -9), torch.tensor(0.1, requires_grad=True), 1e-4
    zero = torch.tensor(zero)
    (found,) = torch.autograd.grad(rounded(x, scale, zero, 0, 7).sum(), scale)
    with torch.no_grad():
        up, down = (rounded(x, scale + side, zero, 0, 7).sum() for side in (nudge, -nudge))
        inside = (x / scale + zero > 0) & (x / scale + zero < 7)
        straight = (x / scale)[inside].sum()  # what rounding as the identity takes from it
    assert found.item() == pytest.approx(((up - down) / (2 * nudge) - straight).item(), abs=1e-2)


def test_a_tensor_without_a_grid_passes_and_one_with_is_rounded():
    made = rounding({"x": Steps(torch.tensor(0.5), torch.zeros(()), 0, 3)}, learned=False)
    x = tensor(0.6, 5)
    assert made("another", x) is x
    assert made("x", x).tolist() == [0.5, 1.5]
    assert made.scale("x").item() == pytest.approx(0.5)
    assert not [p for p in made.parameters() if p.requires_grad]


def test_a_learned_scale_rounds_the_same_and_moves_towards_less_error():
    steps = {"x": Steps(torch.tensor(0.5), torch.zeros(()), -7, 7)}
    x = torch.randn(4096, generator=torch.Generator().manual_seed(0)) * 0.3
    fixed, made = rounding(steps, learned=False), rounding(steps, learned=True)
    torch.testing.assert_close(made("x", x), fixed("x", x))
    optimizer, errors = torch.optim.Adam(made.parameters(), 0.02), []
    for _ in range(60):
        error = ((made("x", x) - x) ** 2).mean()
        errors.append(error.item())
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    assert errors[-1] < 0.4 * errors[0]
    assert 0 < made.scale("x").item() < 0.3


def test_a_scales_gradient_is_shared_out_by_section_2_2():
    # the share is 1 / sqrt(elements * greatest code), on the logarithm: the scale times equation 3
    made = rounding({"x": Steps(torch.tensor(0.5), torch.zeros(()), -2, 2)}, learned=True)
    made("x", tensor(9, 9, 9)).sum().backward()
    assert made.logs[0].grad.item() == pytest.approx(3 * 2 * 0.5 / np.sqrt(3 * 2))


# --- gradients in int8 --------------------------------------------------------------------------------


def test_int8_gradients_are_on_255_levels_and_right_on_average():
    gradient = torch.from_numpy(RNG.standard_normal(50).astype("f4"))
    step = gradient.abs().max() / 127
    torch.manual_seed(0)
    drawn = torch.stack([stochastic_int8(gradient) for _ in range(2000)])
    levels = drawn / step
    torch.testing.assert_close(levels, levels.round(), atol=1e-3, rtol=0)
    assert levels.abs().max() <= 127.001
    assert (drawn - gradient).abs().max() <= step * 1.001
    assert ((drawn.mean(0) - gradient).abs() < 5 * 0.5 * step / np.sqrt(2000)).all()  # five deviations
    assert (drawn.std(0) > 0.05 * step).any()


@pytest.mark.parametrize("bad", [[0.0, 0.0], [float("nan"), 1.0]])
def test_gradients_that_have_no_step_pass_as_they_are(bad):
    np.testing.assert_array_equal(stochastic_int8(tensor(*bad)).numpy(), np.array(bad, "f4"))


def test_the_answers_stay_and_the_gradient_is_rounded():
    x, around = tensor(1, 2, 3).requires_grad_(), coarse_gradients()
    made = around(None, x)
    assert made.tolist() == [1, 2, 3]
    torch.manual_seed(1)
    (made * tensor(1, 0.5001, 0.001)).sum().backward()
    levels = x.grad * 127
    torch.testing.assert_close(levels, levels.round(), atol=1e-4, rtol=0)
    assert x.grad[0] == 1


def test_the_seed_of_torch_decides():
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(stochastic_int8(torch.linspace(-1, 1, 99)).tolist())
    assert drawn[0] == drawn[1] != drawn[2]
