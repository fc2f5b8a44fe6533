"""Raising an operator set: the answers stay, whatever the network is made of."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto as Kind
from onnx import helper, numpy_helper

from qbench.errors import DoesNotFit
from qbench.formats.normalise import normalised, raised
from qbench.quant.graphs import graphs_in
from qbench.quant.opset import opset_of, with_one_standard_domain

X = np.random.default_rng(0).standard_normal((2, 3, 4)).astype("f4")


def value(name, shape, kind=Kind.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def network(nodes, opset, *, stored=None, ir_version=8, inputs=(), output="y", shape=("N", 3, 4), **more):
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in (stored or {}).items()]
    graph = helper.make_graph(
        nodes, "g", [value("x", ["N", 3, 4]), *inputs], [value(output, list(shape))], tensors
    )
    imports = [helper.make_opsetid("", opset), *more.pop("imports", [])]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir_version, **more)


def answers(model, **inputs):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return session.run(None, {"x": X, **inputs})[0]


def node(kind, *inputs, output="y", **attributes):
    return helper.make_node(kind, list(inputs), [output], **attributes)


def flattened_softmax(array):
    """Softmax below 13: everything from the axis on is one row."""
    rows = np.exp(array.reshape(len(array), -1).astype("f8"))
    return (rows / rows.sum(axis=1, keepdims=True)).reshape(array.shape)


def test_softmax_that_flattens_goes_on_flattening():
    model = network([node("Softmax", "x", axis=1)], 11)
    after = raised(model, 21)
    assert opset_of(after) == 21
    np.testing.assert_allclose(answers(after), flattened_softmax(X), rtol=1e-5)
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    copied.opset_import[0].version = 13  # the number alone
    assert np.abs(answers(copied) - flattened_softmax(X)).max() > 0.1


def image(opset, kind, scales, mode):
    """Return a network that resizes X, taken for an image, by scales in a second input."""
    nodes = [
        node("Unsqueeze", "x", output="image", axes=[0]),
        node(kind, "image", "scales", output="y", mode=mode),
    ]
    stored = {"scales": np.array([1, 1, *scales], "f4")}
    return network(nodes, opset, stored=stored, shape=(1, "N", "h", "w"))


@pytest.mark.parametrize("goal", [11, 13, 21])
@pytest.mark.parametrize(
    ("opset", "kind", "scales", "mode"),
    [
        (9, "Upsample", (2, 3), "linear"), (9, "Upsample", (2, 3), "nearest"),
        (10, "Resize", (1.5, 2), "linear"), (10, "Resize", (2.3, 1.7), "nearest"),
        (10, "Resize", (0.7, 0.6), "linear"),
    ],
)  # fmt: skip
def test_what_resizes_goes_on_as_it_did(opset, kind, scales, mode, goal):
    model = image(opset, kind, scales, mode)
    np.testing.assert_allclose(answers(raised(model, goal)), answers(model), atol=1e-6)


def test_places_of_a_resize_by_hand():
    # twice as many: place i / 2, so every second value is one of the old, and the others lie in the middle
    model = image(10, "Resize", (1, 2), "linear")
    given = answers(raised(model, 21))[0, 0, 0]
    row = X[0, 0]
    np.testing.assert_allclose(given[::2], row, rtol=1e-6)
    np.testing.assert_allclose(given[1:-1:2], (row[:-1] + row[1:]) / 2, rtol=1e-5)


def test_an_upsample_whose_scales_come_as_an_input_is_raised():
    model = image(9, "Upsample", (2, 3), "nearest")
    scales = model.graph.initializer.pop()
    model.graph.input.append(value("scales", [4]))
    given = {"scales": numpy_helper.to_array(scales)}
    np.testing.assert_array_equal(answers(raised(model, 21), **given), answers(model, **given))


def test_the_nearest_of_something_smaller_is_refused():
    with pytest.raises(DoesNotFit, match="newer operators have no word for how it did"):
        raised(image(10, "Resize", (1, 0.6), "nearest"), 21)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("goal", [13, 21])
def test_hardmax_that_flattens_goes_on_flattening(axis, goal):
    model = network([node("Hardmax", "x", axis=axis)], 11)
    given = answers(raised(model, goal))
    rows = X.reshape(int(np.prod(X.shape[:axis])), -1)
    wanted = (rows == rows.max(axis=1, keepdims=True)).reshape(X.shape)
    np.testing.assert_array_equal(given, wanted)
    np.testing.assert_array_equal(answers(model), wanted)


def test_bodies_of_control_flow_are_raised_too():
    def branch(name):
        return helper.make_graph(
            [node("Softmax", "x", output=f"o_{name}", axis=1)], name, [], [value(f"o_{name}", ["N", 3, 4])]
        )

    flag = value("flag", [], Kind.BOOL)
    both = {"then_branch": branch("a"), "else_branch": branch("b")}
    model = network([node("If", "flag", **both)], 11, inputs=[flag])
    given = answers(raised(model, 21), flag=np.array(True))
    np.testing.assert_allclose(given, flattened_softmax(X), rtol=1e-5)


def test_functions_of_the_file_are_not_lost():
    own = helper.make_function(
        "own",
        "Flattened",
        ["a"],
        ["b"],
        [node("Softmax", "a", output="b", axis=1)],
        [helper.make_opsetid("", 11)],
    )
    model = network(
        [node("Flattened", "x", domain="own")], 11, functions=[own], imports=[helper.make_opsetid("own", 1)]
    )
    after = raised(model, 18)
    np.testing.assert_allclose(answers(after), flattened_softmax(X), rtol=1e-5)
    assert not after.functions


def test_the_file_format_is_raised_with_the_operators_and_no_stale_shape_stays():
    model = network([node("Softmax", "x", axis=1)], 11, ir_version=6)
    after = raised(model, 21)
    assert after.ir_version >= 10  # 21 has types that older formats lack
    assert not [info for graph in graphs_in(after.graph) for info in graph.value_info]
    assert model.ir_version == 6  # the one given stays as it is
    assert opset_of(model) == 11


def test_stored_tensors_are_no_inputs_afterwards():
    listed = value("w", [4, 4])
    model = network(
        [node("MatMul", "x", "w")], 9, stored={"w": np.eye(4, dtype="f4")}, ir_version=3, inputs=[listed]
    )
    after = raised(model, 13)
    assert [entry.name for entry in after.graph.input] == ["x"]
    np.testing.assert_array_equal(answers(after), X)


def test_what_is_new_enough_is_returned_itself():
    model = network([node("Relu", "x")], 17)
    assert raised(model, 13) is model
    assert raised(model, 17) is model


def test_without_a_conversion_the_reason_is_told():
    # Upsample of 8 with another mode's attribute: no adapter takes it
    model = network([node("Scan", "x", num_scan_inputs=1, body=helper.make_graph([], "b", [], []))], 8)
    with pytest.raises(DoesNotFit, match="operator set 8 and cannot be raised to 13") as found:
        raised(model, 13)
    assert "opset_version=13" in found.value.fix


def test_the_standard_imported_twice_is_imported_once():
    twice = [helper.make_opsetid("ai.onnx", 12), helper.make_opsetid("com.microsoft", 1)]
    model = network([node("Relu", "x", domain="ai.onnx")], 11, imports=twice)
    once = with_one_standard_domain(model)
    assert [(entry.domain, entry.version) for entry in once.opset_import] == [("", 12), ("com.microsoft", 1)]
    assert once.graph.node[0].domain == ""
    assert with_one_standard_domain(once) is once
    assert [(e.domain, e.version) for e in raised(model, 18).opset_import] == [("", 18), ("com.microsoft", 1)]
    assert model.graph.node[0].domain == "ai.onnx"


def test_normalised_is_the_same_network():
    norm = {
        name: np.linspace(low, 2, 3).astype("f4")
        for name, low in zip("sbmv", (0.5, -1, -1, 0.1), strict=True)
    }
    weight = np.random.default_rng(1).standard_normal((3, 3, 1)).astype("f4")
    nodes = [
        node("Conv", "x", "w", output="c"),
        node("BatchNormalization", "c", *"sbmv", output="n"),
        node("Softmax", "n", axis=1),
    ]
    model = network(nodes, 11, stored={"w": weight, **norm})
    after = normalised(model)
    assert opset_of(after) >= 18
    assert "BatchNormalization" not in {n.op_type for n in after.graph.node}
    np.testing.assert_allclose(answers(after), answers(model), rtol=1e-4, atol=1e-6)


def test_what_cannot_be_raised_is_normalised_as_far_as_it_goes():
    twice = [helper.make_opsetid("ai.onnx", 8)]
    model = network(
        [node("Scan", "x", num_scan_inputs=1, body=helper.make_graph([], "b", [], []))], 8, imports=twice
    )
    after = normalised(model)
    assert [(entry.domain, entry.version) for entry in after.opset_import] == [("", 8)]


def test_an_operator_that_the_converter_leaves_and_the_standard_changed_is_refused_by_name():
    body = helper.make_graph([node("Identity", "i", output="o")], "b", [value("i", [4])], [value("o", [4])])
    scan = helper.make_node("Scan", ["", "x"], ["y"], num_scan_inputs=1, body=body)
    with pytest.raises(DoesNotFit, match="Scan means something else from 9 on"):
        raised(network([scan], 8), 13)


def test_a_network_of_other_domains_alone_gets_the_standards_operators_beside_them():
    model = network([helper.make_node("Scaler", ["x"], ["y"], domain="ai.onnx.ml")], 13)
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    after = raised(model, 21)
    assert {(entry.domain, entry.version) for entry in after.opset_import} == {("ai.onnx.ml", 1), ("", 21)}
    assert [entry.domain for entry in model.opset_import] == ["ai.onnx.ml"]
