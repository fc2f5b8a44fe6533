"""What is recommended leaves the cache: the file and its neighbours, a note, code that runs as printed."""

import io
import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console

from qbench.backends.base import BACKENDS, Placement
from qbench.cases import ArtifactSpec, Case, Choice, DataSpec, Deployment, Float, Hop, Scenario
from qbench.errors import BadFile, CannotWrite
from qbench.formats import cache
from qbench.formats.artifact import Artifact, load, save
from qbench.formats.edges import EDGES, onnx_signature
from qbench.report.delivered import Delivered
from qbench.report.recommend import Recommendation
from qbench.report.terminal import print_advice
from qbench.run.takeaway import take_away
from qbench.tasks.base import Examples, store

W = np.random.default_rng(0).standard_normal((16, 32)).astype("f4")
EXAMPLES = Examples("some", {"x": np.ones((8, 16), "f4")}, None)


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("QBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def network(path, *, state=False, **how):
    """y = x W; with a state, which the call before left: y = x W + h, and hn = y."""
    value = helper.make_tensor_value_info
    inputs = [value("x", TensorProto.FLOAT, ["n", 16])]
    outputs = [value("y", TensorProto.FLOAT, ["n", 32])]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p" if state else "y"])]
    if state:
        inputs += [value("h", TensorProto.FLOAT, ["n", 32]), value("rate", TensorProto.FLOAT, [])]
        outputs.append(value("hn", TensorProto.FLOAT, ["n", 32]))
        nodes.append(helper.make_node("Mul", ["p", "rate"], ["q"]))
        nodes += [helper.make_node("Add", ["q", "h"], ["y"]), helper.make_node("Identity", ["y"], ["hn"])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [numpy_helper.from_array(W, "w")])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path, **how
    )


def kept(engine="onnxruntime", format="onnx", options=(), **how):
    """Put an artifact into the cache, and return its case."""
    way = [Hop("source", Choice("a user's/net.onnx"), "onnx", Float(), "s")]
    spec = ArtifactSpec(Choice("a user's/net.onnx"), tuple(way))
    making = cache.workspace(spec)
    carried = (("h", "hn"),) if how.pop("state", False) else ()
    network(making / "model.onnx", state=bool(carried), **how)
    inputs, outputs = onnx_signature(making / "model.onnx")
    artifact = Artifact("onnx", Float(), inputs, outputs, path=making / "model.onnx", carried=carried)
    if format == "openvino":
        edge = next(edge for edge in EDGES if edge.gives == format)
        artifact = edge.convert(artifact, making)
        (making / "model.onnx").unlink()
    save(artifact, making, spec)
    cache.publish(making, spec)
    placed = Deployment(spec, engine, "cpu", 2, "e", options=options)
    data = DataSpec(Choice("agreement", (("inputs", "x.npz"),)), "test", 8)
    return Case("try-net", "static int8, Conv only", "technique", placed, data, Scenario("single", 4))


def told():
    return {"verdict": "Ship it"}


@pytest.mark.parametrize(
    ("engine", "format", "options"),
    [
        ("onnxruntime", "onnx", ()),
        ("openvino", "onnx", ()),
        ("openvino", "openvino", ()),
        ("openvino", "onnx", (("precision", "bf16"),)),
    ],
)
def test_the_code_runs_as_it_is_printed_and_answers_as_what_was_measured(engine, format, options, place):
    case = kept(engine, format, options)
    store(EXAMPLES)
    taken = take_away(case, "some", place / "reports", told())
    out = io.StringIO()
    given = Delivered(str(taken.path), taken.code)
    advice = Recommendation(None, "technique", Shipped(case), "Ship it", "", "", "", "", ())
    print_advice(advice, Console(file=out, width=60), {case: given})
    printed = out.getvalue().partition("measured:\n")[2]
    space = {}
    exec(printed, space)
    assert space["inputs"]["x"].shape == (4, 16)
    artifact = load(cache.folder_of(case.deployment.artifact))
    session = BACKENDS[engine]().load(artifact, Placement("cpu", 2, 1, options))
    asked = {"x": np.ones((4, 16), "f4")}
    again = printed.replace("numpy.zeros", "numpy.ones")
    exec(again, space)
    assert np.array_equal(np.asarray(space["outputs"][0]), session.run(asked)[0])
    assert "reports/recommended/net-static-int8-Conv-only" in printed.replace(str(place), "")
    if options:
        assert '"INFERENCE_PRECISION_HINT": "bf16"' in printed
    if engine == "openvino":
        assert space["model"].get_property("INFERENCE_NUM_THREADS") == 2


class Shipped:
    """As much of a cell as a terminal asks of one that is shipped."""

    def __init__(self, case):
        self.case = case


def test_state_is_carried_on_and_a_constant_has_its_own_value(place):
    case = kept(state=True)
    store(
        Examples(
            "some",
            {"x": np.ones((8, 16), "f4"), "h": np.zeros((8, 32), "f4"), "rate": np.full(8, 0.5, "f4")},
            None,
        )
    )
    code = take_away(case, "some", place / "reports", told()).code
    space = {}
    exec(code, space)
    assert space["inputs"]["rate"] == 0.5
    assert 'inputs["h"] = outputs[1]' in code
    assert space["inputs"]["h"] is space["outputs"][1]


def test_weights_beside_the_file_go_with_it_and_the_cache_may_be_deleted(place):
    import shutil

    how = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    case = kept(**how)
    store(EXAMPLES)
    taken = take_away(case, "some", place / "reports", told())
    shutil.rmtree(place / "cache")
    assert sorted(path.name for path in taken.path.parent.iterdir()) == [
        "net-static-int8-Conv-only.json", "net-static-int8-Conv-only.onnx", "weights.bin",
    ]  # fmt: skip
    exec(taken.code, {})


def test_the_note_says_what_it_is_and_has_a_digest_of_every_file(place):
    case = kept()
    store(EXAMPLES)
    path = take_away(case, "some", place / "reports", told()).path
    note = json.loads(path.with_suffix(".json").read_text())
    assert note["verdict"] == "Ship it"
    assert (note["engine"], note["threads"], note["inputs"]) == ("onnxruntime", 2, {"x": ["float32", 4, 16]})
    assert list(note["sha256"]) == [path.name]
    assert str(place) not in path.with_suffix(".json").read_text()


def test_what_is_gone_from_the_cache_is_told_and_nothing_is_left_half_copied(place):
    case = kept()
    with pytest.raises(BadFile):
        take_away(case, "some", place / "reports", told())  # no examples
    assert not (place / "reports").exists()
    store(EXAMPLES)
    (place / "reports").write_text("in the way")
    with pytest.raises(CannotWrite, match="cannot be copied"):
        take_away(case, "some", place / "reports", told())
