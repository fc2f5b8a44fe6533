"""Static int8: its parameters, its ranges against the library's own, and what it says of saturation."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qbench.backends.base import BACKENDS, Placement
from qbench.cases import Float, Quantized, Scheme
from qbench.errors import BadParameter, DoesNotFit
from qbench.formats.artifact import Artifact, Note
from qbench.formats.proof import prove
from qbench.quant.compact import compact
from qbench.strategies.base import STRATEGIES, Calibration, Selection

StaticInt8 = STRATEGIES["static_int8"]
OBSERVERS = ["minmax", "entropy", "percentile", "mse"]
RNG = np.random.default_rng(0)


@pytest.fixture
def quantized(in_format, images, tmp_path):
    """Return a function: parameters to the small network's quantized form."""
    number = iter(range(99))

    def give(source=None, data=images, **parameters):
        folder = tmp_path / str(next(number))
        folder.mkdir()
        calibration = data if isinstance(data, Calibration) else Calibration("images", {"images": data})
        return StaticInt8(**parameters).apply(source or in_format("onnx"), calibration, folder)

    return give


def stored(artifact):
    graph = onnx.load(artifact.path).graph
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def answers(artifact, images):
    return BACKENDS["onnxruntime"]().load(artifact, Placement()).run({"images": images})[0]


# --- parameters -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("parameters", "words"), [
    ({"observer": "maxmin"}, r"no observer 'maxmin'\n  fix: write observer = \"minmax\" or \"entropy\" or"),
    ({"activation_bits": 4}, r"no activation_bits 4\n  fix: write activation_bits = 8 or 16"),
    ({"scheme": "u8u8"}, r"no scheme 'u8u8'\n  fix: write scheme = \"u8s8\" or \"s8s8\""),
    ({"percentile": 0.9999}, r"0.9999 is not above 50 and below 100\n  fix: write percentile = 99.99"),
    ({"percentile": 100.0, "observer": "percentile"}, r"100 is not above 50 and below 100"),
    ({"percentile": 99.0, "observer": "mse"}, r"says nothing to observer 'mse'\n  fix: write observer = "),
    ({"symmetric": True}, r"zero point 0, .* u8s8\n  fix: write scheme = \"s8s8\""),
    ({"observer": "entropy", "activation_bits": 16}, r"more levels .*\n  fix: write observer = \"minmax\""),
])  # fmt: skip
def test_a_value_that_cannot_be_is_told_with_one_that_can(parameters, words):
    with pytest.raises(BadParameter, match=words):
        StaticInt8(**parameters)


def test_the_state_tells_the_bits_and_the_granularity():
    assert StaticInt8().state(Float()) == Quantized(Scheme(8, 8, "per_channel"))
    assert StaticInt8(per_channel=False, activation_bits=16).state(Float()) == Quantized(
        Scheme(8, 16, "per_tensor")
    )


# --- ranges -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("per_channel", [True, False])
def test_minmax_is_what_the_library_alone_makes_of_the_same_data(
    per_channel, quantized, in_format, images, tmp_path
):
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        batches = Calibration("", {"images": images}).in_batches(16)

        def get_next(self):
            return next(self.batches, None)

    quantize_static(
        str(in_format("onnx").path),
        str(tmp_path / "its.onnx"),
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=per_channel,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    ours = stored(quantized(per_channel=per_channel))
    library = compact(onnx.load(tmp_path / "its.onnx"))  # it repeats itself, we do not
    its = {t.name: numpy_helper.to_array(t) for t in library.graph.initializer}
    # its last product is rounded, where nothing takes integers any more; ours gives floats
    assert its.keys() - ours.keys() == {"scores_scale", "scores_zero_point"}
    assert ours.keys() <= its.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(array, its[name], err_msg=name)


@pytest.mark.parametrize("observer", OBSERVERS)
@pytest.mark.parametrize("more", [{}, {"scheme": "s8s8"}, {"scheme": "s8s8", "symmetric": True}], ids=str)
def test_the_answers_stay_close(observer, more, quantized, in_format, images):
    before = answers(in_format("onnx"), images)
    after = answers(quantized(observer=observer, **more), images)
    error = np.sqrt(((after - before) ** 2).mean() / (before**2).mean())
    assert 0 < error < (0.2 if observer == "entropy" else 0.04)


@pytest.mark.parametrize("observer", ["minmax", "mse"])
def test_sixteen_bits_come_closer_than_eight(observer, quantized, in_format, images):
    before = answers(in_format("onnx"), images)
    eight, sixteen = (
        np.abs(answers(quantized(observer=observer, activation_bits=bits), images) - before).mean()
        for bits in (8, 16)
    )
    assert sixteen < 0.8 * eight  # the weights keep their eight


def test_signed_activations_are_the_same_grid_moved_by_128(quantized, images):
    unsigned, signed = quantized(), quantized(scheme="s8s8")
    for name, array in stored(unsigned).items():
        moved = stored(signed)[name]
        if array.dtype == np.uint8:
            assert (moved.dtype, int(array) - 128) == (np.int8, int(moved))
        else:
            np.testing.assert_array_equal(moved, array)
    np.testing.assert_allclose(answers(signed, images), answers(unsigned, images), atol=1e-5)


def test_symmetric_activations_have_the_zero_point_0(quantized):
    found = stored(quantized(scheme="s8s8", symmetric=True))
    zeros = [array for name, array in found.items() if name.endswith("_zero_point")]
    assert zeros
    assert all((array == 0).all() for array in zeros)


def test_a_reduced_range_is_seven_bits_of_weights(quantized):
    def widest(artifact):
        codes = [a for n, a in stored(artifact).items() if a.dtype == np.int8 and a.ndim > 1]
        assert len(codes) == 3
        return max(int(np.abs(a.astype(int)).max()) for a in codes)

    assert (widest(quantized()), widest(quantized(reduce_range=True))) == (127, 64)


# --- data -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("observer", OBSERVERS)
def test_one_example_will_do(observer, quantized, images):
    assert np.isfinite(answers(quantized(observer=observer, data=images[:1]), images)).all()


def test_data_that_is_no_number_is_refused_by_the_inputs_name(quantized, images):
    bad = images.copy()
    bad[7, 0, 3, 3] = np.nan
    with pytest.raises(DoesNotFit, match=r"input 'images': 1 of its 40 examples .* number 7\n  fix: repair"):
        quantized(data=bad)


def test_no_data_is_refused(quantized, images):
    with pytest.raises(DoesNotFit, match="there is none"):
        quantized(data=images[:0])


def test_the_batch_that_it_goes_by_changes_nothing(quantized, images):
    by_five = Calibration("images", {"images": images}, fixed_batch=5)
    for observer in OBSERVERS:
        usual, other = (
            stored(quantized(observer=observer)),
            stored(quantized(observer=observer, data=by_five)),
        )
        for name, array in usual.items():
            np.testing.assert_allclose(other[name], array, rtol=1e-5, err_msg=name)


# --- what is written --------------------------------------------------------------------------------


def written(path, nodes, weights, shape):
    values = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("images", shape), ("y", None))
    ]
    arrays = [numpy_helper.from_array(array.astype("f4"), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "network", values[:1], values[1:], arrays)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    return Artifact("onnx", Float(), (), (), path=path)


def operators(artifact):
    return [node.op_type for node in onnx.load(artifact.path).graph.node]


def residual(path):
    """Make a residual network: its normalization unfolded, pooled, and two branches joined by Concat."""
    node = helper.make_node
    norm = ["scale", "shift", "mean", "variance"]
    nodes = [
        node("Conv", ["images", "w1"], ["c1"], pads=[1] * 4),
        node("BatchNormalization", ["c1", *norm], ["n1"]),
        node("Relu", ["n1"], ["r1"]),
        node("MaxPool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["p1", "w2"], ["c2"], pads=[1] * 4),
        node("Add", ["c2", "p1"], ["a"]),
        node("Relu", ["a"], ["r2"]),
        node("Concat", ["r2", "p1"], ["j"], axis=1),
        node("Conv", ["j", "w3"], ["c3"]),
        node("GlobalAveragePool", ["c3"], ["g"]),
        node("Flatten", ["g"], ["y"]),
    ]
    weights = {"w1": (8, 3, 3, 3), "w2": (8, 8, 3, 3), "w3": (4, 16, 1, 1)}
    arrays = {name: RNG.standard_normal(shape) * 0.3 for name, shape in weights.items()}
    arrays |= {"scale": 10.0 ** RNG.uniform(-2, 2, 8), "shift": np.zeros(8), "mean": np.zeros(8)}
    arrays["variance"] = np.ones(8)
    return written(path, nodes, arrays, ["n", 3, 8, 8])


def test_normalization_is_folded_and_the_integer_kernels_chain(quantized, images, tmp_path):
    source = residual(tmp_path / "float.onnx")
    artifact = quantized(source)
    assert "BatchNormalization" not in operators(artifact)
    session = BACKENDS["onnxruntime"]().load(artifact, Placement())
    ran = {line.what.split()[1] for line in session.prove({"images": images[:1]}).evidence}
    assert {"QLinearConv", "QLinearAdd", "QLinearConcat", "QLinearGlobalAveragePool"} <= ran
    assert ran.isdisjoint({"Conv", "Add", "Relu", "Concat", "GlobalAveragePool"})
    assert prove(artifact).failure is None
    before, after = answers(source, images), answers(artifact, images)
    assert np.abs(after - before).max() < 0.05 * np.ptp(before)


def test_softmax_and_layer_normalization_stay_in_float(quantized, tmp_path):
    node = helper.make_node
    nodes = [
        node("MatMul", ["images", "w1"], ["m1"]),
        node("LayerNormalization", ["m1", "scale", "shift"], ["l"]),
        node("MatMul", ["l", "w2"], ["m2"]),
        node("Softmax", ["m2"], ["y"]),
    ]
    arrays = {"w1": RNG.standard_normal((8, 16)), "w2": RNG.standard_normal((16, 5))}
    arrays |= {"scale": np.ones(16), "shift": np.zeros(16)}
    source = written(tmp_path / "float.onnx", nodes, arrays, ["n", 3, 8, 8])
    graph = onnx.load(quantized(source).path).graph
    kinds = {node.op_type: node for node in graph.node}
    assert kinds["LayerNormalization"].input[1] == "scale"
    assert kinds["Softmax"].output[0] == "y"
    assert (
        operators(quantized(source)).count("QuantizeLinear") == 2
    )  # what each product takes; floats come out


def test_an_overflow_inside_the_network_is_named(quantized, tmp_path):
    nodes = [
        helper.make_node("MatMul", ["images", "w"], ["m"]),
        helper.make_node("MatMul", ["m", "w"], ["y"]),
    ]
    source = written(tmp_path / "float.onnx", nodes, {"w": np.full((8, 8), 1e25)}, ["n", 3, 8, 8])
    with pytest.raises(DoesNotFit, match=r"'y': on finite calibration data it is NaN or infinite"):
        quantized(source)


# --- where the loss is ------------------------------------------------------------------------------


def test_each_observer_is_explained_by_ranges_of_its_own(in_format, images):
    far = images.copy()
    far[::8, 0, 0, 0] = 40  # far out: each cuts it off elsewhere, and minmax nowhere
    data = Calibration("images", {"images": far}, selection=Selection("more", {"images": images}))

    def noise(**parameters):
        found = StaticInt8(**parameters).explain(in_format("onnx"), data)
        return tuple(loss.snr_db for loss in found.layers)

    found = {name: noise(observer=name) for name in OBSERVERS}
    assert len(set(found.values())) == len(OBSERVERS)
    assert found["percentile"] != noise(observer="percentile", percentile=99.0)


# --- saturation -------------------------------------------------------------------------------------


def note_of(artifact):
    (note,) = (note for note in artifact.notes if note.what == "saturation on x86 without VNNI")
    return note


def test_saturation_is_found_out_and_warned_of(quantized, in_format):
    mine = Note("mine", "kept")
    artifact = quantized(replace(in_format("onnx"), notes=(mine,)))
    note = note_of(artifact)
    assert note.warns
    assert note.found.endswith(" of 3 layers on 8 calibration examples")
    assert artifact.notes[0] == mine


@pytest.mark.parametrize(
    "more", [{}, {"per_channel": False}, {"scheme": "s8s8"}, {"observer": "mse"}], ids=str
)
def test_seven_bits_of_weights_never_saturate(more, quantized):
    note = note_of(quantized(reduce_range=True, **more))
    assert not note.warns
    assert note.found.startswith("0.000 % of pair sums in 0 of 3 layers")


def test_sixteen_bit_activations_have_no_such_kernels(quantized):
    assert quantized(activation_bits=16).notes == ()
