"""The weight files that are committed: theirs, as good as their page says, and together small enough."""

import hashlib
import json

import pytest

from qbench.data.digits import Digits
from qbench.errors import BadFile
from qbench.models import builtin, train
from qbench.models.base import MODELS
from qbench.models.zoo.networks import SHAPES
from qbench.models.zoo.weight_file import WEIGHTS, load_weights

# What a float network has to reach so that a loss to quantization has room, and where it would be too easy.
# CIFAR-10 is judged on a copy of JPEGs of low quality, which costs about ten points: not published figures.
BETWEEN = {
    "resnet-digits": (0.98, 1.0),
    "resnet-glyphs": (0.85, 0.97),
    "mobilenet-glyphs": (0.85, 0.97),
    "vit-glyphs": (0.85, 0.97),
    "resnet-cifar10": (0.70, 0.90),
    "mobilenet-cifar10": (0.65, 0.90),
    "vit-cifar10": (0.60, 0.90),
}


def page_of(name):
    return json.loads((WEIGHTS / f"{name}.json").read_text())


@pytest.mark.parametrize("name", list(SHAPES))
def test_the_shipped_weights_load_and_their_page_is_theirs(name):
    path = WEIGHTS / f"{name}.safetensors"
    load_weights(SHAPES[name].build(), path)
    page = page_of(name)
    assert page["model"] == name
    assert page["weights_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    least, most = BETWEEN[name]
    assert least <= page["test_accuracy"] <= most
    assert abs(page["test_accuracy"] - page["selection_accuracy"]) < 0.03  # it saw neither


@pytest.mark.parametrize("name", list(SHAPES))
def test_a_page_tells_the_shape_and_the_recipe_that_train_would_take_today(name):
    def told(kept, today):
        """A field that came later may be absent: then it had its default."""
        assert kept.items() <= today.items()
        blank = type(train.RECIPES[name])("any", epochs=1)
        for field in today.keys() - kept.keys():
            assert today[field] == getattr(blank, field, True), field

    page = page_of(name)
    told(page["recipe"], json.loads(json.dumps(train.described(train.RECIPES[name]))))
    told(page["shape"], json.loads(json.dumps(train.described(SHAPES[name]))))


def test_no_weight_file_is_without_a_network_and_all_of_them_are_small():
    assert {path.stem for path in WEIGHTS.iterdir()} == set(SHAPES)
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) <= 20e6
    assert all(path.stat().st_size < 6.5e6 for path in WEIGHTS.iterdir())


def test_the_shipped_digits_network_scores_what_its_page_says():
    model = MODELS["resnet-digits"].load().module
    test = Digits().examples("test")
    assert train.accuracy(model, test) == pytest.approx(page_of("resnet-digits")["test_accuracy"], abs=0.01)


def test_content_changes_with_the_weights_and_a_missing_file_is_answered(tmp_path, monkeypatch):
    model = MODELS["resnet-digits"]
    before = model.content()
    monkeypatch.setattr(builtin, "WEIGHTS", tmp_path)
    with pytest.raises(
        BadFile, match=r"resnet-digits cannot be read.*\n.*qbench\.models\.train resnet-digits"
    ):
        model.content()
    shipped = (WEIGHTS / "resnet-digits.safetensors").read_bytes()
    (tmp_path / "resnet-digits.safetensors").write_bytes(shipped)
    assert model.content() == before
    (tmp_path / "resnet-digits.safetensors").write_bytes(shipped + b" ")
    assert model.content() != before
