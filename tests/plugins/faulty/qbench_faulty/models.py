"""Networks for the task: one that the fake engine plays, and one that is really an ONNX file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from qbench.cases import Choice, Float
from qbench.folders import cache_folder
from qbench.formats.artifact import Artifact, TensorSpec
from qbench.formats.fake import write_fake
from qbench.models.base import MODELS, Model

CLASSES, HIDDEN = 10, 64
INPUTS = (TensorSpec("row", "float32", (None, CLASSES)),)
OUTPUTS = (TensorSpec("scores", "float32", (None, CLASSES)),)

# what the float network is: nine answers in ten are right, a call takes 20 ms on the fake engine's clock
BEHAVIOUR = {
    "accuracy": 0.9,
    "latency_s": 0.02,
    "low_bit": 0,
    "other": 2,
    "weights": [[1000, 32], [4000, 32]],
}


@dataclass(frozen=True, slots=True)
class FakeNetwork(Model):
    """A file that says how a network behaves."""

    about: str = "for tests: a network that the fake engine plays"
    format: ClassVar[str] = "fake"

    @property
    def task(self) -> Choice:
        return Choice("one_hot")

    def content(self) -> str:
        return "fake-network-1"

    def load(self) -> Artifact:
        return Artifact("fake", Float(), INPUTS, OUTPUTS, write_fake(_folder() / "network.fake", BEHAVIOUR))


@dataclass(frozen=True, slots=True)
class OnnxNetwork(Model):
    """Two matrices, one the other's inverse: the answer is the input, whatever the matrices are."""

    about: str = "for tests: an ONNX network that answers with its input"
    format: ClassVar[str] = "onnx"

    @property
    def task(self) -> Choice:
        return Choice("one_hot")

    def content(self) -> str:
        return "onnx-network-1"

    def load(self) -> Artifact:
        import numpy as np
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        there = np.random.default_rng(0).standard_normal((CLASSES, HIDDEN)).astype(np.float32)
        back = np.linalg.pinv(there.astype(np.float64)).astype(np.float32)
        graph = helper.make_graph(
            [
                helper.make_node("MatMul", ["row", "there"], ["hidden"]),
                helper.make_node("MatMul", ["hidden", "back"], ["scores"]),
            ],
            "identity",
            [helper.make_tensor_value_info("row", TensorProto.FLOAT, ["batch", CLASSES])],
            [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", CLASSES])],
            [numpy_helper.from_array(there, "there"), numpy_helper.from_array(back, "back")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        path = _folder() / "model.onnx"
        onnx.save(model, path)
        return Artifact("onnx", Float(), INPUTS, OUTPUTS, path)


def _folder() -> Path:
    folder = cache_folder() / "faulty"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


MODELS.register("fake_network")(FakeNetwork())
MODELS.register("onnx_network")(OnnxNetwork())
