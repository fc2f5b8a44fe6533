"""Pruning and distilling as techniques: refusals, notes, training that keeps zeros, and chains after them."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from qbench.backends.base import BACKENDS, Placement
from qbench.cases import FakeQuant, Float, Scheme
from qbench.errors import BadParameter, Diverged, DoesNotFit
from qbench.formats.artifact import Artifact, TensorSpec
from qbench.formats.edges import named
from qbench.models.zoo.mobilenet import MobileNetShape
from qbench.models.zoo.resnet import ResNetShape
from qbench.quant import learning
from qbench.quant.learning import Schedule
from qbench.quant.onnx_layers import read_network
from qbench.quant.qdq_graph import onnx_weights
from qbench.quant.qdq_model import QdqModel
from qbench.quant.refine import zeros_of
from qbench.strategies.base import STRATEGIES, Calibration, Training

PRUNING = ("magnitude_prune", "n_m_prune", "channel_prune", "distill")
NO_DATA = Calibration("", {})


def lessons(images):
    training = Training("images of the tests", len(images), lambda rows, _: {"images": images[rows]})
    return Calibration("images of the tests", {"images": images}, training=training)


def applied(name, source, folder, data=NO_DATA, **parameters):
    folder.mkdir(exist_ok=True)
    return STRATEGIES[name](**parameters).apply(source, data, folder)


def answers(artifact, images):
    return BACKENDS["onnxruntime"]().load(artifact, Placement()).run({artifact.inputs[0].name: images})[0]


def weights(artifact):
    """Return the float weights of convolutions and products, in order."""
    model = read_network(artifact.path, ("Conv", "Gemm"), "the tests")
    held = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    return [held[n.input[1]] for n in model.graph.node if n.op_type in ("Conv", "Gemm")]


def distance(one, two):
    return float(((one - two) ** 2).mean())


@pytest.mark.parametrize(("name", "parameters", "told"), [
    ("magnitude_prune", {"sparsity": 1.0}, "sparsity = 1 is not above 0 and below 1"),
    ("magnitude_prune", {"sparsity": 0.0}, "sparsity = 0 is not above 0 and below 1"),
    ("magnitude_prune", {"sparsity": float("nan")}, "sparsity = nan is not above 0 and below 1"),
    ("magnitude_prune", {"scope": "block"}, "no scope 'block'"),
    ("n_m_prune", {"n": 4, "m": 4}, "n = 4 of m = 4 is not at least 1 and below m"),
    ("n_m_prune", {"n": 0}, "n = 0 of m = 4"),
    ("channel_prune", {"share": -0.1}, "share = -0.1 is not above 0 and below 1"),
    ("channel_prune", {"norm": "l0"}, "no norm 'l0'"),
    ("channel_prune", {"multiple": 0}, "multiple = 0 is below 1"),
    ("distill", {"width": 1.5}, "width = 1.5 is not above 0 and below 1"),
    ("distill", {"epochs": 0}, "epochs = 0 is below 1"),
    *((name, {"epochs": -1}, "epochs = -1 is below") for name in PRUNING),
    *((name, {"learning_rate": 0.0}, "learning_rate = 0 is not above 0") for name in PRUNING),
    *((name, {"batch": 0}, "batch = 0 is below 1") for name in PRUNING),
])  # fmt: skip
def test_a_value_that_cannot_be_is_told_with_those_that_can(name, parameters, told):
    with pytest.raises(BadParameter, match=f"{told}(.|\n)*fix: write ."):
        STRATEGIES[name](**parameters)


@pytest.mark.parametrize(("field", "value"), [
    ("batch", 32), ("learning_rate", 1e-3), ("seed", 3), ("minutes", 2.5),
])  # fmt: skip
@pytest.mark.parametrize("name", ["magnitude_prune", "n_m_prune", "channel_prune"])
def test_how_to_train_is_refused_where_nothing_is_trained(name, field, value):
    words = (
        rf"{name}: {field} = {value:g} says nothing to epochs = 0.*\n  fix: write epochs = 1 beside it, or"
    )
    with pytest.raises(BadParameter, match=words):
        STRATEGIES[name](**{field: value})
    STRATEGIES[name](**{field: value, "epochs": 1})


@pytest.mark.parametrize("name", PRUNING)
def test_only_a_float_network_is_taken(name):
    assert STRATEGIES[name]().state(Float()) == Float()
    with pytest.raises(DoesNotFit, match="put it first"):
        STRATEGIES[name]().state(FakeQuant(Scheme(8, 8, "per_tensor")))


@pytest.mark.parametrize("name", PRUNING)
def test_training_without_examples_is_refused_with_a_way_out(name, in_format, tmp_path):
    with pytest.raises(DoesNotFit, match=r"learns from training examples when epochs = 1(.|\n)*epochs = 0"):
        applied(name, in_format("onnx"), tmp_path / "p", epochs=1)


@pytest.mark.parametrize("name", PRUNING)
def test_a_weight_that_is_no_number_is_refused(name, in_format, images, tmp_path):
    model = onnx.load(in_format("onnx").path)
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    tensor = next(t for t in model.graph.initializer if t.name == conv.input[1])
    array = numpy_helper.to_array(tensor).copy()
    array[0, 0, 0, 0] = np.nan
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    onnx.save(model, tmp_path / "model.onnx")
    source = replace(in_format("onnx"), path=tmp_path / "model.onnx")
    with pytest.raises(DoesNotFit, match=f"{name} cannot rank .*: 1 of its 432 elements are NaN"):
        applied(name, source, tmp_path / "p", lessons(images))


@pytest.mark.parametrize("epochs", [0, 2])
def test_half_of_every_layer_is_zero_before_and_after_training(epochs, in_format, images, tmp_path):
    product = applied("magnitude_prune", in_format("onnx"), tmp_path / "p", lessons(images), epochs=epochs)
    assert [(array == 0).sum() / array.size for array in weights(product)] == [0.5, 0.5, 0.5]
    for array, before in zip(weights(product), weights(in_format("onnx")), strict=True):
        gone, left = np.abs(before[array == 0]), np.abs(before[array != 0])
        assert gone.max() <= left.min()
        assert np.array_equal(array[array != 0], before[array != 0]) == (epochs == 0)
    assert product.notes[0].found.startswith("3,960 of 7,920 weights in 3 layers are 0 (50.0%; 49.6% of all")
    assert len(product.notes) == (2 if epochs else 1)


@pytest.mark.parametrize("epochs", [0, 2])
def test_the_pattern_holds_before_and_after_training(epochs, in_format, images, tmp_path):
    product = applied("n_m_prune", in_format("onnx"), tmp_path / "p", lessons(images), epochs=epochs)
    first, second, third = weights(product)
    assert (first != 0).all()  # three channels in: left alone
    assert ((np.moveaxis(second, 1, -1).reshape(-1, 4) != 0).sum(1) == 2).all()
    assert ((third.reshape(-1, 4) != 0).sum(1) == 2).all()  # stored as (classes, features)
    pruning, alone, *training = product.notes
    assert pruning.found.startswith("2 of every 4 neighbours stay in 2 layers: 3,744 of 7,488 weights are 0")
    assert alone.found.startswith("0 depthwise layers; not divided by 4: ")
    assert alone.found.endswith(" (3)")
    assert len(training) == (1 if epochs else 0)


def test_rows_that_nothing_divides_are_told_with_what_would(in_format, tmp_path):
    with pytest.raises(
        DoesNotFit, match=r"m = 7 divides no row .*they are 3, 16, 288 long.*\n  fix: write m = 3 or 4"
    ):
        applied("n_m_prune", in_format("onnx"), tmp_path / "p", m=7)


def test_channels_leave_the_file_and_its_shapes(in_format, images, tmp_path):
    source = in_format("onnx")
    product = applied("channel_prune", source, tmp_path / "p", share=0.5)
    assert [array.shape for array in weights(product)] == [(8, 3, 3, 3), (16, 8, 3, 3), (10, 16 * 9)]
    assert product.path.stat().st_size < 0.45 * source.path.stat().st_size
    assert answers(product, images).shape == (40, 10)
    assert (product.inputs, product.outputs) == (source.inputs, source.outputs)
    (note,) = product.notes
    assert note.found.startswith(
        "24 of 58 channels (41.4%) are gone, from 2 groups of coupled layers; 1 groups"
    )


def test_a_student_is_half_as_wide_and_answers_as_its_teacher_more_than_untrained(
    in_format, images, tmp_path
):
    wanted = answers(in_format("onnx"), images)
    begun = applied("channel_prune", in_format("onnx"), tmp_path / "begun", share=0.5)
    student = applied("distill", in_format("onnx"), tmp_path / "p", lessons(images), epochs=30, batch=8)
    assert [array.shape for array in weights(student)] == [(8, 3, 3, 3), (16, 8, 3, 3), (10, 16 * 9)]
    assert distance(answers(student, images), wanted) < 0.5 * distance(answers(begun, images), wanted)
    assert [note.what for note in student.notes] == ["student", "training"]
    assert student.notes[1].found.startswith("30 epochs in ")


@pytest.mark.parametrize("name", ["magnitude_prune", "n_m_prune", "channel_prune"])
def test_training_brings_the_answers_nearer(name, in_format, images, tmp_path):
    wanted = answers(in_format("onnx"), images)
    strong = {"magnitude_prune": {"sparsity": 0.8}, "n_m_prune": {"n": 1}, "channel_prune": {"share": 0.5}}
    found = [
        distance(
            answers(
                applied(
                    name, in_format("onnx"), tmp_path / str(len(schedule)), lessons(images),
                    **schedule, **strong[name],
                ),
                images,
            ),
            wanted,
        )
        for schedule in ({"epochs": 0}, {"epochs": 20, "batch": 8, "learning_rate": 2e-3})
    ]  # fmt: skip
    assert found[1] < 0.5 * found[0]


def test_a_killed_run_goes_on_and_ends_the_same(in_format, images, tmp_path, monkeypatch):
    def dies(*done):
        kept(*done)
        if done[3]["epochs"] == 1:
            raise KeyboardInterrupt

    whole = applied(
        "channel_prune", in_format("onnx"), tmp_path / "whole", lessons(images), epochs=3, share=0.5
    )
    kept = learning._save
    with monkeypatch.context() as patch:
        patch.setattr(learning, "_save", dies)
        with pytest.raises(KeyboardInterrupt):
            applied("channel_prune", in_format("onnx"), tmp_path / "a", lessons(images), epochs=3, share=0.5)
    epochs = []
    monkeypatch.setattr(learning, "_save", lambda *done: (epochs.append(done[3]["epochs"]), kept(*done)))
    again = applied("channel_prune", in_format("onnx"), tmp_path / "b", lessons(images), epochs=3, share=0.5)
    assert epochs == [2, 3]
    for one, two in zip(weights(whole), weights(again), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_run_that_diverges_is_stopped(in_format, images, tmp_path):
    with pytest.raises(Diverged, match=r"diverged(.|\n)*fix: write learning_rate = 0.0001"):
        applied("distill", in_format("onnx"), tmp_path / "p", lessons(np.full_like(images, np.nan)))


def test_a_network_of_a_fixed_batch_is_trained_with_it(in_format, images, tmp_path):
    data = replace(lessons(images), fixed_batch=4)
    assert STRATEGIES["distill"]()._schedule(data.fixed_batch) == Schedule(4, 1e-3, 4, 0, 0.0)
    seen = []
    take = data.training.take
    training = replace(data.training, take=lambda rows, rng: seen.append(len(rows)) or take(rows, rng))
    applied("distill", in_format("onnx"), tmp_path / "p", replace(data, training=training), epochs=1)
    assert set(seen) == {4}


# --- the zoo's architectures, small and untrained -------------------------------------------------

ARCHITECTURES = {
    "resnet": ResNetShape(16, (16, 32), (1, 2), num_labels=10, side=32),
    "mobilenet": MobileNetShape(16, ((24, 2, 2), (48, 1, 2)), expansion=4, head=64, num_labels=10, side=32),
}
# the rows of every convolution and of the classifier at half the width: 16 stay 8, 24 and 48 become 16 and 24
HALVES = {
    "resnet": [8, 8, 8, 16, 16, 16, 16, 16, 10],
    "mobilenet": [8, 32, 32, 16, 48, 48, 16, 48, 48, 24, 32, 10],
}


@pytest.fixture(scope="module", params=list(ARCHITECTURES))
def architecture(request, tmp_path_factory):
    import torch

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "onnx").mkdir()
    inputs = (TensorSpec("pixel_values", "float32", (None, 3, 32, 32)),)
    outputs = (TensorSpec("logits", "float32", (None, 10)),)
    module = ARCHITECTURES[request.param].build()
    live = Artifact("torch", Float(), inputs, outputs, module=module)
    return request.param, named("to_onnx").convert(named("export").convert(live, folder), folder / "onnx")


def test_an_architecture_of_the_zoo_halves_and_runs(architecture, tmp_path):
    name, source = architecture
    product = applied("channel_prune", source, tmp_path / "p", share=0.5)
    images = np.random.default_rng(0).standard_normal((5, 3, 32, 32)).astype("f4")
    assert sorted(len(array) for array in weights(product)) == sorted(HALVES[name])
    assert len(weights(product)) == len(weights(source))
    for engine in ("onnxruntime", "openvino"):
        on = BACKENDS[engine]()
        artifact = product if "onnx" in on.runs else named("to_openvino").convert(product, tmp_path / "ir")
        assert on.load(artifact, Placement()).run({"pixel_values": images})[0].shape == (5, 10)
    before, after = (sum(w.macs for w in onnx_weights(a.path)) for a in (source, product))
    assert after < 0.45 * before


# --- chains ---------------------------------------------------------------------------------------


def test_zeros_survive_what_follows(in_format, images, tmp_path):
    data = lessons(images)
    sparse = applied("magnitude_prune", in_format("onnx"), tmp_path / "sparse", sparsity=0.7)
    product = applied("static_int8", sparse, tmp_path / "int8", data)
    model = QdqModel(onnx.load(product.path))
    before = weights(sparse)
    assert len(model.weights) == len(before)
    for weight, array in zip(model.weights, before, strict=True):
        assert not weight.codes[array == 0].any()
        assert weight.codes[array != 0].any()
    assert product.notes[0].what == "pruning"
    assert distance(answers(product, images), answers(sparse, images)) < 0.1


def test_a_narrow_network_takes_four_bits(in_format, images, tmp_path):
    narrow = applied("channel_prune", in_format("onnx"), tmp_path / "narrow", share=0.5)
    product = applied("ptq", narrow, tmp_path / "int4", lessons(images), weight_bits=4)
    assert product.path.stat().st_size < narrow.path.stat().st_size
    assert distance(answers(product, images), answers(narrow, images)) < 0.1
    assert product.state == STRATEGIES["ptq"](weight_bits=4).state(Float())


def test_zeros_survive_training_that_follows_a_cut(in_format, images, tmp_path):
    sparse = applied("magnitude_prune", in_format("onnx"), tmp_path / "sparse", sparsity=0.7)
    cut = applied("channel_prune", sparse, tmp_path / "cut", share=0.5)
    trained = applied("channel_prune", sparse, tmp_path / "trained", lessons(images), share=0.5, epochs=2)
    begun, ended = (zeros_of(onnx.load(product.path)) for product in (cut, trained))
    assert begun
    for name, places in begun.items():
        np.testing.assert_array_equal(ended[name], places)
