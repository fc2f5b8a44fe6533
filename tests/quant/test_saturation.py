"""Pair sums beyond 16 bits: against the instruction itself, written out, and by the laws of its bounds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from qbench.quant.saturation import Saturation, layers_of, saturated, saturation

RNG = np.random.default_rng(0)


def slowly(rows, weight):
    """Count as VPMADDUBSW adds: two neighbouring products, one pair after the other."""
    found = 0
    for row in rows.tolist():
        for column in weight.T.tolist():
            products = [a * w for a, w in zip(row, column, strict=True)]
            sums = [sum(products[k : k + 2]) for k in range(0, len(products), 2)]
            found += sum(not -32768 <= each <= 32767 for each in sums)
    return found


def test_by_hand():
    rows = np.array([[255, 255], [255, 0], [200, 60]], np.uint8)
    assert saturated(rows, np.array([[127], [127]], np.int8)) == 2  # 64,770 and 33,020; 32,385 fits
    assert saturated(rows, np.array([[-127], [-127]], np.int8)) == 2
    assert saturated(rows, np.array([[127], [-127]], np.int8)) == 0  # they cancel
    assert saturated(rows, np.array([[64], [64]], np.int8)) == 0  # 255 * 128 = 32,640
    assert saturated(rows, np.array([[65], [64]], np.int8)) == 1  # 255 * 129 = 32,895
    assert saturated(rows, np.array([[-128], [-1]], np.int8)) == 1  # -32,895
    assert saturated(np.full((1, 3), 255, np.uint8), np.full((3, 1), 127, np.int8)) == 1  # the third is alone


@given(st.integers(0, 2**32), st.integers(1, 9))
def test_the_same_as_one_after_the_other(seed, length):
    rng = np.random.default_rng(seed)
    rows = rng.choice([0, 120, 200, 255], (4, length)).astype(np.uint8)
    weight = rng.integers(-128, 128, (length, 3)).astype(np.int8)
    assert saturated(rows, weight) == slowly(rows, weight)


@given(st.integers(0, 2**32))
def test_seven_bits_never_saturate(seed):
    weight = np.random.default_rng(seed).integers(-64, 65, (40, 30)).astype(np.int8)
    assert saturated(np.full((5, 40), 255, np.uint8), weight) == 0


def test_seven_bits_end_just_where_they_must():
    top = np.full((2, 1), 64, np.int8)
    assert 255 * 2 * 64 <= 32767 < 255 * (64 + 65)
    assert saturated(np.full((1, 2), 255, np.uint8), top) == 0
    assert saturated(np.full((1, 2), 255, np.uint8), top + np.array([[0], [1]], np.int8)) == 1


# --- in a graph -------------------------------------------------------------------------------------


def network(kind, weight, zero=0, activation=np.uint8, **attributes):
    scale = numpy_helper.from_array(np.float32(0.1), "scale")
    stored = [
        scale,
        numpy_helper.from_array(np.array(zero, activation), "zero"),
        numpy_helper.from_array(np.array(0, np.int8), "weight_zero"),
        numpy_helper.from_array(weight, "weight"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["codes"]),
        helper.make_node("DequantizeLinear", ["codes", "scale", "zero"], ["restored"]),
        helper.make_node("DequantizeLinear", ["weight", "scale", "weight_zero"], ["w"]),
        helper.make_node(kind, ["restored", "w"], ["y"], **attributes),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "y")]
    return helper.make_model(helper.make_graph(nodes, "layer", values[:1], values[1:], stored))


def counted(codes, *args, **kwargs):
    return saturation(layers_of(network(*args, **kwargs)), {"codes": codes})


def test_a_product_of_matrices_and_its_transpose():
    codes = RNG.integers(0, 256, (30, 12)).astype(np.uint8)
    weight = RNG.integers(-127, 128, (12, 8)).astype(np.int8)
    share = slowly(codes, weight) / (30 * 8 * 6)
    assert 0 < share < 1
    assert counted(codes, "MatMul", weight) == Saturation(share, 1, 1)
    assert counted(codes, "Gemm", np.ascontiguousarray(weight.T), transB=1) == Saturation(share, 1, 1)
    assert counted(codes.reshape(5, 6, 12), "MatMul", weight) == Saturation(share, 1, 1)


def test_what_is_not_understood_is_said():
    found = counted(np.zeros((3, 4), np.uint8), "Gemm", np.zeros((3, 2), np.int8), transA=1)
    assert (found.layers, found.skipped) == (0, 1)
    assert "1 more not looked at" in str(found)


def test_signed_codes_are_lifted_as_the_kernels_do():
    codes = RNG.integers(-128, 128, (30, 12)).astype(np.int8)
    weight = RNG.integers(-127, 128, (12, 8)).astype(np.int8)
    share = slowly((codes.astype(int) + 128).astype(np.uint8), weight) / (30 * 8 * 6)
    assert counted(codes, "MatMul", weight, activation=np.int8).share == pytest.approx(share)


def patches(codes, weight, stride, pad, dilation, zero, group):
    """Gather a convolution's reduction, kernel position by kernel position, channels innermost."""
    codes = np.pad(codes, ((0, 0), (0, 0), (pad, pad), (pad, pad)), constant_values=zero)
    outputs, inputs, kernel, _ = weight.shape
    span = 1 + (kernel - 1) * dilation
    found = total = 0
    for image in codes:
        for top in range(0, image.shape[1] - span + 1, stride):
            for left in range(0, image.shape[2] - span + 1, stride):
                for number in range(group):
                    channels = slice(number * inputs, (number + 1) * inputs)
                    own = weight[number * outputs // group : (number + 1) * outputs // group]
                    row = [
                        image[channels, top + y * dilation, left + x * dilation]
                        for y in range(kernel)
                        for x in range(kernel)
                    ]
                    columns = own.transpose(2, 3, 1, 0).reshape(-1, outputs // group)
                    found += slowly(np.concatenate(row)[None], columns)
                    total += -(-len(columns) // 2) * (outputs // group)
    return found / total


@pytest.mark.parametrize(
    ("stride", "pad", "dilation", "group"), [(1, 0, 1, 1), (2, 1, 1, 1), (1, 2, 2, 1), (1, 1, 1, 2)]
)
def test_a_convolution(stride, pad, dilation, group):
    codes = RNG.integers(0, 256, (2, 6, 7, 6)).astype(np.uint8)
    weight = RNG.integers(-127, 128, (4, 6 // group, 3, 3)).astype(np.int8)
    how = {"strides": [stride] * 2, "pads": [pad] * 4, "dilations": [dilation] * 2, "group": group}
    found = counted(codes, "Conv", weight, zero=200, kernel_shape=[3, 3], **how)
    wanted = patches(codes, weight, stride, pad, dilation, 200, group)
    assert wanted > 0
    assert found.share == pytest.approx(wanted, rel=1e-12)


def test_depthwise_convolutions_widen_before_they_add():
    codes = np.full((1, 4, 5, 5), 255, np.uint8)
    assert counted(codes, "Conv", np.full((4, 1, 3, 3), 127, np.int8), group=4).layers == 0
    assert counted(codes, "Conv", np.full((4, 4, 3, 3), 127, np.int8)).share > 0.9


def test_layers_weigh_by_their_work():
    codes = np.full((4, 2), 255, np.uint8)
    heavy, light = (
        layers_of(network("MatMul", np.full((2, n), v, np.int8)))[0] for n, v in ((9, 1), (1, 127))
    )
    assert saturation([heavy, light], {"codes": codes}) == Saturation(0.1, 1, 2)


def test_more_positions_than_are_looked_at_are_sampled_evenly():
    codes = np.zeros((10_000, 2), np.uint8)
    codes[::2] = 255
    assert counted(codes, "MatMul", np.full((2, 1), 127, np.int8)).share == pytest.approx(0.5, abs=0.03)


def test_sixteen_bit_activations_and_float_layers_are_no_such_layers():
    assert layers_of(network("MatMul", np.zeros((2, 1), np.int8), activation=np.uint16)) == []


def test_a_small_share_is_not_written_as_none():
    assert str(Saturation(1e-9, 1, 3)) == "under 0.001 % of pair sums in 1 of 3 layers"
    assert str(Saturation(0.00031, 3, 21)) == "0.031 % of pair sums in 3 of 21 layers"
    assert str(Saturation(0.0, 0, 21)) == "0.000 % of pair sums in 0 of 21 layers"
