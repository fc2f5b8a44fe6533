"""A user's own network that fails on every engine: no technique is tried on it, and no round is taken."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from workplace import SPEEDY, Nobody

from qbench.hardware import load_profiles
from qbench.run.plan import Selection, make_plan
from qbench.run.protocol import Limits
from qbench.run.session import execute
from qbench.run.targets import reach
from qbench.suite_file import load_suite

SUITE = """
name = "own"
about = "a test"
backends = ["onnxruntime"]
scored = 20
[[model]]
use = "net.onnx"
task = { use = "agreement", inputs = "x.npz", model = "net.onnx" }
[[scenario]]
batch = 1
[[technique]]
name = "fp32"
role = "fp32"
chain = []
[[technique]]
name = "static int8"
chain = [{ use = "static_int8" }]
"""


def network(*, narrow):
    value = helper.make_tensor_value_info
    weights = np.random.default_rng(0).standard_normal((16, 8)).astype("f4")
    nodes, stored = [helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": weights}
    if narrow:  # what claims 32-bit float and is stored in 8 bits fails its proof
        stored = {"q": np.round(weights * 30).astype("i1"), "s": np.array(1 / 30, "f4")}
        nodes.insert(0, helper.make_node("DequantizeLinear", ["q", "s"], ["w"]))
    tensors = [numpy_helper.from_array(array, name) for name, array in stored.items()]
    inputs, outputs = [value("x", TensorProto.FLOAT, ["n", 16])], [value("y", TensorProto.FLOAT, ["n", 8])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), "net.onnx"
    )
    np.savez("x.npz", x=np.random.default_rng(1).standard_normal((40, 16)).astype("f4"))


def ran(inside):
    (inside.root / "suites" / "own.toml").write_text(SUITE)
    suite, watcher = load_suite("own"), Nobody()
    plan = make_plan(suite, SPEEDY, reach(load_profiles("testbed"), suite.backends), Selection())
    execute(plan, inside.root / "results", watcher, Limits(), command="test", resume=False)
    return watcher


def test_nothing_is_made_or_timed_of_a_network_that_fails_itself(inside):
    network(narrow=True)
    watcher = ran(inside)
    done = [(step.kind, outcome.kind) for step, outcome in watcher.heard if step in watcher.ran]
    assert ("prepare", "failed") in done
    assert [kind for kind, _ in done].count("prepare") == 1  # the float file's: no technique's
    assert not {"score", "deploy", "time", "anchor"} & {kind for kind, _ in done}


def test_a_sound_one_goes_on_to_its_rounds(inside):
    network(narrow=False)
    kinds = [step.kind for step in ran(inside).ran]
    assert kinds.count("prepare") == 2
    assert kinds.index("score") < len(kinds) - 1 - kinds[::-1].index(
        "prepare"
    )  # float's, before int8 is made
    assert {"time", "anchor"} <= set(kinds)
