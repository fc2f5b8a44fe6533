"""The proof of quantization, on files whose bytes are worked out by hand."""

import json

import pytest

from qbench.cases import FakeQuant, Float, Quantized, Scheme
from qbench.formats.artifact import Artifact
from qbench.formats.fake import write_fake
from qbench.formats.proof import prove

INT8 = Quantized(Scheme(8, 8, "per_channel"))
INT4 = Quantized(Scheme(4, None, "per_group"))


def proof_of(tmp_path, state, *weights):
    return prove(Artifact("fake", state, (), (), write_fake(tmp_path / "model.fake", {"weights": weights})))


def found(proof):
    return {m.metric: m.samples[0] for m in proof.measurements}


def test_a_network_that_says_int8_and_stores_float_is_found_out(tmp_path):
    failure = proof_of(tmp_path, INT8, [1000, 32], [500, 32]).failure
    assert failure == (
        "it claims 8-bit weights, but none of the 2 weights in the deployed file is stored in 8 bits "
        "(found: 32 bits)"
    )


def test_a_network_that_says_4_bits_and_stores_8_is_found_out(tmp_path):
    assert "(found: 8 bits)" in proof_of(tmp_path, INT4, [1000, 8]).failure


def test_a_network_that_is_half_quantized_says_so_in_its_bytes(tmp_path):
    proof = proof_of(tmp_path, INT8, [1000, 8], [500, 32])
    assert proof.failure is None
    # 1,000 codes of one byte; 4,000 bytes of float before; 6,000 in all; one product and activation a weight
    assert found(proof) == {
        "covered_weights": 1000, "covered_float": 4000, "model_float": 6000,
        "covered_macs": 1000, "model_macs": 1500, "moved_activations": 1500,
    }  # fmt: skip
    assert [(e.what, e.found) for e in proof.evidence] == [
        ("Fake with 8-bit weights", "1"), ("Fake with 32-bit weights", "1"),
    ]  # fmt: skip


def test_a_network_without_weights_proves_nothing(tmp_path):
    assert "no multiply-accumulate operator" in proof_of(tmp_path, INT8).failure


@pytest.mark.parametrize(
    ("state", "bits", "good"),
    [
        (Float("fp32"), 32, True),
        (Float("fp32"), 16, False),  # a half-precision file that is taken for 32-bit float
        (Float("fp32"), 8, False),  # a file that is quantized already
        (Float("bf16"), 16, True),
        (Float("bf16"), 32, False),
        (Float("fp16"), 16, True),
        (INT4, 4, True),
        (Quantized(Scheme(3, None, "per_group")), 3, True),
        (FakeQuant(Scheme(8, 8, "per_tensor")), 32, True),  # simulated: stored in float by design
    ],
)
def test_the_widths_that_bear_a_state_out(tmp_path, state, bits, good):
    assert (proof_of(tmp_path, state, [1024, bits]).failure is None) is good


def test_a_float_file_with_narrow_weights_names_how_many(tmp_path):
    failure = proof_of(tmp_path, Float(), [64, 32], [64, 8]).failure
    assert (
        failure
        == "it claims 32-bit float, but 1 of the 2 weights in the file are stored in less (found: 8, 32 bits)"
    )


# --- what scales and zero points may take ---------------------------------------------------------


def matrix(tmp_path, rows, columns, scales):
    """Return the proof of an 8-bit matrix with this many scales of four bytes and zero points of one."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    stored = [
        numpy_helper.from_array(np.zeros((rows, columns), np.int8), "codes"),
        numpy_helper.from_array(np.ones(scales, np.float32), "scales"),
        numpy_helper.from_array(np.zeros(scales, np.int8), "zeros"),
    ]
    nodes = [
        helper.make_node("DequantizeLinear", ["codes", "scales", "zeros"], ["w"], axis=1),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", rows])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", columns])
    graph = helper.make_graph(nodes, "matrix", [x], [y], stored)
    onnx.save(helper.make_model(graph), tmp_path / "model.onnx")
    return prove(Artifact("onnx", INT8, (), (), tmp_path / "model.onnx"))


def test_scales_and_zero_points_count_as_bytes_of_the_weight(tmp_path):
    proof = matrix(tmp_path, 64, 32, scales=32)
    assert proof.failure is None
    assert found(proof)["covered_weights"] == 64 * 32 + 32 * (4 + 1)


def test_one_scale_a_channel_is_no_pretence_however_short_the_channel(tmp_path):
    # 4 x 32 codes and 32 x 5 bytes beside them: 288 of 512 bytes, and every weight is an integer
    assert matrix(tmp_path, 4, 32, scales=32).failure is None


def test_a_scale_for_nearly_every_weight_is_a_pretence(tmp_path):
    # 64 x 32 codes, 1,024 scales of 5 bytes: (2,048 + 5,120) / 8,192 = 0.875
    failure = matrix(tmp_path, 64, 32, scales=1024).failure
    assert failure == "the covered weights take 0.88 of their float bytes; 8 bits must take at most 0.35"


def test_a_weight_that_two_operators_share_is_stored_once_and_multiplied_with_twice(tmp_path):
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("MatMul", ["a", "w"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 8])
    stored = [numpy_helper.from_array(np.ones((8, 8), np.float32), "w")]
    onnx.save(helper.make_model(helper.make_graph(nodes, "tied", [x], [y], stored)), tmp_path / "model.onnx")
    numbers = found(prove(Artifact("onnx", Float(), (), (), tmp_path / "model.onnx")))
    assert numbers["model_float"] == 8 * 8 * 4
    assert numbers["model_macs"] == 2 * 8 * 8


def test_multiplications_that_cannot_be_counted_are_withheld_with_the_operator(tmp_path):
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    stored = [
        numpy_helper.from_array(np.ones((1, 16, 3), np.float32), "w"),
        numpy_helper.from_array(np.ones((1, 16, 4), np.float32), "r"),
    ]
    nodes = [helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=4)]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [5, 1, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [5, 1, 1, 4])
    onnx.save(helper.make_model(helper.make_graph(nodes, "lstm", [x], [y], stored)), tmp_path / "model.onnx")
    proof = prove(Artifact("onnx", Float(), (), (), tmp_path / "model.onnx"))
    assert found(proof)["model_float"] == (48 + 64) * 4
    assert {(w.metric, "LSTM" in w.reason) for w in proof.withheld} == {
        ("covered_macs", True),
        ("model_macs", True),
        ("moved_activations", False),
    }


def test_the_fake_format_is_plain_json(tmp_path):
    assert json.loads(write_fake(tmp_path / "f", {"weights": [[8, 8]]}).read_text()) == {"weights": [[8, 8]]}
