"""What openvino is told to compute in, and what its runtime model says that it computes in."""

from types import SimpleNamespace

import numpy as np
import pytest

from qbench.backends.base import DeviceProbe, KernelProof, Placement
from qbench.backends.openvino import OpenVino, OpenVinoSession
from qbench.cases import FakeQuant, Float, Quantized, Scheme
from qbench.formats.artifact import Artifact, Covered
from qbench.run.steps.score import _kernels_ran_as_claimed, _restored
from qbench.strategies.base import STRATEGIES, Calibration

ROUNDED = "DYNAMIC_QUANTIZATION_GROUP_SIZE"
STATIC = Quantized(Scheme(8, 8, "per_channel"))
BYTES, NIBBLES = Quantized(Scheme(8, None, "per_channel")), Quantized(Scheme(4, None, "per_group"))
DYNAMIC = Quantized(Scheme(8, 8, "per_channel", dynamic=True))
ON = DeviceProbe("cpu", None, ("fp32", "bf16", "int8"))


@pytest.fixture(scope="module")
def compressed(in_format, tmp_path_factory):
    def give(**parameters):
        folder = tmp_path_factory.mktemp("compressed")
        strategy = STRATEGIES["weight_only"](**parameters)
        return strategy.apply(in_format("openvino"), Calibration("", {}), folder)

    return give


@pytest.mark.parametrize(("state", "reason"), [
    (Float(), None),
    (Float("bf16"), None),
    (Float("fp16"), "this processor has no fp16 instructions (openvino reports fp32, bf16, int8)"),
    (STATIC, None), (BYTES, None), (NIBBLES, None), (DYNAMIC, None), (FakeQuant(STATIC.scheme), None),
    (Quantized(Scheme(8, 8, "per_tensor", dynamic=True)), "multiplies them in fp32"),
])  # fmt: skip
def test_what_is_refused_before_anything_is_made(state, reason):
    told = OpenVino().refuses(state, ON)
    assert told is None if reason is None else reason in told


@pytest.mark.parametrize(("activations", "group"), [("float", 0), ("int8", 32)])
def test_activations_beside_compressed_weights_are_rounded_only_where_the_state_says_so(
    compressed, images, activations, group
):
    product = compressed(activations=activations)
    session = OpenVino().load(product, Placement())
    assert session._compiled.get_property(ROUNDED) == group
    # the file says it too: whoever deploys it without qbench gets the same
    alone = OpenVino().engine().Core().compile_model(str(product.path), "CPU")
    assert alone.get_property(ROUNDED) == group
    assert np.isfinite(session.run({"images": images})[0]).all()


@pytest.mark.parametrize(("parameters", "width"), [({}, "u8"), ({"symmetric": True}, "i8"),
                                                   ({"bits": 4, "group_size": 32}, "u4")])  # fmt: skip
def test_a_convolutions_compressed_weights_are_restored_and_a_products_are_not(
    compressed, images, parameters, width
):
    proof = OpenVino().load(compressed(**parameters), Placement()).prove({"images": images[:1]})
    assert (proof.low_bit, proof.other) == (1, 2)
    kinds = {line.what.split(" (")[0]: line.found for line in proof.evidence}
    assert kinds[f"kernel FullyConnected of f32 by {width}"] == "1"
    assert kinds["kernel Convolution of f32 by f32"] == "2"


def test_narrow_weights_that_are_restored_have_a_size_and_no_speed():
    artifact = Artifact("openvino", BYTES, (), (), covered=Covered(21, 1.0))
    opened = SimpleNamespace(artifact=artifact, simulated=None)
    assert "stores 21 weights in 8 bits, and only 1 kernels read such" in _restored(
        opened, KernelProof(1, 20, ())
    )
    assert _restored(opened, KernelProof(11, 10, ())) is None
    _kernels_ran_as_claimed(opened, KernelProof(0, 21, ()))  # no failure: nothing is said of arithmetic
    exact = SimpleNamespace(artifact=Artifact("openvino", STATIC, (), (), covered=Covered(21, 1.0)))
    assert _restored(exact, KernelProof(0, 21, ())) is None  # that state fails instead


@pytest.mark.parametrize(("state", "types", "arithmetic", "low"), [
    (Float(), ["f32", "f32"], "f32", False),
    (Float("bf16"), ["bf16", "bf16"], "bf16", True),
    (Float("bf16"), ["f32", "f32"], "f32", False),
    (Float("fp16"), ["f16", "f16"], "f16", True),
    (STATIC, ["u8", "i8"], "u8", True),
    (STATIC, ["i8", "i8"], "i8", True),
    (STATIC, ["f32", "i8"], "i8", False),  # a product of floats, whatever the runtime model calls it
    (STATIC, ["u8", "f32"], "f32", False),
    (BYTES, ["f32", "u8"], "u8", True),
    (BYTES, ["f32", "f32"], "f32", False),
    (NIBBLES, ["f32", "i4"], "i4", True),
    (NIBBLES, ["f32", "i8"], "i8", False),  # the last layer, kept at 8 bits
    (DYNAMIC, ["f32", "u8"], "u8", True),
    (DYNAMIC, ["f32", "f32"], "f32", False),
])  # fmt: skip
def test_which_kernel_is_what_the_state_says(state, types, arithmetic, low):
    session = object.__new__(OpenVinoSession)
    session._state = state
    assert session._is_low(types, arithmetic) is low
