from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qbench.backends.base import BACKENDS, Placement
from qbench.cases import FakeQuant, Float, Quantized, Scheme
from qbench.formats.edges import EDGES, export, named, onnx_files, onnx_signature

INT8 = Scheme(8, 8, "per_channel")
STATES = [Float(), Float("bf16"), Float("fp16"), FakeQuant(INT8), Quantized(INT8)]


@pytest.mark.parametrize(
    ("edge", "survive"),
    [
        ("export", [Float(), Float("bf16"), Float("fp16"), Quantized(INT8)]),
        ("to_onnx", [Float()]),
        ("to_openvino", [Float()]),
    ],
)
def test_which_states_survive_which_conversion(edge, survive):
    assert [state for state in STATES if named(edge).survives(state)] == survive


@pytest.mark.parametrize("edge", EDGES, ids=lambda edge: edge.name)
def test_a_conversion_keeps_what_the_network_is(edge, in_format, tmp_path):
    before = in_format(edge.takes)
    after = edge.convert(before, tmp_path)
    assert after.format == edge.gives
    assert after.path.parent == tmp_path
    assert after == replace(before, format=edge.gives, path=after.path, module=None)


def test_an_ir_keeps_every_weight_as_wide_as_it_was(in_format):
    from qbench.quant.ir_graph import ir_weights

    path = in_format("openvino").path
    assert sorted(file.name for file in path.parent.iterdir()) == ["model.bin", "model.xml"]
    assert {weight.bits for weight in ir_weights(path)} == {32}


def test_an_onnx_file_tells_its_signature(in_format):
    artifact = in_format("onnx")
    told, own = onnx_signature(artifact.path), (artifact.inputs, artifact.outputs)
    for found, wanted in zip(told, own, strict=True):
        assert [replace(spec, axes=()) for spec in found] == list(wanted)


def test_a_network_of_several_inputs_keeps_their_order(tmp_path):
    import torch

    from qbench.formats.artifact import Artifact, TensorSpec

    class Two(torch.nn.Module):
        def forward(self, b, a):
            return b - 2 * a, a

    specs = tuple(TensorSpec(name, "float32", (None, 3)) for name in ("b", "a"))
    outputs = tuple(TensorSpec(name, "float32", (None, 3)) for name in ("difference", "second"))
    live = Artifact("torch", Float(), specs, outputs, module=Two())
    inputs = {"a": np.full((5, 3), 10, np.float32), "b": np.full((5, 3), 1, np.float32)}
    exported = export(live, tmp_path)
    for artifact, name in (
        (exported, "torch_eager"),
        (named("to_onnx").convert(exported, tmp_path), "onnxruntime"),
    ):
        answers = BACKENDS[name]().load(artifact, Placement()).run(inputs)
        assert [answer[0, 0] for answer in answers] == [-19, 10]


# --- files that others wrote ----------------------------------------------------------------------


def a_file(path, shape, **how):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [shape[0], 64])
    stored = [numpy_helper.from_array(np.ones((64, 64), np.float32), "w")]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], stored)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph), path, **how)
    return path


@pytest.mark.parametrize(("written", "meant"), [("n", None), (0, None), (-1, None), (4, 4), (None, None)])
def test_a_free_dimension_is_known_however_it_is_written(tmp_path, written, meant):
    inputs, _ = onnx_signature(a_file(tmp_path / "model.onnx", [written, 64]))
    assert inputs[0].shape == (meant, 64)


def test_a_file_alone_is_one_file_and_its_neighbours_are_not_its(tmp_path):
    path = a_file(tmp_path / "model[1].onnx", ["n", 64])
    (tmp_path / "model[1].onnx.backup").write_text("")
    assert onnx_files(path) == [path]


def test_external_data_belongs_to_the_file_whatever_it_is_called(tmp_path):
    how = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    path = a_file(tmp_path / "model.onnx", ["n", 64], **how)
    assert onnx_files(path) == [path, Path(tmp_path / "weights.bin")]


def test_an_exported_file_tells_nothing_of_the_machine_that_made_it(in_format):
    """The exporter notes a stack trace with every node: files and folders of whoever exported."""
    import onnx

    path = in_format("onnx").path
    model = onnx.load(path)
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    content = path.read_bytes()
    for told in (b"site-packages", b".py", b"stack_trace"):
        assert told not in content
