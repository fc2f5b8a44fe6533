"""Graphs built by hand, their weights and multiply-accumulates worked out by hand."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qbench.errors import BadFile
from qbench.quant.qdq_graph import onnx_weights

OPSETS = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]


def weights(tmp_path, nodes, inputs, outputs, **stored):
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in stored.items()]
    graph = helper.make_graph(nodes, "by hand", values(inputs), values(outputs), tensors)
    onnx.save(helper.make_model(graph, opset_imports=OPSETS, ir_version=10), tmp_path / "model.onnx")
    return onnx_weights(tmp_path / "model.onnx")


def values(shapes):
    return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]


def only(found):
    (weight,) = found
    return weight.operator, weight.elements, weight.bits, weight.stored_bytes, weight.macs


def ones(*shape, kind=np.float32):
    return np.ones(shape, kind)


node = helper.make_node


def test_a_grouped_convolution(tmp_path):
    # 8 x 8 in, no padding, 3 x 3: 6 x 6 out; 4 channels out, each a sum over 6 / 2 channels x 9
    found = weights(
        tmp_path, [node("Conv", ["x", "w", "b"], ["y"], group=2)],
        {"x": ["n", 6, 8, 8]}, {"y": ["n", 4, 6, 6]}, w=ones(4, 3, 3, 3), b=ones(4),
    )  # fmt: skip
    assert only(found) == ("Conv", 108, 32, 432, 4 * 36 * 27)


def test_a_transposed_convolution(tmp_path):
    # every one of the 6 x 8 x 8 input elements is spread over 4 channels x 2 x 2
    found = weights(
        tmp_path, [node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2])],
        {"x": ["n", 6, 8, 8]}, {"y": ["n", 4, 16, 16]}, w=ones(6, 4, 2, 2),
    )  # fmt: skip
    assert only(found) == ("ConvTranspose", 96, 32, 384, 6 * 64 * 16)


@pytest.mark.parametrize(("turned", "shape"), [(0, (16, 10)), (1, (10, 16))])
def test_a_gemm_either_way_round(tmp_path, turned, shape):
    nodes = [node("Gemm", ["x", "w"], ["y"], transB=turned)]
    found = weights(tmp_path, nodes, {"x": ["n", 16]}, {"y": ["n", 10]}, w=ones(*shape))
    assert only(found) == ("Gemm", 160, 32, 640, 160)


def test_a_weight_on_the_left(tmp_path):
    found = weights(
        tmp_path, [node("MatMul", ["w", "x"], ["y"])], {"x": [16, 3]}, {"y": [10, 3]}, w=ones(10, 16)
    )
    assert only(found) == ("MatMul", 160, 32, 640, 10 * 3 * 16)


def test_a_stack_of_matrices(tmp_path):
    nodes = [node("MatMul", ["x", "w"], ["y"])]
    found = weights(tmp_path, nodes, {"x": ["n", 5, 7, 16]}, {"y": ["n", 5, 7, 10]}, w=ones(5, 16, 10))
    assert only(found) == ("MatMul", 800, 32, 3200, 5 * 7 * 10 * 16)


def test_a_product_of_two_activations_has_no_weight(tmp_path):
    nodes = [node("Transpose", ["x"], ["t"]), node("MatMul", ["x", "t"], ["y"])]
    assert weights(tmp_path, nodes, {"x": [4, 4]}, {"y": [4, 4]}) == []


def test_codes_behind_a_dequantize_and_a_transpose(tmp_path):
    # stored (10, 16) with a scale and zero point a row; the product sums over 16
    nodes = [
        node("DequantizeLinear", ["codes", "scale", "zero"], ["d"], axis=0),
        node("Transpose", ["d"], ["w"], perm=[1, 0]),
        node("MatMul", ["x", "w"], ["y"]),
    ]
    stored = {"codes": ones(10, 16, kind=np.int8), "scale": ones(10), "zero": ones(10, kind=np.int8)}
    found = weights(tmp_path, nodes, {"x": ["n", 16]}, {"y": ["n", 10]}, **stored)
    assert only(found) == ("MatMul", 160, 8, 160 + 40 + 10, 160)


def test_a_float_weight_that_is_only_rounded_on_the_way_counts_as_float(tmp_path):
    nodes = [
        node("QuantizeLinear", ["w", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        node("MatMul", ["x", "d"], ["y"]),
    ]
    stored = {"w": ones(16, 10), "s": ones(), "z": ones(kind=np.int8)}
    found = weights(tmp_path, nodes, {"x": ["n", 16]}, {"y": ["n", 10]}, **stored)
    assert only(found) == ("MatMul", 160, 32, 640 + 4 + 1, 160)


def test_a_weight_in_a_constant_node(tmp_path):
    nodes = [
        node("Constant", [], ["w"], value=numpy_helper.from_array(ones(16, 10), "some other name")),
        node("MatMul", ["x", "w"], ["y"]),
    ]
    (weight,) = weights(tmp_path, nodes, {"x": ["n", 16]}, {"y": ["n", 10]})
    assert (weight.name, weight.elements, weight.bits) == ("w", 160, 32)


def test_codes_that_are_restored_by_hand(tmp_path):
    nodes = [
        node("Cast", ["codes"], ["f"], to=TensorProto.FLOAT),
        node("Mul", ["f", "scale"], ["w"]),
        node("MatMul", ["x", "w"], ["y"]),
    ]
    stored = {"codes": ones(16, 10, kind=np.int8), "scale": ones(10)}
    assert only(weights(tmp_path, nodes, {"x": ["n", 16]}, {"y": ["n", 10]}, **stored)) == (
        "MatMul", 160, 8, 160 + 40, 160,
    )  # fmt: skip


def test_a_weight_joined_from_three(tmp_path):
    nodes = [node("Concat", ["q", "k", "v"], ["w"], axis=1), node("MatMul", ["x", "w"], ["y"])]
    stored = {name: ones(16, 4) for name in "qkv"}
    found = weights(tmp_path, nodes, {"x": ["n", 16]}, {"y": ["n", 12]}, **stored)
    assert only(found) == ("MatMul", 192, 32, 768, 192)


def test_four_bits_two_codes_a_byte(tmp_path):
    # 64 columns in blocks of 32: 16 bytes a block, one scale a block; 10 rows
    nodes = [
        node("MatMulNBits", ["x", "w", "s"], ["y"], domain="com.microsoft", K=64, N=10, bits=4, block_size=32)
    ]
    stored = {"w": ones(10, 2, 16, kind=np.uint8), "s": ones(20)}
    found = weights(tmp_path, nodes, {"x": ["n", 64]}, {"y": ["n", 10]}, **stored)
    assert only(found) == ("MatMulNBits", 640, 4, 320 + 80, 640)


def test_integer_operators_with_their_zero_points(tmp_path):
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        node("MatMulInteger", ["q", "w", "z", "wz"], ["i"]),
        node("Cast", ["i"], ["y"], to=TensorProto.FLOAT),
    ]
    stored = {"w": ones(16, 10, kind=np.int8), "wz": ones(kind=np.int8)}
    found = weights(tmp_path, nodes, {"x": ["n", 16]}, {"y": ["n", 10]}, **stored)
    assert only(found) == ("MatMulInteger", 160, 8, 161, 160)


def test_bfloat16_behind_a_cast(tmp_path):
    codes = helper.make_tensor("w16", TensorProto.BFLOAT16, [16, 10], b"\0" * 320, raw=True)
    nodes = [node("Cast", ["w16"], ["w"], to=TensorProto.FLOAT), node("MatMul", ["x", "w"], ["y"])]
    graph = helper.make_graph(nodes, "bf16", values({"x": ["n", 16]}), values({"y": ["n", 10]}), [codes])
    onnx.save(helper.make_model(graph), tmp_path / "model.onnx")
    assert only(onnx_weights(tmp_path / "model.onnx")) == ("MatMul", 160, 16, 320, 160)


def test_a_weight_inside_a_branch(tmp_path):
    then = helper.make_graph([node("MatMul", ["x", "w"], ["a"])], "then", [], values({"a": None}))
    other = helper.make_graph([node("Identity", ["w2"], ["b"])], "else", [], values({"b": None}))
    nodes = [node("If", ["flag"], ["y"], then_branch=then, else_branch=other)]
    stored = {"w": ones(16, 10), "w2": ones(1, 10), "flag": np.array(True)}
    (weight,) = weights(tmp_path, nodes, {"x": ["n", 16]}, {"y": None}, **stored)
    assert (weight.name, weight.elements, weight.macs) == ("w", 160, 160)  # of an inference that takes it


def test_a_weight_inside_a_loop_is_multiplied_who_knows_how_often(tmp_path):
    number, flag = (helper.make_tensor_value_info(name, kind, []) for name, kind in (("i", 7), ("go", 9)))
    body = helper.make_graph(
        [node("MatMul", ["x", "w"], ["a"]), node("Identity", ["go"], ["on"])],
        "body",
        [number, flag],
        [helper.make_tensor_value_info("on", 9, []), *values({"a": ["n", 10]})],
    )
    nodes = [node("Loop", ["times", ""], ["y"], body=body)]
    stored = {"w": ones(16, 10), "times": np.array(3)}
    (weight,) = weights(tmp_path, nodes, {"x": ["n", 16]}, {"y": None}, **stored)
    assert (weight.name, weight.macs) == ("w", None)


@pytest.mark.parametrize("free", ["n", 0, -1, None])
def test_a_free_batch_is_one_however_it_is_written(tmp_path, free):
    found = weights(
        tmp_path, [node("MatMul", ["x", "w"], ["y"])], {"x": [free, 16]}, {"y": [free, 10]}, w=ones(16, 10)
    )
    assert only(found)[-1] == 160


def test_work_of_a_second_free_axis_is_counted_at_the_samples_size_or_not_at_all(tmp_path):
    path = tmp_path / "model.onnx"
    (untold,) = weights(
        tmp_path, [node("MatMul", ["x", "w"], ["y"])], {"x": ["n", "time", 16]}, {"y": None}, w=ones(16, 10)
    )
    assert untold.macs is None
    assert untold.moved is None
    (told,) = onnx_weights(path, {"x": (1, 7, 16)})
    assert (told.macs, told.moved) == (7 * 160, 7 * 16 + 7 * 10)


@pytest.mark.parametrize("content", [b"", b"no model", None])
def test_what_is_no_onnx_file_is_named(tmp_path, content):
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    if content == b"":
        assert onnx_weights(path) == []  # an empty file is an empty message, says protobuf
    else:
        with pytest.raises(BadFile, match="model.onnx is no ONNX model"):
            onnx_weights(path)


def test_weights_cannot_hide_in_functions_of_the_files_own_or_behind_unknown_operators(tmp_path):
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    hidden = helper.make_function(
        "mine", "Hidden", ["a", "b"], ["c"], [helper.make_node("MatMul", ["a", "b"], ["c"])],
        [helper.make_opsetid("", 18)],
    )  # fmt: skip
    stored = [
        numpy_helper.from_array(np.ones((8, 8), "f4"), name) for name in ("in_function", "in_einsum", "spare")
    ]
    nodes = [
        helper.make_node("Hidden", ["x", "in_function"], ["y"], domain="mine"),
        helper.make_node("Einsum", ["y", "in_einsum"], ["z"], equation="ij,jk->ik"),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", TensorProto.FLOAT, ["n", 8])],
        [value("z", TensorProto.FLOAT, ["n", 8])],
        stored,
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("mine", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, functions=[hidden]), tmp_path / "m.onnx")
    found = {w.operator: w for w in onnx_weights(tmp_path / "m.onnx")}
    assert found.keys() == {"MatMul", "Einsum"}  # what nothing uses is no weight of the network
    assert (found["MatMul"].macs, found["MatMul"].multiplied) == (64, True)
    assert (found["Einsum"].macs, found["Einsum"].float_bytes) == (None, 256)  # counted, its work unknown
