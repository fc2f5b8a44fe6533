"""What every test shares: a cache of its own, and one small network in every format there is an edge to."""

import signal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from qbench.cases import Float, Quantized, Scheme
from qbench.formats.artifact import Artifact, TensorSpec
from qbench.formats.edges import EDGES

SIDE, CLASSES = 8, 10
COMPILED = ("[aot_inductor-", "[to_package]", "formats/test_packages.py", "quant/test_package.py")

settings.register_profile("noisy", deadline=None)  # a shared machine's slow minute is no wrong answer
settings.load_profile("noisy")


@pytest.hookimpl(tryfirst=True)  # before the marks are chosen by
def pytest_collection_modifyitems(items):
    """Mark what calls a C++ compiler: every package that is made costs fifteen seconds of two cores."""
    for item in items:
        compiles = {"quantized_package"} & set(getattr(item, "fixturenames", ()))
        if compiles or any(word in item.nodeid for word in COMPILED):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def interruptible():
    """A shell starts background jobs with interrupts ignored, and every child would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(0).standard_normal((40, 3, SIDE, SIDE)).astype("f4")


@pytest.fixture(scope="session")
def in_format(tmp_path_factory):
    """Return a function: a format's name to a small convolutional network in that format, made once."""
    made = {}

    def give(name, body="network"):
        if (name, body) not in made:
            if name == "torch":
                made[name, body] = live(body)
            else:
                edge = next(edge for edge in EDGES if edge.gives == name)
                folder = tmp_path_factory.mktemp(f"{body}-{name}")
                made[name, body] = edge.convert(give(edge.takes, body), Path(folder))
        return made[name, body]

    return give


@pytest.fixture(scope="session")
def quantized_program(in_format, images, tmp_path_factory):
    """Return the small network as a statically quantized program: integers in the file, float around them."""
    from qbench.strategies.base import STRATEGIES, Calibration

    calibration = Calibration("images of the tests", {"images": images})
    return STRATEGIES["pt2e_int8"]().apply(
        in_format("exported"), calibration, tmp_path_factory.mktemp("quantized-exported")
    )


@pytest.fixture(scope="session")
def quantized_package(quantized_program, tmp_path_factory):
    """Return the same, compiled."""
    edge = next(edge for edge in EDGES if edge.gives == "pt2")
    return edge.convert(quantized_program, tmp_path_factory.mktemp("quantized-pt2"))


def live(body):
    import torch
    from torch import nn

    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * 9, CLASSES),
    )  # fmt: skip
    bounded = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU6(), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU(), nn.Conv2d(8, 8, 1),
        nn.Flatten(), nn.Linear(8 * 16, CLASSES),
    )  # fmt: skip
    nothing = nn.Sequential(nn.ReLU(), nn.Flatten())
    module = {"network": network, "bounded activations": bounded, "nothing to quantize": nothing}[body]
    inputs = (TensorSpec("images", "float32", (None, 3, SIDE, SIDE)),)
    outputs = (TensorSpec("scores", "float32", (None, CLASSES)),)
    return Artifact("torch", Float(), inputs, outputs, module=module.eval())


@pytest.fixture
def qdq(tmp_path):
    """Return a function: write a quantized Gemm of (1, -2) and (1.5, 2), with the biases 1 and 1.

    Its input is rounded to steps of 0.5, its output to steps of 0.25 from 0 on: a Relu has been left out.
    """
    import onnx
    from onnx import helper, numpy_helper

    def give(change=lambda nodes, arrays: None, outputs=("y",)):
        node = helper.make_node
        arrays = {
            "xs": np.array(0.5, "f4"), "xz": np.array(128, "u1"),
            "ys": np.array(0.25, "f4"), "yz": np.array(0, "u1"),
            "w": np.array([[2, -4], [6, 8]], "i1"),
            "ws": np.array([0.5, 0.25], "f4"), "wz": np.zeros(2, "i1"),
            "b": np.array([4, 8], "i4"), "bs": np.array([0.25, 0.125], "f4"), "bz": np.zeros(2, "i4"),
        }  # fmt: skip
        nodes = [
            node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
            node("DequantizeLinear", ["xq", "xs", "xz"], ["xd"]),
            node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
            node("DequantizeLinear", ["b", "bs", "bz"], ["bd"], axis=0),
            node("Gemm", ["xd", "wd", "bd"], ["g"], "gemm", transB=1),
            node("QuantizeLinear", ["g", "ys", "yz"], ["gq"]),
            node("DequantizeLinear", ["gq", "ys", "yz"], ["y"]),
        ]
        change(nodes, arrays)
        ends = [helper.make_tensor_value_info("x", 1, ["n", 2])]
        ends += [helper.make_tensor_value_info(name, 1, ["n", 2]) for name in outputs]
        tensors = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
        graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], tensors)
        path = tmp_path / "qdq" / "model.onnx"
        path.parent.mkdir(exist_ok=True)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
        return Artifact("onnx", Quantized(Scheme(8, 8, "per_channel")), (), (), path)

    return give
