"""ptq: its parameters, what its file holds, and what it says when it cannot."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qbench.backends.base import BACKENDS, Placement
from qbench.cases import FakeQuant, Float, Quantized, Scheme
from qbench.errors import BadParameter, DoesNotFit
from qbench.formats.artifact import Artifact
from qbench.formats.proof import prove
from qbench.strategies.base import STRATEGIES, Calibration, Selection

PostTraining = STRATEGIES["ptq"]


@pytest.fixture
def applied(in_format, images, tmp_path):
    """Return a function: parameters to the small network's product."""

    def give(source=None, data=images, **parameters):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        calibration = data if isinstance(data, Calibration) else Calibration("images", {"images": data})
        return PostTraining(**parameters).apply(source or in_format("onnx"), calibration, folder)

    return give


def answers(artifact, images):
    return BACKENDS["onnxruntime"]().load(artifact, Placement()).run({"images": images})[0]


def stored(artifact):
    return {t.name: t for t in onnx.load(artifact.path).graph.initializer}


@pytest.mark.parametrize(("parameters", "words"), [
    ({"weight_bits": 5}, r"ptq has no weight_bits 5\n  fix: write weight_bits = 8 or 6 or 4 or 3 or 2"),
    ({"activation_bits": 7}, r"no activation_bits 7\n  fix: write activation_bits = 32 or 16 or 8 or 6 or 4"),
    ({"observer": "maxmin"}, r"no observer 'maxmin'\n  fix: write observer = \"mse\" or \"minmax\" or"),
    ({"weight_observer": "entropy"}, r"no weight_observer 'entropy'\n  fix: write weight_observer = \"mse\""),
    ({"rounding": "stochastic"}, r"no rounding 'stochastic'\n  fix: write rounding = \"nearest\" or"),
    ({"granularity": "per_row"}, r"no granularity 'per_row'\n  fix: write granularity = \"per_channel\" or"),
    ({"percentile": 0.999}, r"0.999 is not above 50 and below 100\n  fix: write percentile = 99.99"),
    ({"percentile": 100.0}, r"percentile = 100 is not"),
    ({"percentile": 99.0}, r"percentile = 99 says nothing to observer 'mse'\n  fix: write observer = \"perc"),
    ({"observer": "entropy", "activation_bits": 16}, r"16 bits have more levels .*\n  fix: write observer"),
    ({"granularity": "per_group"}, r"\"per_group\" with group_size = 0\n  fix: .* group_size = 32 together"),
    ({"group_size": 32}, r"granularity = \"per_channel\" with group_size = 32\n  fix: leave both out; or"),
    ({"group_size": -8}, r"granularity = \"per_channel\" with group_size = -8\n  fix: leave both out; or"),
    ({"activation_bits": 32, "observer": "minmax"}, r"\"minmax\" says nothing to activation_bits = 32, .*\n  "
     "fix: write activation_bits = 8 beside it, or leave observer out"),
    ({"activation_bits": 32, "observer": "percentile", "percentile": 99.0}, "\"percentile\" says nothing to"),
    ({"lean": True, "weight_bits": 3}, r"lean = true says .*weight_bits = 3, .*\n  fix: write weight_b"),
    ({"lean": True, "activation_bits": 4}, r"lean = true says .* activation_bits = 4, .*\n .*leave lean out"),
    ({"lean": True, "symmetric": False}, "lean = true says .*symmetric = false"),
    ({"lean": True, "granularity": "per_group", "group_size": 8}, "lean = true says .*per_group"),
])  # fmt: skip
def test_a_value_that_cannot_be_is_told_with_one_that_can(parameters, words):
    with pytest.raises(BadParameter, match=words):
        PostTraining(**parameters)


@pytest.mark.parametrize("parameters", [
    {"lean": True}, {"lean": True, "weight_bits": 4, "activation_bits": 16}, {"activation_bits": 32},
    {"observer": "minmax"},
], ids=str)  # fmt: skip
def test_what_has_an_effect_is_taken(parameters):
    PostTraining(**parameters)


@pytest.mark.parametrize(("parameters", "state"), [
    ({}, Quantized(Scheme(8, 8, "per_channel"))),
    ({"weight_bits": 4, "activation_bits": 16}, Quantized(Scheme(4, 16, "per_channel"))),
    ({"granularity": "per_tensor"}, Quantized(Scheme(8, 8, "per_tensor"))),
    ({"weight_bits": 3}, FakeQuant(Scheme(3, 8, "per_channel"))),
    ({"activation_bits": 4}, FakeQuant(Scheme(8, 4, "per_channel"))),
    ({"activation_bits": 32}, FakeQuant(Scheme(8, None, "per_channel"))),
    ({"symmetric": False}, FakeQuant(Scheme(8, 8, "per_channel"))),
    ({"granularity": "per_group", "group_size": 9}, FakeQuant(Scheme(8, 8, "per_group"))),
    ({"keep_ends": True}, Quantized(Scheme(8, 8, "per_channel"))),  # nothing has fewer bits than the ends
    ({"keep_ends": True, "weight_bits": 4}, Quantized(Scheme(8, 8, "per_channel", mixed=True))),
    ({"keep_ends": True, "weight_bits": 4, "activation_bits": 16},
     Quantized(Scheme(8, 16, "per_channel", mixed=True))),
    ({"keep_ends": True, "weight_bits": 2, "activation_bits": 32},
     FakeQuant(Scheme(8, None, "per_channel", mixed=True))),
    ({"keep_ends": True, "activation_bits": 4}, FakeQuant(Scheme(8, 8, "per_channel", mixed=True))),
])  # fmt: skip
def test_the_state_tells_the_bits_and_whether_they_are_deployed(parameters, state):
    assert PostTraining(**parameters).state(Float()) == state


def test_a_quantized_network_is_refused():
    with pytest.raises(DoesNotFit, match="put it first"):
        PostTraining().state(Quantized(Scheme(8, 8, "per_channel")))


@pytest.mark.parametrize("parameters", [
    {}, {"weight_bits": 4}, {"weight_bits": 4, "activation_bits": 16, "bias_correction": True},
    {"granularity": "per_tensor"},
], ids=str)  # fmt: skip
def test_what_is_deployed_holds_its_bits_and_answers_as_the_network(parameters, applied, in_format, images):
    product = applied(**parameters)
    assert isinstance(product.state, Quantized)
    error = answers(product, images) - answers(in_format("onnx"), images)
    assert 0 < np.sqrt((error**2).mean() / (answers(in_format("onnx"), images) ** 2).mean()) < 0.2
    packed = [name for name, t in stored(product).items() if t.data_type == TensorProto.INT4]
    assert len(packed) == (3 if parameters.get("weight_bits") == 4 else 0)
    assert prove(product).failure is None


def test_ends_that_are_kept_are_said_in_the_state_the_proof_and_a_note(applied):
    product = applied(weight_bits=4, keep_ends=True)
    proof = prove(product)
    assert proof.failure is None
    found = {m.metric: m.samples[0] for m in proof.measurements}
    assert found["covered_macs"] == found["model_macs"]  # 8 bits and 4: all that the state says
    told = {evidence.what: evidence.found for evidence in proof.evidence}
    assert (told["Conv with 4-bit weights"], told["Conv with 8-bit weights"]) == ("1", "1")
    assert told["Gemm with 8-bit weights"] == "1"
    (note,) = product.notes
    assert (note.what, note.found) == ("layers kept at 8 bits", "2 of 3, the first and the last")


def test_activations_that_stay_wide_are_counted_in_a_note(applied):
    # images stay, two Relus and what is flat are narrow; the last layer reads what is flat, which
    # has its scale from the second Relu
    (note,) = applied(activation_bits=4).notes
    assert (note.what, note.found) == ("activations that stay at 8 bits", "1 of 4")
    ends = {note.what: note.found for note in applied(activation_bits=4, keep_ends=True, weight_bits=4).notes}
    assert ends["activations that stay at 8 bits"] == "3 of 4"


def test_ends_that_are_all_there_is_are_refused(applied, tmp_path):
    nodes = [helper.make_node("Gemm", ["images", "v"], ["h"]), helper.make_node("Gemm", ["h", "w"], ["y"])]
    weights = [(np.ones((4, 9), "f4"), "v"), (np.ones((9, 2), "f4"), "w")]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size])
        for name, size in (("images", 4), ("y", 2))
    ]
    stored = [numpy_helper.from_array(array, name) for array, name in weights]
    graph = helper.make_graph(nodes, "network", values[:1], values[1:], stored)
    path = tmp_path / "float.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    source = Artifact("onnx", Float(), (), (), path=path)
    with pytest.raises(DoesNotFit, match=r"keeps all 2 layers of .* at 8 bits\n  fix: leave keep_ends out"):
        applied(source, np.ones((3, 4), "f4"), weight_bits=4, keep_ends=True)
    applied(source, np.ones((3, 4), "f4"), keep_ends=True)  # at 8 bits nothing was asked that none has


def test_four_bits_take_half_the_bytes_of_eight(applied):
    eight, four = (
        sum(len(t.raw_data) for t in stored(applied(weight_bits=bits)).values() if len(t.dims) > 1)
        for bits in (8, 4)
    )
    assert four == eight / 2 == (3 * 16 * 9 + 16 * 32 * 9 + 32 * 9 * 10) / 2


def test_what_is_simulated_has_no_integer_in_it(applied):
    model = onnx.load(applied(weight_bits=2, activation_bits=4).path)
    assert not {node.op_type for node in model.graph.node} & {"QuantizeLinear", "DequantizeLinear"}
    assert not [
        t.name for t in model.graph.initializer if t.data_type in (TensorProto.INT8, TensorProto.UINT8)
    ]


@pytest.mark.parametrize("parameters", [
    {}, {"weight_bits": 2, "keep_ends": True}, {"granularity": "per_tensor", "symmetric": False},
    {"granularity": "per_group", "group_size": 3},
], ids=str)  # fmt: skip
def test_weights_alone_are_rounded_without_data(parameters, applied, in_format, images):
    product = applied(data=Calibration("", {}), activation_bits=32, **parameters)
    assert prove(product).failure is None
    assert np.abs(answers(product, images) - answers(in_format("onnx"), images)).max() > 0
    beside = applied(activation_bits=6, **parameters)  # simulated too: its weights are in the file as floats
    alone, others = (
        {numpy_helper.to_array(t).tobytes() for t in stored(one).values() if len(t.dims) > 1}
        for one in (product, beside)
    )
    assert len(alone & others) == 3


def test_weights_alone_are_explained_without_data(in_format, images):
    given = Calibration("", {}, selection=Selection("more images", {"images": images}))
    found = PostTraining(weight_bits=2, activation_bits=32).explain(in_format("onnx"), given)
    assert len(found.layers) == 3


def test_corrected_biases_are_counted_in_a_note(applied):
    assert not applied().notes
    (note,) = applied(bias_correction=True).notes
    assert (note.what, note.found) == ("biases corrected", "3")


def test_the_group_size_must_divide_the_rows_of_all_layers(applied):
    for size, row, name in ((8, 27, "0.weight"), (27, 144, "2.weight")):
        words = (
            rf"size = {size} does not divide a row of {row} weights, of '{name}'\n  fix: .* = 9 or 3, which"
        )
        with pytest.raises(DoesNotFit, match=words):
            applied(granularity="per_group", group_size=size)
    applied(granularity="per_group", group_size=9)


def test_where_no_group_size_divides_all_rows_one_scale_a_channel_does(applied, tmp_path):
    nodes = [helper.make_node("Gemm", ["images", "v"], ["h"]), helper.make_node("Gemm", ["h", "w"], ["y"])]
    weights = [(np.ones((4, 9), "f4"), "v"), (np.ones((9, 2), "f4"), "w")]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size])
        for name, size in (("images", 4), ("y", 2))
    ]
    stored = [numpy_helper.from_array(array, name) for array, name in weights]
    graph = helper.make_graph(nodes, "network", values[:1], values[1:], stored)
    path = tmp_path / "float.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    source = Artifact("onnx", Float(), (), (), path=path)
    with pytest.raises(DoesNotFit, match=r"4 does not .* 9 weights, of 'w'\n  fix: .* = \"per_channel\" and"):
        applied(source, np.ones((3, 4), "f4"), granularity="per_group", group_size=4)


@pytest.mark.parametrize(("data", "words"), [
    ([], r"there is none\n  fix: give one calibration example"),
    ([0, np.nan, 0], r"'images': 1 of its 3 examples hold NaN .*, the first is number 1\n  fix: repair"),
])  # fmt: skip
def test_calibration_that_says_nothing_is_refused(data, words, applied):
    images = np.ones((len(data), 3, 8, 8), "f4") * np.array(data, "f4").reshape(-1, 1, 1, 1)
    with pytest.raises(DoesNotFit, match=words):
        applied(data=images)


def test_one_example_is_enough(applied, images):
    product = applied(data=images[:1], rounding="adaround", bias_correction=True, weight_bits=4)
    assert np.isfinite(answers(product, images)).all()


def test_a_network_of_a_fixed_batch(applied, in_format, images, tmp_path):
    model = onnx.load(in_format("onnx").path)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 8
    del model.graph.value_info[:]
    (tmp_path / "fixed").mkdir()
    onnx.save(model, tmp_path / "fixed" / "model.onnx")
    source = replace(in_format("onnx"), path=tmp_path / "fixed" / "model.onnx")
    data = Calibration("images", {"images": images}, 8)
    product = applied(source, data, weight_bits=4, bias_correction=True)
    free = applied(weight_bits=4, bias_correction=True)
    np.testing.assert_allclose(answers(product, images[:8]), answers(free, images[:8]), atol=0.05)


@pytest.mark.parametrize("facts", [{"alpha": 2.0}, {"beta": 0.25}, {"alpha": 0.5, "beta": 3.0}], ids=str)
@pytest.mark.parametrize("shape", [(5,), (1, 5), (1,)], ids=str)
def test_a_gemm_with_factors_keeps_its_answers(facts, shape, tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"w": rng.standard_normal((6, 5)), "b": rng.standard_normal(shape) * 3}
    ends = [helper.make_tensor_value_info(n, 1, ["n", size]) for n, size in (("images", 6), ("y", 5))]
    tensors = [numpy_helper.from_array(array.astype("f4"), name) for name, array in arrays.items()]
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["images", "w", "b"], ["y"], **facts)], "gemm", ends[:1], ends[1:], tensors
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9),
        tmp_path / "a.onnx",
    )
    source = Artifact("onnx", Float(), (), (), tmp_path / "a.onnx")
    x = rng.standard_normal((64, 6)).astype("f4")
    wanted = x @ arrays["w"].astype("f4") * facts.get("alpha", 1) + arrays["b"] * facts.get("beta", 1)
    for strategy in ("ptq", "static_int8"):
        (tmp_path / strategy).mkdir()
        product = STRATEGIES[strategy]().apply(source, Calibration("x", {"images": x}), tmp_path / strategy)
        assert np.abs(answers(product, x) - wanted).max() < 0.03 * np.ptp(wanted)
