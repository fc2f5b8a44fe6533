"""What is recoded without a float network, by hand and to the bit where it is exact; what is refused."""

import tomllib
from typing import get_args, get_type_hints

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from qbench.backends.base import BACKENDS, Placement
from qbench.cases import FakeQuant, Float, Quantized, Scheme
from qbench.errors import BadParameter, DoesNotFit
from qbench.formats.artifact import Note
from qbench.formats.proof import prove
from qbench.formats.reference import as_written, relative_error
from qbench.strategies.base import STRATEGIES, Calibration

Requantize = STRATEGIES["requantize"]
LOSSY = ["symmetric", "per_tensor", "power_of_two", "int4"]
X = (np.random.default_rng(0).standard_normal((64, 2)) * 20).astype("f4")


@pytest.fixture
def recoded(tmp_path):
    """Return a function: an artifact recoded into a folder of its own."""
    number = iter(range(99))

    def give(source, to):
        folder = tmp_path / f"recoded-{next(number)}"
        folder.mkdir()
        return Requantize(to=to).apply(source, Calibration("", {}), folder)

    return give


def stored(artifact):
    graph = onnx.load(artifact.path).graph
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def operators(artifact):
    return [node.op_type for node in onnx.load(artifact.path).graph.node]


def said(artifact, x=X, name="x"):
    return as_written(artifact.path, [{name: x}])[0][0]


def without_zeros(nodes, arrays):
    for node in nodes:
        if node.op_type.endswith("Linear"):
            del node.input[2:]
    for name in ("xz", "yz", "wz", "bz"):
        del arrays[name]


def constants(nodes, arrays):
    """Put scales and zero points into Constant nodes, one for each use, as exporters of torch do."""
    for node in list(nodes):
        for position in range(1, len(node.input) if node.op_type.endswith("Linear") else 0):
            name = f"{node.output[0]}_{position}"
            value = numpy_helper.from_array(arrays[node.input[position]])
            nodes.insert(0, helper.make_node("Constant", [], [name], value=value))
            node.input[position] = name
    for name in [name for name in arrays if len(name) == 2]:
        del arrays[name]


def deduplicated(nodes, arrays):
    """Let a weight and an activation share their scale and their zero point, as tools that tidy files do."""
    arrays |= {"xs": arrays["ys"], "ws": arrays["ys"], "bs": np.array(0.0625, "f4"), "xz": np.array(0, "i1")}
    for node in nodes:
        node.input[:] = [{"ws": "xs", "ys": "xs", "wz": "xz"}.get(name, name) for name in node.input]
        if node.output[0] == "bd":
            del node.input[2:]


# --- exact ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [lambda n, a: None, without_zeros, constants, deduplicated])
@pytest.mark.parametrize("to", ["s8s8", "u8s8", "arm"])
def test_another_sign_is_the_same_to_the_bit(change, to, qdq, recoded):
    source = qdq(change)
    if to == "u8s8" and change is not deduplicated:
        source = recoded(source, "s8s8")
    product = recoded(source, to)
    np.testing.assert_array_equal(said(product), said(source))
    mine, its = (ReferenceEvaluator(str(a.path)).run(None, {"x": X})[0] for a in (product, source))
    np.testing.assert_array_equal(mine, its)
    assert product.notes == source.notes


def test_the_zero_points_move_by_128_and_nothing_else(qdq, recoded):
    source = qdq()
    before, after = stored(source), stored(recoded(source, "s8s8"))
    assert (after["xz"].dtype, int(after["xz"])) == (np.int8, 0)
    assert (after["yz"].dtype, int(after["yz"])) == (np.int8, -128)
    for name in before.keys() - {"xz", "yz"}:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)


def test_there_and_back_is_the_file_as_it_was(qdq, recoded):
    source = qdq()
    back = recoded(recoded(source, "s8s8"), "u8s8")
    assert onnx.load(back.path).graph == onnx.load(source.path).graph


def test_of_mixed_signs_those_move_that_must(in_format, images, tmp_path, recoded):
    source = STRATEGIES["nncf_int8"]().apply(in_format("onnx"), Calibration("", {"images": images}), tmp_path)
    product = recoded(source, "s8s8")
    kinds = {name: array.dtype for name, array in stored(product).items() if "zero_point" in name}
    assert set(kinds.values()) == {np.dtype("int8")}
    np.testing.assert_array_equal(said(product, images, "images"), said(source, images, "images"))


# --- worked by hand ---------------------------------------------------------------------------------


def test_symmetric_activations_reach_the_farther_end_and_biases_follow(qdq, recoded):
    # -64 ... 63.5 takes steps of 64 / 127, 0 ... 63.75 steps of 63.75 / 127; a bias of 1 is then
    # 127 / 64 / 0.5 = 3.97 and 127 / 64 / 0.25 = 7.94 steps
    product = recoded(qdq(), "symmetric")
    found = stored(product)
    np.testing.assert_allclose([found["xs"], found["ys"]], [64 / 127, 63.75 / 127], rtol=1e-6)
    assert [int(found[name]) for name in ("xz", "yz")] == [0, 0]
    np.testing.assert_allclose(found["bs"], np.array([32, 16]) / 127, rtol=1e-6)
    assert found["b"].tolist() == [4, 8]


def test_a_relu_that_was_left_out_comes_back(qdq, recoded):
    source = qdq()
    product = recoded(source, "symmetric")
    assert operators(product).count("Relu") == 1
    assert said(source).min() == said(product).min() == 0
    assert relative_error(said(product), said(source)) < 0.03


def test_no_relu_comes_where_the_range_has_both_signs_or_one_is_there(qdq, recoded):
    def both(_, arrays):
        arrays["yz"] = np.array(100, "u1")

    def there(nodes, _):
        nodes[4].output[0] = "h"
        nodes.insert(5, helper.make_node("Relu", ["h"], ["g"]))

    assert operators(recoded(qdq(both), "symmetric")).count("Relu") == 0
    assert operators(recoded(qdq(there), "symmetric")).count("Relu") == 1


def test_one_scale_holds_the_largest_weight_of_all(qdq, recoded):
    # 2 / 127: 1, -2, 1.5 and 2 are 63.5 (to even: 64), -127, 95.25 and 127; a bias of 1 is 127 steps
    product = recoded(qdq(), "per_tensor")
    found = stored(product)
    assert found["ws"].shape == ()
    assert found["w"].tolist() == [[64, -127], [95, 127]]
    assert found["b"].tolist() == [127, 127]
    assert product.state == Quantized(Scheme(8, 8, "per_tensor"))


def test_powers_of_two_are_no_finer_than_before(qdq, recoded):
    def odd(_, arrays):
        arrays |= {"xs": np.array(0.3, "f4"), "ys": np.array(0.2, "f4"), "ws": np.array([0.5, 0.24], "f4")}
        arrays["bs"] = np.array([0.15, 0.072], "f4")

    product = recoded(qdq(odd), "power_of_two")
    found = stored(product)
    assert (float(found["xs"]), float(found["ys"]), found["ws"].tolist()) == (0.5, 0.25, [0.5, 0.25])
    assert found["w"].tolist() == [[2, -4], [6, 8]]  # 5.76 and 7.68 to the nearest
    assert found["bs"].tolist() == [0.25, 0.125]
    assert found["b"].tolist() == [2, 5]  # 0.6 / 0.25 and 0.576 / 0.125
    assert int(found["xz"]) == 128
    assert said(product).max() <= np.float32(0.2) * 255  # a Relu6 may have been left out there
    assert operators(product).count("Clip") == 1


def test_four_bits_hold_what_the_eight_held(qdq, recoded):
    product = recoded(qdq(), "int4")
    found = stored(product)
    # -7 steps for -2, 7 for 2: 1 is 3.5 steps and 1.5 is 5.25; clipping a little is no better
    assert found["w_int4"].astype(int).tolist()[1] == [5, 7]
    assert found["w_int4"].dtype.name == "int4"
    assert "w" not in found
    assert product.state == Quantized(Scheme(4, 8, "per_channel"))
    assert prove(product).failure is None
    np.testing.assert_allclose(found["bs"], 0.5 * found["ws"], rtol=1e-6)


def test_arm_takes_no_zero_points_of_weights(qdq, recoded):
    def unsigned(_, arrays):
        arrays |= {"w": np.array([[130, 124], [6, 8]], "u1"), "wz": np.array([128, 0], "u1")}

    source = qdq(unsigned)
    product = recoded(source, "arm")
    found = stored(product)
    assert found["w"].dtype == found["wz"].dtype == np.int8
    assert not found["wz"].any()
    # 1 and -2: steps of 2 / 127; 1.5 and 2 the same
    assert found["w"].tolist() == [[64, -127], [95, 127]]
    assert relative_error(said(product), said(source)) < 0.02
    assert "1 weights moved" in product.notes[-1].found


# --- shared tensors, notes --------------------------------------------------------------------------


def test_what_a_tidied_file_shares_does_not_change_under_others(qdq, recoded):
    source = qdq(deduplicated)  # the weight, the input and the output have one scale in the file
    product = recoded(source, "int4")
    nodes = {node.output[0]: node for node in onnx.load(product.path).graph.node}
    arrays = stored(product)
    assert arrays["w_int4"].astype(int).tolist() == [[2, -4], [5, 7]]
    assert arrays[nodes["wd"].input[1]] == np.float32(0.99 * 2 / 7)  # clipped by 1 %: 0.5 and 1 come closer
    assert [float(arrays[nodes[name].input[1]]) for name in ("xq", "xd", "gq", "y")] == [0.25] * 4
    for to in ("per_tensor", "power_of_two"):
        with pytest.raises(DoesNotFit, match="is so already"):
            recoded(source, to)


@pytest.mark.parametrize("to", LOSSY)
@pytest.mark.parametrize("restored_once", [True, False])
def test_a_weight_that_two_layers_share(to, restored_once, qdq, recoded):
    def twice(nodes, arrays):
        arrays |= {"xs": np.array(0.3, "f4"), "ys": np.array(0.3, "f4"), "bs": np.array([0.15, 0.075], "f4")}
        again = "wd" if restored_once else "wd2"
        if not restored_once:
            nodes.insert(3, helper.make_node("DequantizeLinear", ["w", "ws", "wz"], [again], axis=0))
        nodes += [
            helper.make_node("Gemm", ["y", again, "bd"], ["g2"], "second", transB=1),
            helper.make_node("QuantizeLinear", ["g2", "zs", "zz"], ["q2"]),
            helper.make_node("DequantizeLinear", ["q2", "zs", "zz"], ["z"]),
        ]
        arrays |= {"zs": np.array(1.9, "f4"), "zz": np.array(90, "u1")}

    source = qdq(twice, outputs=("z",))
    product = recoded(source, to)
    assert relative_error(said(product), said(source)) < (0.2 if to == "int4" else 0.05)
    onnx.checker.check_model(onnx.load(product.path))
    # each layer has its bias in steps of its own input's scale
    arrays, graph = stored(product), onnx.load(product.path).graph
    maker = {name: node for node in graph.node for name in node.output}
    for node in (maker["g"], next(node for node in graph.node if node.name == "second")):
        given, weight, bias = (arrays[maker[name].input[1]] for name in node.input)
        np.testing.assert_allclose(bias, given * weight, rtol=1e-5)


@pytest.mark.parametrize("to", LOSSY)
def test_the_answers_of_a_real_one_stay_close_and_the_note_says_how(to, in_format, images, tmp_path, recoded):
    data = Calibration("", {"images": images})
    source = STRATEGIES["static_int8"]().apply(in_format("onnx"), data, tmp_path)
    product = recoded(source, to)
    error = relative_error(said(product, images, "images"), said(source, images, "images"))
    assert 0 < error < (0.1 if to == "int4" else 0.03)
    run = BACKENDS["onnxruntime"]().load(product, Placement()).run({"images": images})[0]
    assert relative_error(run, said(product, images, "images")) < 0.01  # biases as integer kernels take them
    (note,) = product.notes  # saturation was counted on other codes
    assert note.what == f"requantized to {to}"
    assert ("weights moved" in note.found, "steps of activations grew" in note.found) == {
        "symmetric": (False, True), "power_of_two": (True, True)
    }.get(to, (True, False))  # fmt: skip


def test_an_exact_one_keeps_the_notes(qdq, recoded):
    source = qdq()
    object.__setattr__(source, "notes", (Note("mine", "kept"),))
    assert recoded(source, "s8s8").notes == (Note("mine", "kept"),)


# --- refused ----------------------------------------------------------------------------------------


def test_a_target_that_does_not_exist_is_told_with_those_that_do():
    with pytest.raises(
        BadParameter, match="no to = 'a4'\n  fix: write one of \"s8s8\", (.|\n)*need new ranges"
    ):
        Requantize(to="a4")


CHAIN = r'chain = \[\{ use = "static_int8" \}, \{ use = "requantize", to = "\w+" \}\]'


@pytest.mark.parametrize(("state", "words"), [
    (Float(), "this one is float"),
    (FakeQuant(Scheme(8, 8, "per_channel")), "this one is fake_quant"),
    (Quantized(Scheme(8, None, "per_group")), "weights alone are rounded"),
    (Quantized(Scheme(8, 8, "per_tensor", dynamic=True)), "dynamic"),
])  # fmt: skip
def test_what_needs_data_is_refused_at_planning(state, words):
    with pytest.raises(DoesNotFit, match=f"{words}(.|\n)*{CHAIN}"):
        Requantize().state(state)


@pytest.mark.parametrize("to", get_args(get_type_hints(Requantize)["to"]))
def test_the_chain_that_is_offered_works(to, in_format, images, tmp_path):
    with pytest.raises(DoesNotFit) as refused:
        Requantize(to=to).state(Float())
    artifact = in_format("onnx")
    for number, link in enumerate(tomllib.loads(refused.value.fix.split(": ", 1)[1])["chain"]):
        folder = tmp_path / str(number)
        folder.mkdir()
        strategy = STRATEGIES[link.pop("use")](**link)
        artifact = strategy.apply(artifact, Calibration("", {"images": images}), folder)
    assert strategy == Requantize(to=to)


@pytest.mark.parametrize(("to", "scheme"), [
    ("int4", Scheme(4, 8, "per_channel")), ("per_tensor", Scheme(8, 8, "per_tensor")),
])  # fmt: skip
def test_what_is_so_already_is_refused_at_planning(to, scheme):
    with pytest.raises(DoesNotFit, match="already\n  fix: leave it out, or write another of s8s8"):
        Requantize(to=to).state(Quantized(scheme))


def test_a_file_that_is_so_already_is_refused(qdq, recoded):
    with pytest.raises(DoesNotFit, match=r"to=u8s8\) changes nothing: its file is so already"):
        recoded(qdq(), "u8s8")


def pooled(nodes, _):
    nodes[5].output[0] = "before"
    nodes.insert(6, helper.make_node("Flatten", ["before"], ["gq"]))


def in_float(nodes, _):
    nodes[:] = [helper.make_node("Relu", ["x"], ["h"]), helper.make_node("Flatten", ["h"], ["y"])]


def blocked(nodes, _):
    nodes[2].attribute.append(helper.make_attribute("block_size", 1))


def fused(nodes, _):
    nodes.append(helper.make_node("MatMulInteger", ["xq", "xq"], ["z"]))


@pytest.mark.parametrize(("change", "words"), [
    (pooled, "Flatten computes with the codes 'before'"),
    (in_float, r"there are none \(found: Relu x1, Flatten x1\)"),
    (blocked, "'wd' has a scale for every block"),
    (fused, "integer operators beside them: MatMulInteger"),
])  # fmt: skip
def test_a_file_that_is_not_covered_is_refused_by_what_was_found(change, words, qdq, recoded):
    with pytest.raises(DoesNotFit, match=f"{words}(.|\n)*{CHAIN}"):
        recoded(qdq(change), "s8s8")
