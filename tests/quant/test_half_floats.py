"""Sixteen-bit floats: what they store, what they answer, and what does not fit them."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from qbench.errors import DoesNotFit
from qbench.quant.half_floats import LARGEST, fits_or_raise, half_module, half_onnx

KINDS = ["bf16", "fp16"]
ROUNDING = {"bf16": 2.0**-8, "fp16": 2.0**-11}  # half a unit of the last place, relative
X = np.random.default_rng(0).standard_normal((5, 6)).astype("f4")


def file(path, weight, beside=()):
    w, b = np.asarray(weight, "f4"), np.ones(weight.shape[1], "f4")
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", s]) for n, s in (("x", 6), ("y", 4))]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Add", ["m", "b"], ["y"])]
    stored = [numpy_helper.from_array(array, name) for name, array in (("w", w), ("b", b), *beside)]
    graph = helper.make_graph(nodes, "product", values[:1], values[1:], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]), path)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_stores_what_the_format_rounds_to(kind, tmp_path):
    weight = np.random.default_rng(1).standard_normal((6, 4)).astype("f4")
    source = file(tmp_path / "float.onnx", weight)
    half_onnx(source, tmp_path / "half.onnx", kind)
    model = onnx.load(tmp_path / "half.onnx")
    onnx.checker.check_model(model)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    wanted = {"bf16": TensorProto.BFLOAT16, "fp16": TensorProto.FLOAT16}[kind]
    assert [stored[f"w_{kind}"].data_type, stored[f"b_{kind}"].data_type] == [wanted, wanted]
    kept = numpy_helper.to_array(stored[f"w_{kind}"]).astype("f4")
    np.testing.assert_array_less(np.abs(kept - weight), ROUNDING[kind] * np.abs(weight) * 1.0001)
    assert (kept != weight).any()
    answer = ReferenceEvaluator(model).run(None, {"x": X})[0]
    np.testing.assert_allclose(answer, X @ kept + 1, atol=1e-5)


@pytest.mark.parametrize("size", [65504.0, -65504.0])
def test_the_largest_half_fits(size, tmp_path):
    weight = np.zeros((6, 4), "f4")
    weight[2, 1] = size
    half_onnx(file(tmp_path / "float.onnx", weight), tmp_path / "half.onnx", "fp16")
    stored = onnx.load(tmp_path / "half.onnx").graph.initializer
    assert numpy_helper.to_array(stored[0])[2, 1] == size


@pytest.mark.parametrize("size", [65505.0, -1e6])
def test_a_weight_beyond_the_largest_half_is_refused_by_its_name(size, tmp_path):
    weight = np.zeros((6, 4), "f4")
    weight[2, 1] = size
    source = file(tmp_path / "float.onnx", weight)
    with pytest.raises(DoesNotFit, match=r"fp16 ends at 65504, and tensor 'w' .*(.|\n)*fix: use bf16"):
        half_onnx(source, tmp_path / "half.onnx", "fp16")
    assert not (tmp_path / "half.onnx").exists()
    half_onnx(source, tmp_path / "half.onnx", "bf16")  # which has the range


def test_a_module_is_refused_too_by_a_weight_or_by_what_it_keeps():
    import torch

    network = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3)).eval()
    half_module(network, "fp16")
    network[1].running_var[1] = 1e5
    with pytest.raises(DoesNotFit, match=r"tensor '1.running_var' of this network holds 100000"):
        half_module(network, "fp16")
    half_module(network, "bf16")


@pytest.mark.parametrize("kind", KINDS)
def test_a_module_computes_in_sixteen_bits_and_answers_in_float(kind):
    import torch

    torch.manual_seed(0)
    network = torch.nn.Linear(6, 4).eval()
    halved = half_module(network, kind)
    assert {weight.dtype.itemsize for weight in halved.parameters()} == {2}
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}
    with torch.no_grad():
        before, after = network(torch.from_numpy(X)), halved(torch.from_numpy(X))
    assert after.dtype == torch.float32
    assert 0 < (after - before).abs().max() < 40 * ROUNDING[kind]


def test_infinities_of_the_network_itself_are_not_ours_to_refuse():
    fits_or_raise([("mask", np.array([-np.inf, 0], "f4"))], "fp16")
    with pytest.raises(DoesNotFit):
        fits_or_raise([("mask", np.array([-np.inf, 1e5], "f4"))], "fp16")


@pytest.mark.parametrize("kind", KINDS)
def test_the_limit_is_the_formats_own(kind):
    import torch

    assert LARGEST[kind] == torch.finfo({"bf16": torch.bfloat16, "fp16": torch.float16}[kind]).max
