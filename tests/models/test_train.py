"""Training: its augmentation by hand, its resumption, its command line."""

import json

import numpy as np
import pytest

from qbench.models import train


def test_a_shift_of_zero_changes_nothing_and_another_moves_whole_images():
    images = np.arange(2 * 5 * 5 * 3, dtype=np.uint8).reshape(2, 5, 5, 3)
    assert np.array_equal(train.shifted(images, 0, np.random.default_rng(0)), images)
    moved = train.shifted(np.repeat(images, 50, axis=0), 1, np.random.default_rng(0))
    centres = {tuple(image[2, 2]) for image in moved[:50]}
    assert centres == {tuple(images[0, y, x]) for y in (1, 2, 3) for x in (1, 2, 3)}


def test_a_flip_mirrors_whole_images_left_to_right_and_leaves_about_half():
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)  # two rows, three columns, three channels
    mirrored = np.array([[image[0, 2], image[0, 1], image[0, 0]], [image[1, 2], image[1, 1], image[1, 0]]])
    found = train.flipped(np.repeat(image[None], 200, axis=0), np.random.default_rng(0))
    turned = (found == mirrored).all(axis=(1, 2, 3))
    assert (turned | (found == image).all(axis=(1, 2, 3))).all()
    assert 70 < turned.sum() < 130


def test_training_that_was_killed_ends_where_it_would_have(tmp_path, monkeypatch):
    recipe = train.Recipe("digits", epochs=2, batch=200, shift_px=1, flip=True, threads=1)
    straight = train.train("resnet-digits", recipe, tmp_path / "a.safetensors")
    (checkpoint,) = (tmp_path / "cache" / "train").glob("*.pt")
    checkpoint.unlink()
    save = train._save

    def killed(path, epoch, spent_s, *parts):
        save(path, epoch, spent_s + 100, *parts)
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "_save", killed)
    with pytest.raises(KeyboardInterrupt):
        train.train("resnet-digits", recipe, tmp_path / "b.safetensors")
    monkeypatch.setattr(train, "_save", save)
    resumed = train.train("resnet-digits", recipe, tmp_path / "b.safetensors")
    assert resumed["weights_sha256"] == straight["weights_sha256"]
    assert resumed["training_s"] > 100  # the hundred seconds of the epoch before the kill are counted
    assert json.loads((tmp_path / "b.json").read_text()) == json.loads(json.dumps(resumed))


def test_the_command_answers_a_misspelt_name(capsys):
    assert train.main(["resnet-digit"]) == 2
    assert "did you mean 'resnet-digits'" in capsys.readouterr().err


def test_training_on_a_data_set_that_is_not_here_says_how_to_give_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("QBENCH_DATA_CIFAR10", str(tmp_path / "nowhere"))
    assert train.main(["vit-cifar10", "--out", str(tmp_path / "w.safetensors")]) == 2
    assert "pass --data cifar10=PATH" in capsys.readouterr().err
