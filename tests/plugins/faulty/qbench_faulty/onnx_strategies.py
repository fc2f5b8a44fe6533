# ruff: noqa: ARG002 - what a plug-in is given and does not need
"""Techniques on ONNX files that go wrong as real ones do: they claim, they overflow, they ruin."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from qbench.cases import Quantized, Scheme, State
from qbench.formats.artifact import Artifact
from qbench.strategies.base import STRATEGIES, Calibration, Route, Strategy

if TYPE_CHECKING:
    import numpy as np

LAYERS = ("there", "back")


class OnOnnx(Strategy):
    """Claim eight bits."""

    about: ClassVar[str] = "for tests, on ONNX files"
    source: ClassVar[str] = "tests/plugins/faulty"
    routes: ClassVar[tuple[Route, ...]] = (Route("onnx", "onnx", "onnx"),)
    needs_calibration: ClassVar[bool] = False

    def state(self, before: State) -> State:
        return Quantized(Scheme(8, 8, "per_tensor"))

    def apply(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Artifact:
        path = folder / "model.onnx"
        self.write(Path(artifact.path or ""), path)
        return replace(artifact, path=path, state=self.state(artifact.state))

    def write(self, source: Path, path: Path) -> None:
        """Write the changed file."""
        raise NotImplementedError


@STRATEGIES.register("lying_onnx")
@dataclass(frozen=True, slots=True)
class Lying(OnOnnx):
    """Claims eight bits and copies the file."""

    def write(self, source: Path, path: Path) -> None:
        shutil.copyfile(source, path)


@STRATEGIES.register("collapsing_onnx")
@dataclass(frozen=True, slots=True)
class Collapsing(OnOnnx):
    """Really int8 kernels, and every weight has been rounded to zero by a scale that is far too large."""

    def write(self, source: Path, path: Path) -> None:
        _dynamic(source, path, scale_times=1e6)


@STRATEGIES.register("nan_onnx")
@dataclass(frozen=True, slots=True)
class Overflowing(OnOnnx):
    """Really int8 kernels, and one scale is infinite: zero times infinity is no number."""

    def write(self, source: Path, path: Path) -> None:
        _dynamic(source, path, scale_times=float("inf"))


def _dynamic(source: Path, path: Path, scale_times: float) -> None:
    """Write each matrix product as DynamicQuantizeLinear, MatMulInteger and a multiplication by the scales."""  # noqa: E501
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(source).graph.initializer}
    nodes: list[Any] = []
    stored: list[Any] = []
    value = "row"
    for layer in LAYERS:
        codes, scale = _codes(weights[layer], scale_times)
        stored += [
            numpy_helper.from_array(codes, f"{layer}_q"),
            numpy_helper.from_array(np.array(scale, np.float32), f"{layer}_s"),
        ]
        stored.append(numpy_helper.from_array(np.array(0, np.int8), f"{layer}_z"))
        out = "scores" if layer == LAYERS[-1] else f"{layer}_out"
        nodes += [
            helper.make_node("DynamicQuantizeLinear", [value], [f"{layer}_x", f"{layer}_xs", f"{layer}_xz"]),
            helper.make_node(
                "MatMulInteger", [f"{layer}_x", f"{layer}_q", f"{layer}_xz", f"{layer}_z"], [f"{layer}_i"]
            ),
            helper.make_node("Cast", [f"{layer}_i"], [f"{layer}_f"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{layer}_xs", f"{layer}_s"], [f"{layer}_both"]),
            helper.make_node("Mul", [f"{layer}_f", f"{layer}_both"], [out]),
        ]
        value = out
    old = onnx.load(source).graph
    graph = helper.make_graph(nodes, "int8", list(old.input), list(old.output), stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def _codes(weight: np.ndarray, scale_times: float) -> tuple[np.ndarray, float]:
    scale = float(abs(weight).max()) / 127 * scale_times
    return (weight / scale).round().clip(-127, 127).astype("int8"), scale
