"""Networks with their batch elsewhere, constants, free lengths, odd types and state: quantized and asked."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qbench.backends.base import BACKENDS, Placement
from qbench.cases import ArtifactSpec, Choice, DataSpec, Float, Hop, Step, key
from qbench.formats import cache
from qbench.formats.answers import answers
from qbench.formats.artifact import load
from qbench.records import find
from qbench.run.choose import model_of, source_of, task_of
from qbench.run.own_model import own_suite
from qbench.run.protocol import StepRequest, Trace
from qbench.run.steps.prepare import prepare
from qbench.strategies.base import STRATEGIES
from qbench.tasks.base import store

RNG = np.random.default_rng(0)
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
node = helper.make_node
COUNT = 120


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("QBENCH_CACHE", str(tmp_path / "cache"))


def weights(*shape):
    return (RNG.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]))).astype("f4")


def samples(*shape):
    return RNG.standard_normal(shape).astype("f4")


def time_major():
    """(time, N, 8) to (N, 4): a sum over time."""
    nodes = [node("MatMul", ["x", "w"], ["h"]), node("Relu", ["h"], ["r"])]
    nodes += [node("ReduceSum", ["r", "axis"], ["s"], keepdims=0), node("MatMul", ["s", "v"], ["y"])]
    stored = {"w": weights(8, 16), "v": weights(16, 4), "axis": np.array([0])}
    return (
        nodes,
        {"x": (FLOAT, [20, "batch", 8])},
        {"y": (FLOAT, ["batch", 4])},
        stored,
        {"x": samples(20, COUNT, 8)},
    )


def time_major_all_through():
    """(time, N, 8) to (time, N, 4)."""
    nodes = [node("MatMul", ["x", "w"], ["h"]), node("Relu", ["h"], ["r"]), node("MatMul", ["r", "v"], ["y"])]
    stored = {"w": weights(8, 16), "v": weights(16, 4)}
    shape = ["time", "batch", 4]
    return (
        nodes,
        {"x": (FLOAT, ["time", "batch", 8])},
        {"y": (FLOAT, shape)},
        stored,
        {"x": samples(20, COUNT, 8)},
    )


def free_length():
    """(N, 8, time), a convolution over time and a mean."""
    nodes = [node("Conv", ["x", "w"], ["h"], pads=[1, 1]), node("Relu", ["h"], ["r"])]
    nodes += [node("ReduceMean", ["r"], ["s"], axes=[2], keepdims=0), node("MatMul", ["s", "v"], ["y"])]
    stored = {"w": weights(16, 8, 3), "v": weights(16, 4)}
    return (
        nodes,
        {"x": (FLOAT, ["batch", 8, "time"])},
        {"y": (FLOAT, ["batch", 4])},
        stored,
        {"x": samples(COUNT, 8, 30)},
    )


def constants():
    """A scalar gain and a mask, the same for all; the second output is a constant."""
    nodes = [
        node("Mul", ["x", "gain"], ["g"]),
        node("Mul", ["g", "mask"], ["m"]),
        node("MatMul", ["m", "w"], ["y"]),
    ]
    nodes.append(node("Identity", ["mask"], ["seen"]))
    inputs = {"x": (FLOAT, ["N", 16]), "gain": (FLOAT, []), "mask": (FLOAT, [16])}
    outputs = {"y": (FLOAT, ["N", 4]), "seen": (FLOAT, [16])}
    given = {"x": samples(COUNT, 16), "gain": np.float32(2), "mask": (np.arange(16) % 3 > 0).astype("f4")}
    return nodes, inputs, outputs, {"w": weights(16, 4)}, given


def a_gain_for_each():
    """A scalar that differs between examples: one a call."""
    nodes = [node("Mul", ["x", "gain"], ["g"]), node("MatMul", ["g", "w"], ["y"])]
    inputs = {"x": (FLOAT, ["N", 16]), "gain": (FLOAT, [])}
    given = {"x": samples(COUNT, 16), "gain": RNG.uniform(0.5, 2, COUNT).astype("f4")}
    return nodes, inputs, {"y": (FLOAT, ["N", 4])}, {"w": weights(16, 4)}, given


def ids_and_a_mask():
    """int64 ids looked up in a table, a bool mask over them."""
    nodes = [node("Gather", ["table", "ids"], ["e"]), node("Cast", ["mask"], ["m"], to=FLOAT)]
    nodes += [node("Unsqueeze", ["m", "last"], ["u"]), node("Mul", ["e", "u"], ["k"])]
    nodes += [node("ReduceSum", ["k", "middle"], ["s"], keepdims=0), node("MatMul", ["s", "w"], ["y"])]
    stored = {"table": samples(30, 16), "w": weights(16, 4), "last": np.array([2]), "middle": np.array([1])}
    inputs = {"ids": (INT64, ["N", "length"]), "mask": (BOOL, ["N", "length"])}
    given = {"ids": RNG.integers(0, 30, (COUNT, 6)), "mask": RNG.random((COUNT, 6)) > 0.3}
    return nodes, inputs, {"y": (FLOAT, ["N", 4])}, stored, given


def recurrent():
    """state' = tanh(W x + V state), (1, N, 16); y = U state'. The batch is second in the state."""
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("Squeeze", ["state", "first"], ["before"])]
    nodes += [
        node("MatMul", ["before", "v"], ["b"]),
        node("Add", ["a", "b"], ["c"]),
        node("Tanh", ["c"], ["h"]),
    ]
    nodes += [node("MatMul", ["h", "u"], ["y"]), node("Unsqueeze", ["h", "first"], ["stateN"])]
    stored = {"w": weights(8, 16), "v": 1.2 * weights(16, 16), "u": weights(16, 4), "first": np.array([0])}
    inputs = {"x": (FLOAT, ["N", 8]), "state": (FLOAT, [1, "N", 16])}
    outputs = {"y": (FLOAT, ["N", 4]), "stateN": (FLOAT, [1, "N", 16])}
    return nodes, inputs, outputs, stored, {"x": samples(COUNT, 8)}


NETWORKS = [
    time_major, time_major_all_through, free_length, constants, a_gain_for_each, ids_and_a_mask, recurrent,
]  # fmt: skip


class User:
    """A network and samples in files, and the suite that `try` makes of them."""

    def __init__(self, folder, make):
        nodes, inputs, outputs, stored, self.given = make()
        tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in stored.items()]
        ends = [
            [helper.make_tensor_value_info(name, kind, dims) for name, (kind, dims) in some.items()]
            for some in (inputs, outputs)
        ]
        graph = helper.make_graph(nodes, "a user's", *ends, tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.save(model, folder / "net.onnx")
        np.savez(folder / "x.npz", **self.given)
        (self.model,) = own_suite(str(folder / "net.onnx"), folder / "x.npz").suite.model
        use, *_ = [self.model.task.pop("use")]
        self.task = Choice(use, tuple(self.model.task.items()))

    def examples(self, split, count):
        spec = DataSpec(self.task, split, count)
        examples = task_of(self.task).examples(spec)
        store(examples)
        return spec, examples

    def prepared(self, technique, params=()):
        calibration, examples = self.examples("calibration", COUNT // 4)
        source = source_of(self.model)
        way = [Hop("source", source, "onnx", Float(), model_of(source).content())]
        if technique:
            state = STRATEGIES[technique](**dict(params)).state(Float())
            way.append(Hop("technique", Choice(technique, params), "onnx", state, "", calibration))
        spec = ArtifactSpec(Choice(self.model.use), tuple(way))
        request = StepRequest(Step("prepare", spec), ((key(calibration), examples.data_id),))
        outcome = prepare(request, Trace())
        return outcome, load(cache.folder_of(spec))

    def answers(self, artifact, engine, size=16):
        _, examples = self.examples("test", COUNT - COUNT // 4)
        session = BACKENDS[engine]().load(artifact, Placement())
        return answers(session.run, artifact, examples.raw, size)

    def by_hand(self, folder):
        """Return the float file's answers, asked as its owner would: one example, or one call, at a time."""
        import onnxruntime

        session = onnxruntime.InferenceSession(str(folder / "net.onnx"), providers=["CPUExecutionProvider"])
        names = [spec.name for spec in session.get_outputs()]
        found, state = [], {"state": np.zeros((1, 1, 16), "f4")} if "stateN" in names else {}
        for row in range(COUNT):
            call = {name: self.one(name, array, row) for name, array in self.given.items()} | state
            outputs = dict(zip(names, session.run(None, call), strict=True))
            state = {"state": outputs["stateN"]} if state else {}
            found.append(outputs[names[0]])
        rows = np.arange(COUNT)
        test = rows >= COUNT // 4 if state or "stateN" in names else rows % 4 != 0
        return [one for one, kept in zip(found, test, strict=True) if kept]

    def one(self, name, array, row):
        if name == "gain" and array.ndim:
            return np.asarray(array[row])
        if name in ("gain", "mask") and array.dtype != bool:
            return np.asarray(array)
        return array[:, row : row + 1] if array.shape[0] == 20 else array[row : row + 1]


@pytest.mark.parametrize("make", NETWORKS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_the_float_files_answers_are_those_of_its_owner(make, engine, tmp_path):
    user = User(tmp_path, make)
    _, artifact = user.prepared(None)
    wanted = user.by_hand(tmp_path)
    first = user.answers(artifact, engine)[0]
    assert len(first) == len(wanted) == COUNT - COUNT // 4
    for found, one in zip(first, wanted, strict=True):
        np.testing.assert_allclose(found, one.reshape(found.shape), atol=1e-4)


@pytest.mark.parametrize("make", NETWORKS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("technique", ["static_int8", "dynamic_int8", "ptq", "nncf_int8", "weight_only"])
def test_a_quantized_file_comes_near_the_float_one(make, technique, tmp_path):
    user = User(tmp_path, make)
    params = (("group_size", 16), ("bits", 8)) if technique == "weight_only" else ()
    outcome, artifact = user.prepared(technique, params)
    assert find(outcome, "covered_weights").samples[0] > 0
    wanted = np.concatenate([one.reshape(1, -1) for one in user.by_hand(tmp_path)])
    found = user.answers(artifact, "onnxruntime")[0].reshape(wanted.shape)
    far = np.median(np.abs(found - wanted)) / wanted.std()  # the median: nncf clips outliers
    assert far < (0.3 if make is recurrent else 0.1)  # errors of a state add up


def test_work_is_counted_at_the_samples_length(tmp_path):
    outcome, _ = User(tmp_path, free_length).prepared(None)
    assert find(outcome, "model_macs").samples == (30 * 16 * 8 * 3 + 16 * 4,)


def test_free_axes_stay_free_in_the_file_that_is_deployed(tmp_path):
    _, artifact = User(tmp_path, free_length).prepared("static_int8")
    session = BACKENDS["onnxruntime"]().load(artifact, Placement())
    for length in (30, 17):
        (found,) = session.run({"x": samples(3, 8, length)})
        assert found.shape == (3, 4)


def test_calibration_sees_the_states_of_the_float_network(tmp_path):
    user = User(tmp_path, recurrent)
    _, examples = user.examples("calibration", COUNT // 4)
    assert not examples.raw["state"][0].any()
    assert np.abs(examples.raw["state"][1:]).max() > 0.5
