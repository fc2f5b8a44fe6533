"""Products of the published cases, quantized: the file answers nearly what is published, or is refused."""

import numpy as np
import onnx
import pytest
from cases import published, stored
from readers import run

from qbench.cases import Float
from qbench.errors import DoesNotFit
from qbench.formats.artifact import Artifact
from qbench.formats.edges import onnx_signature
from qbench.strategies.base import STRATEGIES, Calibration

# technique -> by how many dB its answers must meet the published ones; every network is one small product
LEAST_DB = {"static_int8": 40.0, "dynamic_int8": 25.0, "number_format": 10.0, "fp16": 50.0, "bf16": 30.0}
COVERED = {
    "static_int8": {"Conv", "ConvTranspose", "Gemm", "MatMul"},
    "dynamic_int8": {"Gemm", "LSTM", "MatMul"},
    "number_format": {"Conv", "ConvTranspose", "Gemm", "MatMul"},
    "fp16": {"Conv", "ConvTranspose", "Gemm", "GRU", "LSTM", "MatMul", "RNN"},
    "bf16": {"Conv", "ConvTranspose", "Gemm", "GRU", "LSTM", "MatMul", "RNN"},
}
# A Gemm that turns its data stays in float; onnxruntime has no recurrent layers with the batch first.
BESIDE = {"gemm_all_attributes", "gemm_transposeA", "lstm_batchwise", "gru_batchwise", "simple_rnn_batchwise"}
ONE_SCALE = ("matmul_1d_3d",)  # one sum of four numbers that nearly cancel, in a stack that has one scale
PRODUCTS = [
    node
    for node in published()
    if len(node.model.graph.node) == 1
    and node.operators <= {*COVERED["fp16"], "DeformConv", "Einsum"}
    and all(array.dtype == "f4" for array in list(node.given.values())[:2])
    and node.model.ir_version < 14  # the newest that onnxruntime 1.31 reads is 13
]


@pytest.fixture(params=sorted(LEAST_DB))
def technique(request):
    return request.param


def test_a_product_is_quantized_or_refused(technique, tmp_path):
    found = {node.name: quality_db(node, technique, tmp_path / node.name) for node in PRODUCTS}
    covered = {node.name for node in PRODUCTS if node.operators <= COVERED[technique]} - BESIDE
    assert covered - set(found) == set()
    least = dict.fromkeys(found, LEAST_DB[technique]) | (
        dict.fromkeys(ONE_SCALE, 25.0) if technique == "static_int8" else {}
    )
    assert {name: db for name, db in found.items() if db is not None and db < least[name]} == {}
    assert {name for name in covered if found[name] is None} == set()
    assert len(covered) > 20


def quality_db(node, technique, folder):
    """The lowest SQNR of an output in dB; None where the technique says by name that it does not fit."""
    folder.mkdir()
    path = folder / "model.onnx"
    onnx.save(stored(node), path)
    inputs, outputs = onnx_signature(path)
    given = node.given[inputs[0].name]
    source = Artifact("onnx", Float(), inputs, outputs, path)
    (folder / "made").mkdir()
    calibration = Calibration("the published input", {inputs[0].name: given}, fixed_batch=len(given))
    try:
        made = STRATEGIES[technique]().apply(source, calibration, folder / "made")
        answers = run(onnx.load(made.path), node)
    except DoesNotFit:
        return None
    return min(sqnr_db(right, found) for right, found in zip(node.answers.values(), answers, strict=True))


def sqnr_db(right, found):
    noise = np.square(right.astype("f8") - found).sum()
    return 10 * np.log10(np.square(right.astype("f8")).sum() / max(noise, 1e-30))
