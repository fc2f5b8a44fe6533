"""Weight files: what comes back, what is refused, and with which words."""

import copy

import pytest
import torch
from safetensors.torch import load_file, save_file

from qbench.errors import BadFile, CannotWrite
from qbench.models.zoo.networks import SHAPES
from qbench.models.zoo.weight_file import load_weights, save_weights

# One of each architecture, and the last tensor of each: a bias of ten numbers.
LAST = {
    "resnet-digits": "network.classifier.1.bias",
    "mobilenet-cifar10": "classifier.bias",
    "vit-cifar10": "classifier.bias",
}


@pytest.fixture(params=list(LAST))
def name(request):
    return request.param


def network(name, seed=0):
    torch.manual_seed(seed)
    return SHAPES[name].build()


def test_weights_come_back_rounded_to_half_precision_and_statistics_exact(tmp_path, name):
    model, twin = network(name, 0), network(name, 1)
    for key, tensor in model.state_dict().items():
        if key.endswith("running_var"):
            tensor.fill_(1e-9)  # half precision would make it 0
    save_weights(model, tmp_path / "w.safetensors")
    load_weights(twin, tmp_path / "w.safetensors")
    for key, tensor in twin.state_dict().items():
        wanted = model.state_dict()[key]
        assert tensor.dtype == wanted.dtype
        exact = "running" in key or "num_batches" in key
        assert torch.equal(tensor, wanted if exact else wanted.half().float()), key
    save_weights(twin, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "w.safetensors").read_bytes()


def test_a_missing_weight_file_is_answered_with_the_command_that_makes_it(tmp_path, name):
    with pytest.raises(BadFile, match=rf"is missing\n.*qbench\.models\.train {name}"):
        load_weights(network(name), tmp_path / f"{name}.safetensors")


@pytest.mark.parametrize("keep", [0, 5, 0.5, -1])
def test_a_torn_weight_file_is_told_from_a_missing_one(tmp_path, keep, name):
    path = tmp_path / f"{name}.safetensors"
    save_weights(network(name), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(BadFile, match=rf"cannot be read.*\n.*qbench\.models\.train {name}"):
        load_weights(network(name), path)


@pytest.mark.parametrize("change", ["missing", "unknown", "shape"])
def test_the_weights_of_another_network_are_refused_by_name(tmp_path, change, name):
    path = tmp_path / f"{name}.safetensors"
    save_weights(network(name), path)
    kept = load_file(path)
    assert kept[LAST[name]].shape == (10,)
    if change == "missing":
        del kept[LAST[name]]
    elif change == "unknown":
        kept["stranger"] = torch.zeros(1)
    else:
        kept[LAST[name]] = torch.zeros(11)
    save_file(kept, path)
    said = {"missing": "is absent", "unknown": "has no place for it", "shape": r"\(11,\).*\(10,\)"}[change]
    model = network(name)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(BadFile, match=said + r".*1 such"):
        load_weights(model, path)
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize("value", [float("nan"), 1e5])
def test_a_network_that_diverged_is_not_written(tmp_path, value, name):
    model = network(name)
    next(model.parameters()).data.view(-1)[0] = value
    with pytest.raises(BadFile, match="lower learning rate"):
        save_weights(model, tmp_path / "w.safetensors")
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


def test_a_folder_that_cannot_be_made_is_answered(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWrite, match="choose a file"):
        save_weights(network("resnet-digits"), tmp_path / "file" / "w.safetensors")
