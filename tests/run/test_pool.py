"""Which techniques `qbench try` takes for a network: facts of small graphs made here, and what rules say."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qbench.cases import ArtifactSpec, Case, Choice, DataSpec, Deployment, Float, Hop, Scenario
from qbench.errors import BadSuite
from qbench.profile import PROFILES
from qbench.quant.network_facts import CONVOLUTION, PRODUCT, RECURRENT, facts_of
from qbench.run.estimate import UNFUSED, estimate_s
from qbench.run.plan import check_names
from qbench.run.pool import RULES, fitted, usual_profile
from qbench.suite import SuiteTechnique
from qbench.suite_file import load_suite


def saved(path, nodes, weights, shape=(None, 4, 8, 8), out=None):
    """Save a network of these nodes from `x` to `y`."""
    stored = [numpy_helper.from_array(np.ones(size, "f4"), name) for name, size in weights.items()]
    sizes = ["N" if size is None else size for size in shape]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, sizes)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, out)
    graph = helper.make_graph(nodes, "g", [x], [y], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def convolutions(path):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"], kernel_shape=[3, 3]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "v"], ["y"]),
    ]
    return saved(path, nodes, {"w": (5, 4, 3, 3), "v": (5, 2)})


def attention(path):
    nodes = [
        helper.make_node("MatMul", ["x", "q"], ["a"]),
        helper.make_node("Transpose", ["a"], ["t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["a", "t"], ["s"]),
        helper.make_node("Softmax", ["s"], ["p"]),
        helper.make_node("MatMul", ["p", "a"], ["b"]),
        helper.make_node("Add", ["b", "x"], ["y"]),
    ]
    return saved(path, nodes, {"q": (8, 8)}, (None, 6, 8))


def normalized_by_hand(path):
    nodes = [
        helper.make_node("MatMul", ["x", "q"], ["a"]),
        helper.make_node("Mul", ["a", "a"], ["s"]),
        helper.make_node("ReduceMean", ["s"], ["m"], axes=[-1]),
        helper.make_node("Sqrt", ["m"], ["r"]),
        helper.make_node("Div", ["a", "r"], ["y"]),
    ]
    return saved(path, nodes, {"q": (8, 8)}, (None, 6, 8))


def gated(path):
    return recurrent(path, "GRU", 3)


def recurrent(path, kind="LSTM", gates=4):
    nodes = [helper.make_node(kind, ["x", "w", "r"], ["y"], hidden_size=4)]
    return saved(path, nodes, {"w": (1, 4 * gates, 8), "r": (1, 4 * gates, 4)}, (None, 1, 8))


def looked_up(path):
    ids = helper.make_tensor_value_info("x", TensorProto.INT64, ["N", 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    stored = [
        numpy_helper.from_array(np.ones(size, "f4"), n) for n, size in {"t": (9, 4), "w": (4, 2)}.items()
    ]
    nodes = [helper.make_node("Gather", ["t", "x"], ["e"]), helper.make_node("MatMul", ["e", "w"], ["y"])]
    graph = helper.make_graph(nodes, "g", [ids], [y], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_the_work_is_counted_by_hand(tmp_path):
    found = facts_of(convolutions(tmp_path / "m.onnx"))
    # 5 x 4 x 3 x 3 weights at 6 x 6 places, and 5 x 2 once
    assert found.counted
    assert found.work == pytest.approx({CONVOLUTION: 6480 / 6490, PRODUCT: 10 / 6490})
    assert (found.layers, found.rounded, found.opset) == (2, (), 17)
    assert found.weight_bytes == 4 * (180 + 10)
    assert (found.attends, found.normalizes, found.looks_up) == (False, False, False)


@pytest.mark.parametrize(("make", "facts"), [
    (attention, (True, False, False)),
    (normalized_by_hand, (False, True, False)),
    (looked_up, (False, False, True)),
])  # fmt: skip
def test_what_a_network_does_besides_is_seen(tmp_path, make, facts):
    found = facts_of(make(tmp_path / "m.onnx"))
    assert (found.attends, found.normalizes, found.looks_up) == facts


def test_a_recurrent_network_is_weighed_by_its_weights(tmp_path):
    found = facts_of(recurrent(tmp_path / "m.onnx"))
    assert not found.counted
    assert found.work == {RECURRENT: 1.0}


@pytest.mark.parametrize(("make", "rule", "tried", "words"), [
    (convolutions, "matrix products", False, "100% of its work is convolutions"),
    (attention, "matrix products", True, "100% of its work is matrix products"),
    (recurrent, "matrix products", True, "100% of its weights is LSTM layers"),
    (gated, "matrix products", False, "100% of its weights is GRU and plain recurrent layers"),
    (convolutions, "operators between", False, "nothing but its layers"),
    (attention, "operators between", True, "Add would be rounded too"),
    (convolutions, "transformer", False, "neither attention nor"),
    (attention, "transformer", True, "it has attention"),
    (normalized_by_hand, "transformer", True, "normalizes layers"),
])  # fmt: skip
def test_a_rule_says_whether_and_why(tmp_path, make, rule, tried, words):
    advice = RULES[rule](facts_of(make(tmp_path / "m.onnx")))
    assert advice.tried == tried
    assert words in advice.reason


def test_the_suite_loses_what_a_rule_leaves_out_and_what_waited_for_it_waits_no_more(tmp_path):
    link = [{"use": "static_int8"}]
    suite = load_suite("try")
    techniques = [
        SuiteTechnique("fp32", [], "fp32"),
        SuiteTechnique("a", link, when="matrix products"),
        SuiteTechnique("b", link),
        SuiteTechnique("c", link, after=["a", "b"]),
    ]
    suite = replace(suite, technique=techniques)
    network = facts_of(convolutions(tmp_path / "m.onnx"))
    kept, told = fitted(suite, network)
    assert [one.name for one in kept.technique] == ["fp32", "b", "c"]
    assert kept.technique[-1].after == ["b"]
    assert told == [f"a is left out: {RULES['matrix products'](network).reason}"]
    kept, told = fitted(suite, network, named=["a"])  # who names it gets it
    assert [one.name for one in kept.technique] == ["fp32", "a", "b", "c"]
    assert told == []


def test_a_small_network_has_a_shorter_look(tmp_path):
    small = facts_of(convolutions(tmp_path / "m.onnx"))
    assert small.macs == 6490
    assert usual_profile(small) == "brief"
    assert usual_profile(replace(small, weight_bytes=2_000_000)) == "quick"
    assert usual_profile(replace(small, macs=30_000_000)) == "quick"
    assert usual_profile(replace(small, macs=None)) == "brief"
    assert {usual_profile(small), "quick"} <= set(PROFILES)


def test_every_rule_of_the_suite_is_known_and_a_misspelt_one_is_answered():
    suite = load_suite("try")
    assert {one.when for one in suite.technique} - {""} <= set(RULES)
    wrong = replace(
        suite, technique=[*suite.technique, SuiteTechnique("a", [{"use": "static_int8"}], when="matrx")]
    )
    with pytest.raises(BadSuite, match="no rule is called when = 'matrx'"):
        check_names(wrong)


def test_every_integer_technique_of_try_is_asked_before_a_search_begins():
    """What is new in the pool has to be among those that make the search needless; dynamic ranges are not."""
    suite = load_suite("try")
    (search,) = [one for one in suite.technique if one.after]
    place = [one.name for one in suite.technique].index(search.name)
    quantizers = ("static_int8", "nncf_int8")
    before = [one.name for one in suite.technique[:place] if one.chain and one.chain[-1]["use"] in quantizers]
    assert set(before) == set(search.after)
    assert "static int8, smoothed" in before


def test_both_links_of_a_chain_are_in_the_estimate(tmp_path, monkeypatch):
    """SmoothQuant and the quantizer after it look at the calibration examples, one after the other."""
    monkeypatch.setenv("QBENCH_CACHE", str(tmp_path / "cache"))
    suite = load_suite("try")
    chain = next(one.chain for one in suite.technique if one.name == "static int8, smoothed")
    assert [link["use"] for link in chain] == ["smooth_quant", "static_int8"]
    data = DataSpec(Choice("agreement"), "calibration", 100)
    source = Hop("source", Choice("net.onnx"), "onnx", Float(), "digest")
    hops = [
        Hop("technique", Choice(link["use"]), "onnx", Float(), "code", calibration=data) for link in chain
    ]

    def takes(way, call_s):
        spec = ArtifactSpec(Choice("net.onnx"), tuple(way))
        placed = Deployment(spec, "onnxruntime", "cpu", 1, "environment")
        case = Case("try", "smoothed", "technique", placed, replace(data, split="test"), Scenario("scored"))
        return estimate_s((case,), replace(PROFILES["quick"], call_s=call_s))

    alone, chained = (takes((source, *some), 0.1) - takes((source, *some), 0.0) for some in (hops[1:], hops))
    assert chained - alone == pytest.approx(100 * 0.1 * UNFUSED)
