"""Weights of four bits behind a Cast, on the engines: integer kernels, and the answers of the same in eight.

docs/decisions/016 says so of both.
"""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from small_networks import convolutions, products, ready, said, some

from qbench.backends.base import BACKENDS, Placement
from qbench.cases import Quantized, Scheme
from qbench.formats.artifact import Artifact, TensorSpec
from qbench.quant.affine import WeightGrid
from qbench.quant.recipe import Recipe

NETWORKS = {
    "convolutions": (convolutions, some(64, 3, 6, 6), 3),
    "products": (lambda: products(wide=32, deep=3), some(64, 32), 3),
}


@pytest.fixture(params=list(NETWORKS))
def files(request):
    """Return a network with weights of four bits, one with the same integers in eight, inputs, its layers."""
    build, x, layers = NETWORKS[request.param]
    four = ready(build(), x).ptq.quantized(Recipe(WeightGrid(4, observer="mse"))).model
    return four, in_eight(four), x, layers


def in_eight(model):
    """Return the file with the same integers, stored in eight bits and met by no Cast."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    packed = {t.name: t for t in wide.graph.initializer if t.data_type == TensorProto.INT4}
    for cast in [node for node in wide.graph.node if node.op_type == "Cast" and node.input[0] in packed]:
        codes = numpy_helper.to_array(packed[cast.input[0]]).astype(np.int8)
        wide.graph.initializer.append(numpy_helper.from_array(codes, cast.output[0]))
        wide.graph.node.remove(cast)
    for tensor in packed.values():
        wide.graph.initializer.remove(tensor)
    return wide


def on(engine, model, bits, folder, x):
    """Return an engine's answers, and its proof of kernels."""
    path = folder / f"{engine}-{bits}.onnx"
    onnx.save(model, path)
    given, made = ((TensorSpec(name, "float32", (None,)),) for name in ("x", "y"))
    artifact = Artifact("onnx", Quantized(Scheme(bits, 8, "per_channel")), given, made, path)
    session = BACKENDS[engine]().load(artifact, Placement())
    return session.run({"x": x})[0], session.prove({"x": x[:1]})


def kinds(model):
    return {tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) > 1}


def test_the_two_files_hold_the_same_in_four_bits_and_in_eight(files):
    four, eight, x, layers = files
    assert (kinds(four), kinds(eight)) == ({TensorProto.INT4}, {TensorProto.INT8})
    assert sum(node.op_type == "Cast" for node in four.graph.node) == layers
    assert not any(node.op_type == "Cast" for node in eight.graph.node)
    np.testing.assert_array_equal(said(four, x), said(eight, x))  # as written, in float


def test_onnxruntime_answers_the_same_to_the_last_bit(files, tmp_path):
    four, eight, x, layers = files
    own, proof = on("onnxruntime", four, 4, tmp_path, x)
    wide, _ = on("onnxruntime", eight, 8, tmp_path, x)
    assert (proof.low_bit, proof.other) == (layers, 0)
    assert own.tobytes() == wide.tobytes()


def test_openvino_multiplies_them_in_integer_kernels_and_answers_as_with_eight(files, tmp_path):
    four, eight, x, layers = files
    own, proof = on("openvino", four, 4, tmp_path, x)
    wide, as_eight = on("openvino", eight, 8, tmp_path, x)
    assert (proof.low_bit, proof.other) == (as_eight.low_bit, as_eight.other) == (layers, 0)
    assert [(line.what, line.found) for line in proof.evidence] == [
        (line.what, line.found) for line in as_eight.evidence
    ]
    np.testing.assert_allclose(own, wide, rtol=0, atol=1e-3 * np.ptp(wide))
    assert np.abs(own - said(four, x)).max() < 0.05 * np.ptp(own)  # and both are the file's answers
