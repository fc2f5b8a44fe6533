"""ONNX files as users have them, through preparation and on both engines: what qbench makes of each."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qbench.backends.base import BACKENDS, Placement
from qbench.cases import ArtifactSpec, Choice, DataSpec, Float, Hop, Step, key
from qbench.errors import DoesNotFit
from qbench.formats import cache
from qbench.formats.artifact import file_size_bytes, load
from qbench.models.file import OnnxFile
from qbench.records import Measured, find
from qbench.run.protocol import StepRequest, Trace
from qbench.run.steps.prepare import prepare
from qbench.strategies.base import STRATEGIES
from qbench.tasks.base import Examples, store

RNG = np.random.default_rng(0)
W = RNG.standard_normal((16, 32)).astype("f4")
node = helper.make_node


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("QBENCH_CACHE", str(tmp_path / "cache"))


def written(path, nodes, stored, inputs=None, outputs=None, opset=18, ir=10, **how):
    def values(shapes):
        return [helper.make_tensor_value_info(n, kind, shape) for n, (kind, shape) in shapes.items()]

    inputs = inputs or {"x": (TensorProto.FLOAT, ["n", 16])}
    outputs = outputs or {"y": (TensorProto.FLOAT, ["n", 32])}
    tensors = [numpy_helper.from_array(array, name) for name, array in stored.items()]
    graph = helper.make_graph(nodes, "a user's", values(inputs), values(outputs), tensors)
    opsets = [helper.make_opsetid("", opset)]
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=ir), path, **how)
    return path


PRODUCT = [node("MatMul", ["x", "w"], ["y"])]
FLOATS = {"x": (TensorProto.FLOAT, ["n", 16])}


def plain(path):
    return written(path, PRODUCT, {"w": W})


def constant_node(path):
    return written(path, [node("Constant", [], ["w"], value=numpy_helper.from_array(W, "")), *PRODUCT], {})


def transposed(path):
    turned = node("Transpose", ["before"], ["w"])
    return written(path, [turned, *PRODUCT], {"before": np.ascontiguousarray(W.T)})


def split_in_two(path):
    nodes = [
        node("Split", ["both"], ["w", "w2"], axis=0, num_outputs=2),
        *PRODUCT,
        node("MatMul", ["y", "turned"], ["z"]),
        node("Identity", ["w2"], ["unused"]),
    ]
    stored = {"both": np.vstack([W, W]), "turned": np.ascontiguousarray(W.T)}
    outputs = {"z": (TensorProto.FLOAT, ["n", 16]), "w2": (TensorProto.FLOAT, [16, 32])}
    return written(path, nodes, stored, outputs=outputs)


def stored_is_an_input_too(path):
    return written(path, PRODUCT, {"w": W}, {"w": (TensorProto.FLOAT, [16, 32]), **FLOATS}, opset=13, ir=3)


def operator_set_9(path):
    return written(path, PRODUCT, {"w": W}, opset=9, ir=4)


def fixed_batch(path):
    shapes = {"x": (TensorProto.FLOAT, [4, 16])}, {"y": (TensorProto.FLOAT, [4, 32])}
    return written(path, PRODUCT, {"w": W}, *shapes)


def external_data(path):
    return written(
        path, PRODUCT, {"w": W}, save_as_external_data=True, location="weights.bin", size_threshold=0
    )


def brackets_in_the_name(path):
    return plain(path.with_name("model [1].onnx"))


def called_like_our_notes(path):
    return plain(path.with_name("artifact.onnx"))


def integer_inputs(path):
    nodes = [node("Gather", ["table", "i"], ["e"]), node("Squeeze", ["e", "axis"], ["x"]), *PRODUCT]
    stored = {"w": W, "table": RNG.standard_normal((9, 16)).astype("f4"), "axis": np.array([1])}
    return written(path, nodes, stored, {"i": (TensorProto.INT64, ["n", 1])})


def several_inputs_one_unused(path):
    inputs = {"unused": (TensorProto.FLOAT, ["n", 2]), **FLOATS}
    return written(path, PRODUCT, {"w": W}, inputs)


def slash_in_the_name(path):
    inputs = {"serving/x:0": (TensorProto.FLOAT, ["n", 16])}
    return written(path, [node("MatMul", ["serving/x:0", "w"], ["y"])], {"w": W}, inputs)


def class_before_scores(path):
    outputs = {"class": (TensorProto.INT64, ["n", 1]), "y": (TensorProto.FLOAT, ["n", 32])}
    return written(path, [*PRODUCT, node("ArgMax", ["y"], ["class"], axis=1)], {"w": W}, outputs=outputs)


def stale_shapes(path):
    model = onnx.load(
        written(path, [node("Gemm", ["x", "w"], ["y"], transB=1)], {"w": np.ascontiguousarray(W.T)})
    )
    model.graph.value_info.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [32, 16]))
    onnx.save(model, path)
    return path


FILES = [
    plain, constant_node, transposed, split_in_two, stored_is_an_input_too, operator_set_9, fixed_batch,
    external_data, brackets_in_the_name, called_like_our_notes, integer_inputs, several_inputs_one_unused,
    slash_in_the_name, class_before_scores, stale_shapes,
]  # fmt: skip


def prepared(path, technique=None, count=10, format="onnx", params=()):
    model = OnnxFile(str(path))
    shapes = {spec.name: ([count, *spec.shape[1:]], spec.dtype) for spec in model.load().inputs}
    inputs = {
        name: (RNG.integers(0, 9, shape) if kind == "int64" else RNG.standard_normal(shape)).astype(kind)
        for name, (shape, kind) in shapes.items()
    }
    store(Examples("samples", inputs, None))
    calibration = DataSpec(Choice("agreement"), "calibration", count)
    way = [Hop("source", Choice(str(path)), "onnx", Float(), model.content())]
    if format == "openvino":
        way.append(Hop("edge", Choice("to_openvino"), format, Float(), ""))
    if technique:
        state = STRATEGIES[technique](**dict(params)).state(Float())
        way.append(Hop("technique", Choice(technique, params), format, state, "", calibration))
    spec = ArtifactSpec(Choice(str(path)), tuple(way))
    trace = Trace()
    outcome = prepare(StepRequest(Step("prepare", spec), ((key(calibration), "samples"),)), trace)
    return outcome, load(cache.folder_of(spec)), inputs


@pytest.mark.parametrize("make", FILES, ids=lambda make: make.__name__)
@pytest.mark.parametrize("technique", [None, "static_int8", "dynamic_int8", "bf16"])
def test_a_users_file_is_prepared_and_answers_like_before(make, technique, tmp_path):
    path = make(tmp_path / "a user's" / "model.onnx")
    outcome, artifact, inputs = prepared(path, technique)
    assert isinstance(outcome, Measured)
    assert find(outcome, "file_size").samples[0] >= W.size  # the weights are in what is deployed
    if technique:
        numbers = {m.metric: m.samples[0] for m in outcome.measurements}
        assert numbers["covered_weights"] <= 0.55 * numbers["covered_float"]
        if make is not split_in_two:  # whose other half is no weight of a product, and is stored in float
            assert numbers["covered_float"] == numbers["model_float"]
        assert numbers["file_size"] < 0.8 * file_size_bytes(path.parent) + 2500
    batch = {name: array[:4] for name, array in inputs.items()}
    wanted = OnnxFile(str(path)).load()
    for engine in (BACKENDS[name]() for name in ("onnxruntime", "openvino")):
        before = engine.load(wanted, Placement()).run(batch)
        after = engine.load(artifact, Placement()).run(batch)
        assert [(a.shape, a.dtype) for a in after] == [(b.shape, b.dtype) for b in before]
        if before[0].dtype.kind == "f":
            assert np.abs(after[0] - before[0]).max() < 0.05 * np.ptp(before[0])


@pytest.mark.parametrize("make", FILES, ids=lambda make: make.__name__)
@pytest.mark.parametrize("technique", [None, "nncf_int8", "weight_only"])
@pytest.mark.parametrize(("format", "engine"), [("onnx", "onnxruntime"), ("openvino", "openvino")])
def test_a_users_file_goes_the_way_that_ends_at_one_engine(make, technique, format, engine, tmp_path):
    path = make(tmp_path / "a user's" / "model.onnx")
    params = (("group_size", 16),) if technique == "weight_only" else ()
    outcome, artifact, inputs = prepared(path, technique, format=format, params=params)
    assert artifact.format == format
    if technique:
        numbers = {m.metric: m.samples[0] for m in outcome.measurements}
        assert numbers["covered_weights"] <= 0.55 * numbers["covered_float"]
    batch, wanted = {name: array[:4] for name, array in inputs.items()}, OnnxFile(str(path)).load()
    before = BACKENDS["onnxruntime"]().load(wanted, Placement()).run(batch)
    after = BACKENDS[engine]().load(artifact, Placement()).run(batch)
    assert [(a.shape, a.dtype) for a in after] == [(b.shape, b.dtype) for b in before]
    if before[0].dtype.kind == "f":
        assert np.median(np.abs(after[0] - before[0])) < 0.02 * np.ptp(before[0])  # nncf clips outliers


def test_the_copy_in_the_cache_is_whole_without_the_original(tmp_path):
    path = external_data(tmp_path / "a user's" / "model.onnx")
    _, artifact, inputs = prepared(path)
    for file in path.parent.iterdir():
        file.unlink()
    onnx.checker.check_model(str(artifact.path))
    assert BACKENDS["onnxruntime"]().load(artifact, Placement()).run(inputs)[0].shape == (10, 32)


def test_a_file_that_is_quantized_already_is_no_float_baseline(tmp_path):
    path = plain(tmp_path / "a user's" / "model.onnx")
    _, quantized, _ = prepared(path, "static_int8")
    with pytest.raises(
        DoesNotFit, match=r"claims 32-bit float, but 1 of the 1 (.|\n)*fix: give the 32-bit float"
    ):
        prepared(quantized.path)


def test_a_fixed_batch_larger_than_the_calibration_set_is_filled_up(tmp_path):
    path = fixed_batch(tmp_path / "a user's" / "model.onnx")
    outcome, _, _ = prepared(path, "static_int8", count=3)
    assert isinstance(outcome, Measured)


def test_a_hop_that_fails_leaves_nothing_half_made(tmp_path):
    path = written(tmp_path / "a user's" / "model.onnx", [node("Relu", ["x"], ["y"])], {},
                   outputs={"y": (TensorProto.FLOAT, ["n", 16])})  # fmt: skip
    with pytest.raises(DoesNotFit, match="found: Relu x1"):
        prepared(path, "static_int8")
    kept = [folder for folder in (tmp_path / "cache" / "artifacts").iterdir() if "." in folder.name]
    assert kept == []


@pytest.mark.parametrize(("technique", "count", "told"), [
    ("static_int8", 1, True), ("static_int8", 16, False), ("ptq", 1, True), (None, 1, False),
])  # fmt: skip
def test_calibration_on_one_sample_is_told_and_stays_told(technique, count, told, tmp_path):
    """On a network of a fixed batch too, where the one sample fills up the batch; and from the cache."""
    path = fixed_batch(tmp_path / "a user's" / "model.onnx")
    for _ in range(2):
        outcome, artifact, _ = prepared(path, technique, count)
        found = [verdict.text for verdict in outcome.verdicts if verdict.kind == "caution"]
        assert len(found) == told
        assert all(
            text.startswith(f"calibration of {technique}: 1 example, and all ranges") for text in found
        )
        assert [note.what for note in artifact.notes if note.warns and "calibration" in note.what] == [
            f"calibration of {technique}"
        ] * told
