"""What NNCF is asked for, what it may print, and which networks it is told are transformers."""

import subprocess
import sys

import numpy as np
import pytest

from qbench.backends.base import BACKENDS, Placement
from qbench.cases import Float
from qbench.errors import BadParameter, DoesNotFit
from qbench.formats.artifact import Artifact, TensorSpec
from qbench.formats.edges import named
from qbench.models.base import MODELS
from qbench.quant.nncf_network import attends
from qbench.quant.silent_nncf import silent_nncf
from qbench.strategies.base import STRATEGIES, Calibration

FORMATS = {"openvino": "openvino", "onnx": "onnxruntime"}


def test_a_preset_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(BadParameter, match='no preset \'fast\'(.|\n)*"performance" or "mixed"'):
        STRATEGIES["nncf_int8"](preset="fast")


@pytest.mark.parametrize(("edges", "attention"), [
    ([("MatMul", "Softmax"), ("Softmax", "MatMul")], True),
    ([("Parameter", "ScaledDotProductAttention"), ("ScaledDotProductAttention", "Add")], True),
    ([("MatMul", "Softmax"), ("Softmax", "Result")], False),  # a classifier's last step
    ([("Conv", "Relu")], False),
])  # fmt: skip
def test_attention_is_told_from_a_classifiers_softmax(edges, attention):
    assert attends(edges) is attention


@pytest.fixture(scope="module")
def attention(tmp_path_factory):
    """Return one block of attention, in every format."""
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.qkv = nn.LayerNorm(32), nn.Linear(32, 96)
            self.out, self.head = nn.Linear(32, 32), nn.Linear(32, 10)

        def forward(self, x):
            q, k, v = self.qkv(self.norm(x)).chunk(3, dim=-1)
            weights = torch.softmax(q @ k.transpose(-1, -2) / 32**0.5, dim=-1)
            return self.head((x + self.out(weights @ v)).mean(dim=1))

    torch.manual_seed(0)
    shapes = (TensorSpec("x", "float32", (None, 8, 32)),), (TensorSpec("y", "float32", (None, 10)),)
    live, made = Artifact("torch", Float(), *shapes, module=Block().eval()), {}
    for name in ("export", "to_onnx", "to_openvino"):
        edge = named(name)
        made[edge.gives] = edge.convert(made.get(edge.takes, live), tmp_path_factory.mktemp(name))
    return made


@pytest.mark.parametrize("name", FORMATS)
def test_a_transformer_is_quantized_as_one(name, attention, tmp_path, monkeypatch):
    inputs = {"x": np.random.default_rng(0).standard_normal((32, 8, 32)).astype("f4")}
    engine, seen = BACKENDS[FORMATS[name]](), {}
    with silent_nncf() as nncf:
        whole = nncf.quantize

    def spied(*given, **named):
        seen.update(named)
        return whole(*given, **named)

    monkeypatch.setattr("nncf.quantize", spied)
    product = STRATEGIES["nncf_int8"]().apply(attention[name], Calibration("x", inputs), tmp_path)
    assert seen["model_type"].value == "transformer"
    smoothed = seen["advanced_parameters"].smooth_quant_alphas.matmul > 0
    assert smoothed is (name == "onnx")  # openvino multiplies smoothed integers wrongly
    assert seen["subset_size"] == 32  # all of the calibration data
    wanted = engine.load(attention[name], Placement()).run(inputs)[0]
    given = engine.load(product, Placement()).run(inputs)[0]
    error = np.square(given - wanted).sum() / np.square(wanted - wanted.mean(axis=0)).sum()
    assert error < 0.05  # of the answers' own power


def test_the_slow_correction_gives_a_file_that_runs(attention, tmp_path):
    """Smoothed as well, nncf 3.4.0 would write one value twice, and no engine reads that."""
    inputs = {"x": np.random.default_rng(0).standard_normal((16, 8, 32)).astype("f4")}
    slow = STRATEGIES["nncf_int8"](fast_bias_correction=False)
    product = slow.apply(attention["onnx"], Calibration("x", inputs), tmp_path)
    assert BACKENDS["onnxruntime"]().load(product, Placement()).run(inputs)[0].shape == (16, 10)


@pytest.mark.parametrize("name", FORMATS)
def test_a_network_without_attention_is_none(name, in_format, images, tmp_path, monkeypatch):
    seen = {}
    with silent_nncf() as nncf:
        whole = nncf.quantize
    monkeypatch.setattr("nncf.quantize", lambda *g, **n: seen.update(n) or whole(*g, **n))
    STRATEGIES["nncf_int8"](preset="mixed").apply(
        in_format(name), Calibration("", {"images": images}), tmp_path
    )
    assert seen["model_type"] is None
    assert seen["preset"].value == "mixed"


def test_it_prints_nothing_and_calls_nobody(in_format, tmp_path):
    code = (
        "import sys, pathlib, threading\nimport numpy as np\n"
        "from qbench.cases import Float\nfrom qbench.formats.artifact import Artifact\n"
        "from qbench.strategies.base import STRATEGIES, Calibration\n"
        "source = Artifact('openvino', Float(), (), (), pathlib.Path(sys.argv[1]))\n"
        "data = Calibration('', {'images': np.ones((4, 3, 8, 8), 'f4')})\n"
        "for name in ('nncf_int8', 'weight_only'):\n"
        "    STRATEGIES[name]().apply(source, data, pathlib.Path(sys.argv[2]))\n"
        "assert 'nncf' in sys.modules and sys.modules['openvino_telemetry'] is None\n"
        "assert not any('ThreadPool' in thread.name for thread in threading.enumerate())\n"
    )
    command = [sys.executable, "-c", code, str(in_format("openvino").path), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("name", FORMATS)
def test_the_slow_correction_takes_a_residual_network_or_says_what_does(name, tmp_path):
    artifact, edges = MODELS["resnet-digits"].load(), ("export", "to_onnx", "to_openvino")
    for edge in edges[: 2 if name == "onnx" else 3]:
        artifact = named(edge).convert(artifact, tmp_path)
    side = artifact.inputs[0].shape[-1]
    inputs = {"pixel_values": np.random.default_rng(0).standard_normal((8, 3, side, side)).astype("f4")}
    (tmp_path / "product").mkdir()
    slow, data = STRATEGIES["nncf_int8"](fast_bias_correction=False), Calibration("x", inputs)
    if name == "onnx":
        with pytest.raises(
            DoesNotFit, match="cannot take this network apart(.|\n)*fast_bias_correction = true"
        ):
            slow.apply(artifact, data, tmp_path / "product")
    else:
        product = slow.apply(artifact, data, tmp_path / "product")
        assert BACKENDS["openvino"]().load(product, Placement()).run(inputs)[0].shape[0] == 8
