"""Every architecture of the zoo: its shape, its work, its random weights, and what it becomes elsewhere."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import qbench
from qbench.backends.base import BACKENDS, Placement
from qbench.cases import Float
from qbench.data.base import DATASETS
from qbench.formats.artifact import Artifact, TensorSpec
from qbench.formats.edges import named
from qbench.formats.reference import reference_inputs, relative_error
from qbench.models.base import MODELS
from qbench.models.builtin import ZooModel
from qbench.models.train import RECIPES
from qbench.models.zoo.networks import SHAPES, source_digest
from qbench.models.zoo.resnet import ResNetShape
from qbench.models.zoo.vit import ViTShape

ROOT = Path(qbench.__file__).parents[1]
SMALLEST = ["resnet-digits", "mobilenet-cifar10", "vit-cifar10"]  # one of each architecture


def network(name, seed=0):
    torch.manual_seed(seed)
    return SHAPES[name].build()


def work_of(model, pixels):
    """Return the multiply-adds of convolutions and linear layers for these pixels."""
    work = []
    for part in model.modules():
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            part.register_forward_hook(lambda m, _, out: work.append(out.numel() * m.weight[0].numel()))
    model(pixels)
    return sum(work)


@pytest.mark.parametrize("name", list(SHAPES))
def test_a_network_gives_logits_and_nothing_else(name, pixels):
    model = network(name)
    with torch.inference_mode():
        logits = model(pixels(2, SHAPES[name].side))
    assert isinstance(logits, torch.Tensor)
    assert logits.shape == (2, SHAPES[name].num_labels)
    assert not model.training


@pytest.mark.parametrize("name", list(SHAPES))
def test_a_network_fits_its_data_set_and_has_a_recipe(name):
    data = DATASETS[RECIPES[name].dataset]
    assert (SHAPES[name].side, SHAPES[name].side, 3) == data.image_shape
    assert SHAPES[name].num_labels == len(data.classes)
    assert MODELS[name].dataset == RECIPES[name].dataset


def test_every_network_is_in_the_zoo_once():
    zoo = [MODELS[name].name for name in MODELS if isinstance(MODELS[name], ZooModel)]
    assert sorted(zoo) == sorted(SHAPES) == sorted(RECIPES)


def test_the_glyphs_network_has_work_enough_and_few_parameters(pixels):
    model = network("resnet-glyphs")
    assert 35e6 <= work_of(model, pixels(1, 64)) <= 80e6
    assert sum(p.numel() for p in model.parameters()) <= 3e6


def test_the_work_of_a_transformer_is_what_its_shape_says(pixels):
    shape = ViTShape((6,), width=8, layers=2, heads=2, num_labels=5, side=8, widening=3)
    model = shape.build()
    assert shape.tokens == 16  # 8 x 8 pixels, halved once
    stem = 16 * 6 * 3 * 9 + 16 * 8 * 6
    layer = 16 * (4 * 8 * 8 + 2 * 8 * 24)  # query, key, value and output; widened and narrowed
    assert work_of(model, pixels(1, 8)) == stem + 2 * layer + 8 * 5


def test_a_transformer_attends_as_torch_does():
    shape = ViTShape((6,), width=8, layers=1, heads=2, num_labels=5, side=8)
    attention = shape.build().layers[0].attention
    x = torch.randn(3, 16, 8)
    split = [
        part(x).unflatten(2, (2, 4)).transpose(1, 2)
        for part in (attention.query, attention.key, attention.value)
    ]
    wanted = nn.functional.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)
    torch.testing.assert_close(attention(x), attention.output(wanted))


@pytest.mark.parametrize("name", ["mobilenet-glyphs", "mobilenet-cifar10"])
def test_a_mobilenet_filters_each_channel_alone(name):
    layers = [part for part in network(name).modules() if isinstance(part, nn.Conv2d)]
    depthwise = [part for part in layers if part.groups == part.in_channels == part.out_channels]
    assert len(depthwise) == sum(blocks for _, blocks, _ in SHAPES[name].stages)
    assert all(part.kernel_size == (3, 3) for part in depthwise)
    others = [part for part in layers if part not in depthwise]
    assert all(part.kernel_size == (1, 1) for part in others[1:])


def test_a_residual_network_without_the_pooling_keeps_twice_the_side(pixels):
    seen = []
    for pool in (True, False):
        model = ResNetShape(4, (4,), (1,), num_labels=3, side=32, pool=pool).build()
        model.network.resnet.embedder.register_forward_hook(lambda *call: seen.append(call[2].shape[-1]))
        model(pixels(1))
    assert seen == [8, 16]


@pytest.mark.parametrize("name", SMALLEST)
def test_a_seed_gives_the_same_weights_and_another_one_others(name):
    first, again, other = (network(name, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_the_digest_of_a_network_changes_with_its_shape_and_its_architecture():
    small, deep = (ResNetShape(4, (4,), (depth,), num_labels=3, side=32) for depth in (1, 2))
    assert source_digest(small) == source_digest(ResNetShape(4, (4,), (1,), num_labels=3, side=32))
    assert len({source_digest(shape) for shape in (small, deep, *SHAPES.values())}) == len(SHAPES) + 2


@pytest.mark.parametrize("name", SMALLEST)
def test_a_copy_is_a_network_of_its_own(name):
    model = network(name)
    twin = copy.deepcopy(model)
    next(twin.parameters()).data.zero_()
    assert next(model.parameters()).abs().sum() > 0


def in_onnx(model, shape, folder):
    signature = (
        (TensorSpec("pixel_values", "float32", (None, 3, shape.side, shape.side)),),
        (TensorSpec("logits", "float32", (None, shape.num_labels)),),
    )
    artifact = Artifact("torch", Float(), *signature, module=model)
    return named("to_onnx").convert(named("export").convert(artifact, folder), folder)


@pytest.mark.parametrize(
    "name",
    [name if name in SMALLEST else pytest.param(name, marks=pytest.mark.slow) for name in SHAPES],
)
def test_a_network_says_the_same_in_onnx_for_any_batch(name, tmp_path):
    import onnx

    model = network(name)
    artifact = in_onnx(model, SHAPES[name], tmp_path)
    session = BACKENDS["onnxruntime"]().load(artifact, Placement())
    for count in (1, 3, 8):
        inputs = reference_inputs(artifact.inputs, count)
        with torch.inference_mode():
            wanted = model(torch.from_numpy(inputs["pixel_values"])).numpy()
        assert relative_error(session.run(inputs)[0], wanted) < 1e-4
    kinds = {node.op_type for node in onnx.load(artifact.path).graph.node}
    assert "BatchNormalization" not in kinds  # folded into the convolution before it, as quantizers want it
    if name.startswith("vit"):
        assert {"MatMul", "Softmax", "LayerNormalization"} <= kinds


def test_importing_the_zoo_imports_nothing_heavy():
    code = (
        "import sys, qbench.models.zoo.networks, qbench.models.train, qbench.models.builtin\n"
        "import qbench.models.seeded\n"
        "print([m for m in ('torch', 'transformers', 'safetensors', 'sklearn', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
