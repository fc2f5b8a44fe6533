import copy
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import qbench
from qbench.data.base import preprocess
from qbench.data.digits import Digits
from qbench.errors import BadFile, CannotWrite
from qbench.models import resnet, train
from qbench.models.resnet import SHAPES, WEIGHTS, build, load_weights, save_weights

ROOT = Path(qbench.__file__).parents[1]
DIGITS = SHAPES["resnet-digits"]


def network(seed=0, shape=DIGITS):
    torch.manual_seed(seed)
    return build(shape)


def pixels(count, side=32):
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("QBENCH_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", list(SHAPES))
def test_a_network_gives_logits_and_nothing_else(name):
    shape = SHAPES[name]
    model = network(shape=shape)
    with torch.inference_mode():
        logits = model(pixels(2, shape.side))
    assert isinstance(logits, torch.Tensor)
    assert logits.shape == (2, shape.num_labels)
    assert not model.training


def test_the_glyphs_network_has_work_enough_and_few_parameters():
    shape = SHAPES["resnet-glyphs"]
    model = network(shape=shape)
    work = []
    for part in model.modules():
        if isinstance(part, (torch.nn.Conv2d, torch.nn.Linear)):
            part.register_forward_hook(lambda m, _, out: work.append(out.numel() * m.weight[0].numel()))
    model(pixels(1, shape.side))
    assert 35e6 <= sum(work) <= 80e6
    assert sum(p.numel() for p in model.parameters()) <= 3e6


def test_a_copy_is_a_network_of_its_own():
    model = network()
    twin = copy.deepcopy(model)
    next(twin.parameters()).data.zero_()
    assert next(model.parameters()).abs().sum() > 0


def test_a_network_exports_with_any_batch():
    model = network()
    batch = {"pixel_values": {0: torch.export.Dim("batch", min=1, max=64)}}
    program = torch.export.export(model, (pixels(2),), dynamic_shapes=batch)
    with torch.inference_mode():
        torch.testing.assert_close(program.module()(pixels(7)), model(pixels(7)))


def test_weights_come_back_rounded_to_half_precision_and_statistics_exact(tmp_path):
    model, twin = network(0), network(1)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.fill_(1e-9)  # half precision would make it 0
    save_weights(model, tmp_path / "w.safetensors")
    load_weights(twin, tmp_path / "w.safetensors")
    for name, tensor in twin.state_dict().items():
        wanted = model.state_dict()[name]
        assert tensor.dtype == wanted.dtype
        exact = "running" in name or "num_batches" in name
        assert torch.equal(tensor, wanted if exact else wanted.half().float()), name
    save_weights(twin, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "w.safetensors").read_bytes()


def test_a_missing_weight_file_is_answered_with_the_command_that_makes_it(tmp_path):
    with pytest.raises(BadFile, match=r"is missing\n.*qbench\.models\.train resnet-digits"):
        load_weights(network(), tmp_path / "resnet-digits.safetensors")


@pytest.mark.parametrize("keep", [0, 5, 0.5, -1])
def test_a_torn_weight_file_is_told_from_a_missing_one(tmp_path, keep):
    path = tmp_path / "resnet-digits.safetensors"
    save_weights(network(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(BadFile, match=r"cannot be read.*\n.*qbench\.models\.train resnet-digits"):
        load_weights(network(), path)


@pytest.mark.parametrize("change", ["missing", "unknown", "shape"])
def test_the_weights_of_another_network_are_refused_by_name(tmp_path, change):
    path = tmp_path / "resnet-digits.safetensors"
    save_weights(network(), path)
    kept = load_file(path)
    bias = next(name for name in kept if name.endswith("classifier.1.bias"))
    if change == "missing":
        del kept[bias]
    elif change == "unknown":
        kept["stranger"] = torch.zeros(1)
    else:
        kept[bias] = torch.zeros(11)
    save_file(kept, path)
    said = {"missing": "is absent", "unknown": "has no place for it", "shape": r"\(11,\).*\(10,\)"}[change]
    model = network()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(BadFile, match=said + r".*1 such"):
        load_weights(model, path)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("value", [float("nan"), 1e5])
def test_a_network_that_diverged_is_not_written(tmp_path, value):
    model = network()
    next(model.parameters()).data[0] = value
    with pytest.raises(BadFile, match="lower learning rate"):
        save_weights(model, tmp_path / "w.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_answered(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWrite, match="choose a file"):
        save_weights(network(), tmp_path / "file" / "w.safetensors")


@pytest.mark.parametrize("name", list(SHAPES))
def test_the_shipped_weights_load_and_their_page_is_theirs(name):
    path = WEIGHTS / f"{name}.safetensors"
    load_weights(build(SHAPES[name]), path)
    page = json.loads(path.with_suffix(".json").read_text())
    assert page["weights_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    if name == "resnet-glyphs":  # room below to lose and above to be wrong; real digits are simply easy
        assert 0.85 <= page["test_accuracy"] <= 0.97
    assert path.stat().st_size < 6.5e6


def test_the_shipped_digits_network_scores_what_its_page_says():
    model = build(DIGITS)
    load_weights(model, WEIGHTS / "resnet-digits.safetensors")
    page = json.loads((WEIGHTS / "resnet-digits.json").read_text())
    assert train.accuracy(model, Digits().examples("test")) == pytest.approx(page["test_accuracy"], abs=0.01)


def test_a_shift_of_zero_changes_nothing_and_another_moves_whole_images():
    images = np.arange(2 * 5 * 5 * 3, dtype=np.uint8).reshape(2, 5, 5, 3)
    assert np.array_equal(train.shifted(images, 0, np.random.default_rng(0)), images)
    moved = train.shifted(np.repeat(images, 50, axis=0), 1, np.random.default_rng(0))
    centres = {tuple(image[2, 2]) for image in moved[:50]}
    assert centres == {tuple(images[0, y, x]) for y in (1, 2, 3) for x in (1, 2, 3)}


def test_training_that_was_killed_ends_where_it_would_have(tmp_path, monkeypatch):
    recipe = train.Recipe("digits", epochs=2, batch=200, shift_px=1)
    straight = train.train("resnet-digits", recipe, tmp_path / "a.safetensors")
    (checkpoint,) = (tmp_path / "cache" / "train").glob("*.pt")
    checkpoint.unlink()
    save = train._save

    def killed(path, epoch, *parts):
        save(path, epoch, *parts)
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "_save", killed)
    with pytest.raises(KeyboardInterrupt):
        train.train("resnet-digits", recipe, tmp_path / "b.safetensors")
    monkeypatch.setattr(train, "_save", save)
    resumed = train.train("resnet-digits", recipe, tmp_path / "b.safetensors")
    assert resumed["weights_sha256"] == straight["weights_sha256"]


def test_the_command_answers_a_misspelt_name(capsys):
    assert train.main(["resnet-digit"]) == 2
    assert "did you mean 'resnet-digits'" in capsys.readouterr().err


def test_importing_the_network_imports_nothing_heavy():
    code = (
        "import sys, qbench.models.resnet, qbench.models.train\n"
        "print([m for m in ('torch', 'transformers', 'safetensors', 'sklearn', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert resnet.SHAPES  # the module under test is the one of this checkout
    assert preprocess(np.zeros((1, 2, 2, 3), np.uint8)).shape == (1, 3, 2, 2)
