"""qat: its parameters, what it learns from, and that it ends in a file."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from qbench.backends.base import BACKENDS, Placement
from qbench.cases import FakeQuant, Float, Quantized, Scheme
from qbench.errors import BadParameter, Diverged, DoesNotFit
from qbench.folders import cache_folder
from qbench.formats.proof import prove
from qbench.quant.learning import checkpoint_key, distance
from qbench.strategies import qat
from qbench.strategies.base import STRATEGIES, Calibration, Training

QuantizationAware = STRATEGIES["qat"]


@pytest.fixture
def applied(in_format, images, tmp_path):
    def give(source=None, data_id="images", take=None, **parameters):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        learn = Training(data_id, len(images), take or (lambda rows, _: {"images": images[rows]}))
        data = Calibration("images", {"images": images}, training=learn)
        return QuantizationAware(**parameters).apply(source or in_format("onnx"), data, folder)

    return give


def answers(artifact, images):
    return BACKENDS["onnxruntime"]().load(artifact, Placement()).run({"images": images})[0]


@pytest.mark.parametrize(("parameters", "words"), [
    ({"weight_bits": 6}, r"qat has no weight_bits 6\n  fix: write weight_bits = 8 or 4 or 3 or 2"),
    ({"activation_bits": 16}, r"no activation_bits 16\n  fix: write activation_bits = 8 or 4"),
    ({"gradients": "int4"}, r"no gradients 'int4'\n  fix: write gradients = \"float\" or \"int8\""),
    ({"epochs": 0}, r"epochs = 0 is below 1\n  fix: write epochs = 1"),
    ({"batch": 0}, "batch = 0 is below 1"), ({"seed": -1}, "seed = -1 is below 0"),
    ({"minutes": -1.0}, "minutes = -1.0 is below 0"),
    ({"learning_rate": 0.0}, r"learning_rate = 0 is not above 0 and at most 1\n  fix: write learning_rate"),
    ({"learning_rate": 1.5}, "learning_rate = 1.5 is not"),
])  # fmt: skip
def test_a_value_that_cannot_be_is_told_with_one_that_can(parameters, words):
    with pytest.raises(BadParameter, match=words):
        QuantizationAware(**parameters)


@pytest.mark.parametrize(("parameters", "state"), [
    ({}, Quantized(Scheme(8, 8, "per_channel"))),
    ({"weight_bits": 4}, Quantized(Scheme(4, 8, "per_channel"))),
    ({"weight_bits": 2}, FakeQuant(Scheme(2, 8, "per_channel"))),
    ({"activation_bits": 4}, FakeQuant(Scheme(8, 4, "per_channel"))),
    ({"keep_ends": True}, Quantized(Scheme(8, 8, "per_channel"))),
    ({"keep_ends": True, "weight_bits": 4}, Quantized(Scheme(8, 8, "per_channel", mixed=True))),
    ({"keep_ends": True, "weight_bits": 2}, FakeQuant(Scheme(8, 8, "per_channel", mixed=True))),
])  # fmt: skip
def test_the_state_tells_the_bits_and_whether_they_are_deployed(parameters, state):
    assert QuantizationAware(**parameters).state(Float()) == state
    with pytest.raises(DoesNotFit, match="put it first"):
        QuantizationAware(**parameters).state(state)


@pytest.mark.parametrize("training", [False, True])
def test_without_examples_to_learn_from_it_is_refused(training, in_format, images, tmp_path):
    learn = Training("none", 0, lambda rows, _: {}) if training else None
    data = Calibration("images", {"images": images}, training=learn)
    with pytest.raises(DoesNotFit, match=r"there are none\n  fix: take ptq"):
        QuantizationAware().apply(in_format("onnx"), data, tmp_path)


@pytest.mark.parametrize("steps", [False, True])
def test_four_bits_are_stored_and_nearer_than_without_training(steps, applied, in_format, images, tmp_path):
    product = applied(weight_bits=4, epochs=30, batch=8, learning_rate=2e-3, learned_steps=steps)
    packed = [t for t in onnx.load(product.path).graph.initializer if t.data_type == TensorProto.INT4]
    assert len(packed) == 3
    assert prove(product).failure is None
    data = Calibration("images", {"images": images})
    (tmp_path / "ptq").mkdir()
    plain = STRATEGIES["ptq"](weight_bits=4).apply(in_format("onnx"), data, tmp_path / "ptq")
    wanted = answers(in_format("onnx"), images)
    given = [torch.from_numpy(answers(one, images)) for one in (plain, product)]
    errors = [distance(own, torch.from_numpy(wanted)).item() for own in given]
    assert errors[1] < 0.8 * errors[0]
    (note,) = product.notes
    assert note.what == "training"
    assert note.found.startswith("30 epochs in ")
    assert not note.warns


def test_ends_that_are_kept_are_said_in_the_state_the_proof_and_a_note(applied):
    product = applied(weight_bits=4, keep_ends=True, epochs=1)
    assert prove(product).failure is None
    found = {note.what: note.found for note in product.notes}
    assert found["layers kept at 8 bits"] == "2 of 3, the first and the last"


def test_a_time_budget_is_told_in_the_note(applied):
    (note,) = applied(epochs=9, minutes=1e-9).notes
    assert note.found.startswith("1 epochs in ")
    assert "stopped by its time budget" in note.found


def test_a_run_that_diverges_is_told_with_a_smaller_rate(applied, images):
    steps = iter(range(100))

    def ends_badly(rows, _):
        return {"images": images[rows] * np.float32(np.nan if next(steps) > 11 else 1)}

    words = r"in epoch 3, step 3.*nan(.|\n)*fix: write learning_rate = 0.01 \(it was 0.1\)"
    with pytest.raises(Diverged, match=words):
        applied(learning_rate=0.1, epochs=4, batch=8, take=ends_badly)


def test_the_checkpoint_changes_with_network_parameters_data_and_code(applied, in_format, monkeypatch):
    keys = []

    def noted(*parts):
        keys.append(checkpoint_key(*parts))
        return keys[-1]

    monkeypatch.setattr(qat, "checkpoint_key", noted)
    for more in ({}, {}, {"learned_steps": True}, {"data_id": "other"}, {"seed": 1}, {"epochs": 1}):
        applied(**more)
    applied(source=in_format("onnx", "bounded activations"))
    monkeypatch.setattr(qat, "__file__", str(in_format("onnx").path))  # other bytes than the strategy's
    applied()
    assert keys[0] == keys[1]
    assert len(set(keys)) == 7
    assert not list(cache_folder().glob("train/*.pt"))


def test_an_operator_that_cannot_be_trained_is_named(applied, in_format, tmp_path):
    model = onnx.load(in_format("onnx").path)
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    relu.op_type = "Hardmax"
    (tmp_path / "hard").mkdir()
    onnx.save(model, tmp_path / "hard" / "model.onnx")
    with pytest.raises(DoesNotFit, match="not cover.*Hardmax"):
        applied(source=replace(in_format("onnx"), path=tmp_path / "hard" / "model.onnx"))


def test_training_begins_where_ptq_ends(applied, in_format, images):
    product = applied(learning_rate=1e-9, epochs=1)
    wanted = answers(in_format("onnx"), images)
    assert np.sqrt(((answers(product, images) - wanted) ** 2).mean() / (wanted**2).mean()) < 0.04
