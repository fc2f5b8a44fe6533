"""Networks built by hand as OpenVINO IRs, their weights and multiply-accumulates worked out by hand."""

import numpy as np
import pytest

from qbench.errors import BadFile
from qbench.quant.ir_graph import ir_weights, rows_of, runtime, save_ir
from qbench.quant.qdq_graph import onnx_weights

ov = runtime()
op = ov.opset13


def ones(*shape, kind=np.float32):
    return op.constant(np.ones(shape, kind))


def weights(folder, output, *inputs):
    return ir_weights(save_ir(ov.Model([output], list(inputs)), folder))


def only(found):
    (weight,) = found
    return weight.operator, weight.elements, weight.bits, weight.stored_bytes, weight.macs


def given(*shape, kind=np.float32):
    return op.parameter(list(shape), kind)


EVEN = {"pads_begin": [0, 0], "pads_end": [0, 0], "dilations": [1, 1]}


def test_a_convolution(tmp_path):
    # 8 x 8 in, 3 x 3, no padding: 6 x 6 out; 4 channels out, each a sum over 6 channels x 9
    x = given(-1, 6, 8, 8)
    y = op.convolution(x, ones(4, 6, 3, 3), strides=[1, 1], **EVEN)
    assert only(weights(tmp_path, y, x)) == ("Convolution", 216, 32, 864, 4 * 36 * 54)


def test_a_grouped_convolution(tmp_path):
    # two groups of 3 channels in and 2 out: every output is a sum over 3 x 9
    x = given(-1, 6, 8, 8)
    y = op.group_convolution(x, ones(2, 2, 3, 3, 3), strides=[1, 1], **EVEN)
    assert only(weights(tmp_path, y, x)) == ("GroupConvolution", 108, 32, 432, 4 * 36 * 27)


def test_a_transposed_convolution_and_one_in_groups(tmp_path):
    # every one of the 6 x 8 x 8 elements is spread over 4 channels x 2 x 2; in two groups over 2 x 2 x 2
    x = given(-1, 6, 8, 8)
    y = op.convolution_backprop_data(x, ones(6, 4, 2, 2), strides=[2, 2])
    assert only(weights(tmp_path, y, x))[-1] == 6 * 64 * 16
    x = given(-1, 6, 8, 8)
    y = op.group_convolution_backprop_data(x, ones(2, 3, 2, 2, 2), strides=[2, 2])
    assert only(weights(tmp_path, y, x))[-1] == 6 * 64 * 8


@pytest.mark.parametrize(("turned", "shape"), [(False, (16, 10)), (True, (10, 16))])
def test_a_matrix_product_either_way_round(tmp_path, turned, shape):
    x = given(-1, 16)
    y = op.matmul(x, ones(*shape), False, turned)
    assert only(weights(tmp_path, y, x)) == ("MatMul", 160, 32, 640, 160)
    assert rows_of(ov.Core().read_model(tmp_path / "model.xml")) == [16]


def test_a_weight_on_the_left(tmp_path):
    x = given(16, 3)
    assert only(weights(tmp_path, op.matmul(ones(10, 16), x, False, False), x))[-1] == 10 * 3 * 16


def test_a_product_of_two_activations_has_no_weight(tmp_path):
    a, b = given(-1, 4, 4), given(-1, 4, 4)
    assert weights(tmp_path, op.matmul(a, b, False, True), a, b) == []


def test_bytes_restored_with_a_zero_point_and_a_scale(tmp_path):
    # 10 rows of 16 codes, each row with a zero point of one byte and a scale of four
    codes = op.convert(ones(10, 16, kind=np.uint8), "f32")
    shifted = op.subtract(codes, op.convert(ones(10, 1, kind=np.uint8), "f32"))
    x = given(-1, 16)
    y = op.matmul(x, op.multiply(shifted, ones(10, 1)), False, True)
    assert only(weights(tmp_path, y, x)) == ("MatMul", 160, 8, 160 + 10 + 40, 160)


def test_four_bits_in_groups(tmp_path):
    # 10 rows of 4 groups of 16 codes, two a byte; a scale of two bytes a group
    codes = op.constant(ov.Tensor(np.zeros(320, np.uint8), [10, 4, 16], ov.Type.u4))
    scaled = op.multiply(op.convert(codes, "f16"), ones(10, 4, 1, kind=np.float16))
    whole = op.convert(op.reshape(scaled, op.constant(np.array([10, 64])), False), "f32")
    x = given(-1, 64)
    found = only(weights(tmp_path, op.matmul(x, whole, False, True), x))
    assert found == ("MatMul", 640, 4, 320 + 80, 640)


def test_a_float_weight_that_is_only_rounded_on_the_way_counts_as_float(tmp_path):
    ends = [ones(1, 1) for _ in range(4)]
    x = given(-1, 16)
    y = op.matmul(x, op.fake_quantize(ones(10, 16), *ends, 256), False, True)
    assert only(weights(tmp_path, y, x)) == ("MatMul", 160, 32, 640 + 4 * 4, 160)


def test_a_weight_joined_from_three(tmp_path):
    x = given(-1, 16)
    y = op.matmul(x, op.concat([ones(16, 4) for _ in range(3)], 1), False, False)
    assert only(weights(tmp_path, y, x)) == ("MatMul", 192, 32, 768, 192)


def test_a_table_is_looked_up_and_not_multiplied(tmp_path):
    ids = given(-1, 4, kind=np.int64)
    (table,) = weights(tmp_path, op.gather(ones(100, 8), ids, op.constant(0)), ids)
    assert (table.operator, table.macs, table.multiplied, table.float_bytes) == ("Gather", 0, False, 3200)


def test_weights_cannot_hide_behind_an_operator_that_is_not_known(tmp_path):
    x = given(-1, 8)
    (weight,) = weights(tmp_path, op.einsum([x, ones(8, 8)], "ij,jk->ik"), x)
    assert (weight.operator, weight.macs, weight.float_bytes) == ("Einsum", None, 256)


def test_weights_cannot_hide_in_a_branch(tmp_path):
    x, flag = given(-1, 8), given(kind=bool)
    bodies = []
    for weight in (ones(8, 8), ones(8, 8, kind=np.float32)):
        inner = given(-1, 8)
        bodies.append((inner, ov.Model([op.matmul(inner, weight, False, False)], [inner])))
    branch = op.if_op(flag.output(0))
    branch.set_then_body(bodies[0][1])
    branch.set_else_body(bodies[1][1])
    branch.set_input(x.output(0), bodies[0][0], bodies[1][0])
    y = branch.set_output(bodies[0][1].get_results()[0], bodies[1][1].get_results()[0])
    found = weights(tmp_path, y, x, flag)
    assert [(w.operator, w.elements, w.multiplied) for w in found] == [("MatMul", 64, True)] * 2


@pytest.mark.parametrize("body", ["network"])
def test_a_converted_network_holds_what_it_held_as_onnx(body, in_format):
    def told(found):
        return sorted((w.elements, w.bits, w.stored_bytes, w.macs, w.channels, w.multiplied) for w in found)

    before, after = in_format("onnx", body).path, in_format("openvino", body).path
    assert told(ir_weights(after)) == told(onnx_weights(before))


def test_what_is_no_ir_is_named(tmp_path, in_format):
    with pytest.raises(BadFile, match="model.xml is no OpenVINO IR"):
        ir_weights(tmp_path / "model.xml")
    (tmp_path / "model.xml").write_text("<net>")
    with pytest.raises(BadFile, match="model.xml is no OpenVINO IR"):
        ir_weights(tmp_path / "model.xml")
    (tmp_path / "model.xml").write_bytes(in_format("openvino").path.read_bytes())  # without its model.bin
    with pytest.raises(BadFile, match="model.xml is no OpenVINO IR"):
        ir_weights(tmp_path / "model.xml")
