"""The simulated twin: what the file says, without an integer; and the conversion into an IR beside it."""

import numpy as np
import onnx
import pytest
from onnx import helper

from qbench.backends.base import BACKENDS, Placement
from qbench.cases import Choice, FakeQuant, Float, Hop, Quantized, Scheme
from qbench.errors import DoesNotFit
from qbench.formats.proof import prove
from qbench.formats.reference import as_written, relative_error
from qbench.quant.ir_graph import ir_weights, runtime, save_ir, simulated_outputs
from qbench.run.way import Goal, find_way
from qbench.strategies.base import STRATEGIES, Calibration

INT8 = Quantized(Scheme(8, 8, "per_channel"))
NO_DATA = Calibration("", {})


@pytest.fixture
def made(in_format, images, tmp_path):
    """Return a function: a chain of techniques applied to the small network."""
    number = iter(range(99))

    def give(start, *names):
        artifact = in_format(start)
        for name in names:
            folder = tmp_path / str(next(number))
            folder.mkdir()
            artifact = STRATEGIES[name]().apply(artifact, Calibration("", {"images": images}), folder)
        return artifact

    return give


@pytest.mark.parametrize("name", ["static_int8", "nncf_int8"])
def test_the_twin_of_an_onnx_file_says_what_the_file_says(name, made, images):
    source, twin = made("onnx", name), made("onnx", name, "simulate")
    wanted = as_written(source.path, [{"images": images}])[0][0]
    assert relative_error(as_written(twin.path, [{"images": images}])[0][0], wanted) < 1e-6
    operators = {node.op_type for node in onnx.load(twin.path).graph.node}
    assert not any("Linear" in name for name in operators)
    assert {tensor.data_type for tensor in onnx.load(twin.path).graph.initializer} <= {1, 7}  # float, int64
    for engine in ("onnxruntime", "openvino"):
        run = BACKENDS[engine]().load(twin, Placement()).run({"images": images})[0]
        assert relative_error(run, wanted) < 0.01
    assert twin.state == FakeQuant(source.state.scheme)
    assert not [note for note in twin.notes if "saturation" in note.what]


def test_the_twin_of_an_ir_says_what_the_ir_says(made, images):
    source, twin = made("openvino", "nncf_int8"), made("openvino", "nncf_int8", "simulate")
    wanted = simulated_outputs(source.path, [{"images": images}])[0][0]
    run = BACKENDS["openvino"]().load(twin, Placement()).run({"images": images})[0]
    assert relative_error(run, wanted) < 1e-5
    kinds = {node.get_type_name() for node in runtime().Core().read_model(str(twin.path)).get_ordered_ops()}
    assert "FakeQuantize" not in kinds
    assert {weight.bits for weight in ir_weights(twin.path)} == {32}


def test_codes_without_zero_points(qdq, tmp_path):
    def change(nodes, _):
        for node in nodes:
            if node.op_type.endswith("Linear"):
                del node.input[2:]

    x = np.array([[-3, 1], [2, 0.75]], "f4")
    twin = STRATEGIES["simulate"]().apply(qdq(change), NO_DATA, tmp_path)
    # unsigned from 0 on in steps of 0.5: (0, 1) and (2, 1, as 1.5 steps go to the even 2)
    # (1, -2) (1.5, 2) with biases of 1: -1 -> 0, 3; 1, 6
    assert as_written(twin.path, [{"x": x}])[0][0].tolist() == [[0, 3], [1, 6]]


CHAIN = r'chain = \[\{ use = "static_int8" \}, \{ use = "(simulate|to_ir)" \}\]'


@pytest.mark.parametrize("name", ["simulate", "to_ir"])
@pytest.mark.parametrize(("state", "words"), [
    (Float(), "this one is float"),
    (Quantized(Scheme(8, None, "per_group")), "weights alone are rounded"),
    (Quantized(Scheme(8, 8, "per_tensor", dynamic=True)), "dynamic"),
])  # fmt: skip
def test_other_states_are_refused_at_planning(name, state, words):
    with pytest.raises(DoesNotFit, match=f"{words}(.|\n)*{CHAIN}"):
        STRATEGIES[name]().state(state)


def test_what_is_simulated_already_is_refused_at_planning():
    with pytest.raises(DoesNotFit, match="already\n  fix: leave simulated = true out, .* simulated already"):
        STRATEGIES["simulate"]().state(FakeQuant(INT8.scheme))
    with pytest.raises(DoesNotFit, match=f"this one is fake_quant\n  fix: .*{CHAIN}"):
        STRATEGIES["to_ir"]().state(FakeQuant(INT8.scheme))


def in_float(nodes, _):
    nodes[:] = [helper.make_node("Relu", ["x"], ["y"])]


@pytest.mark.parametrize("name", ["simulate", "to_ir"])
def test_a_file_without_integers_is_refused_by_the_kinds_it_has(name, qdq, tmp_path):
    with pytest.raises(DoesNotFit, match=rf"there are none \(found: Relu x1\)(.|\n)*{CHAIN}"):
        STRATEGIES[name]().apply(qdq(in_float), NO_DATA, tmp_path)


def test_an_ir_without_rounding_is_refused_by_the_kinds_it_has(in_format, tmp_path):
    from dataclasses import replace

    source = replace(in_format("openvino"), state=INT8)
    with pytest.raises(DoesNotFit, match=r"there is none \(found: (.|\n)*Convolution x2(.|\n)*nncf_int8"):
        STRATEGIES["simulate"]().apply(source, NO_DATA, tmp_path)


# --- the same integers as an IR ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["static_int8", "nncf_int8"])
def test_the_ir_has_the_same_integers_and_answers(name, made, images):
    source, product = made("onnx", name), made("onnx", name, "to_ir")
    wanted = as_written(source.path, [{"images": images}])[0][0]
    run = BACKENDS["openvino"]().load(product, Placement()).run({"images": images})[0]
    assert relative_error(run, wanted) < 0.01
    step = (
        1.01 / 255 if name == "static_int8" else 1e-5
    )  # its outputs are rounded: a half may fall either way
    assert relative_error(simulated_outputs(product.path, [{"images": images}])[0][0], wanted) < step
    assert [weight.bits for weight in ir_weights(product.path) if weight.multiplied] == [8, 8, 8]
    assert prove(product).failure is None
    assert (product.format, product.state) == ("openvino", source.state)


def test_a_conversion_that_widened_the_weights_is_found_out(made, tmp_path):
    four = made("onnx", "nncf_int8")
    folder = tmp_path / "four"
    folder.mkdir()
    four = STRATEGIES["requantize"](to="int4").apply(four, NO_DATA, folder)
    with pytest.raises(DoesNotFit, match=r"no weight of this network in 4 bits \(found: 8\)"):
        STRATEGIES["to_ir"]().apply(four, NO_DATA, tmp_path)


@pytest.mark.parametrize(("chain", "engine", "formats", "end"), [
    (("static_int8", "requantize", "to_ir"), "openvino", {"onnx", "openvino"}, "openvino"),
    (("nncf_int8", "simulate"), "openvino", {"onnx", "openvino"}, "openvino"),
    (("static_int8", "simulate"), "onnxruntime", {"onnx"}, "onnx"),
    (("static_int8", "to_ir", "simulate"), "openvino", {"openvino"}, "openvino"),
])  # fmt: skip
def test_the_planner_finds_the_way(chain, engine, formats, end):
    source = Hop("source", Choice("any"), "onnx", Float(), "")
    way = find_way(source, tuple(map(Choice, chain)), Goal(engine, frozenset(formats)), lambda split: None)
    assert [hop.use.name for hop in way if hop.kind == "technique"] == list(chain)
    assert way[-1].gives == end


def test_saving_what_was_written_out_keeps_it(made, tmp_path):
    twin = made("openvino", "nncf_int8", "simulate")
    again = save_ir(runtime().Core().read_model(str(twin.path)), tmp_path)
    assert {weight.bits for weight in ir_weights(again)} == {32}
