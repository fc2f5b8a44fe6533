"""Other number formats than integers, simulated: fp8 (e4m3, e5m2), nf4, mxfp4 and nvfp4."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from qbench.cases import FakeQuant, Scheme, State
from qbench.errors import BadParameter
from qbench.quant.float_grids import NF4_BLOCK, Format, on_grid
from qbench.quant.fold import fold_batch_norm
from qbench.quant.onnx_layers import quietly, raised, read_network
from qbench.quant.qdq_layout import runner
from qbench.quant.ranges import extents, finite_or_raise, shaped_or_raise
from qbench.quant.round_fp8 import OPSET, round_inputs
from qbench.quant.stored_weights import layers_of, replace_weights
from qbench.strategies.base import STRATEGIES, Calibration, Route, Strategy, takes_fp32

if TYPE_CHECKING:
    from qbench.formats.artifact import Artifact

COVERS = ("Conv", "Gemm", "MatMul", "ConvTranspose")
BATCH = 8  # calibration examples at a time: bounds the memory of the recorded activations
FP8 = ("e4m3", "e5m2")


@STRATEGIES.register("number_format")
@dataclass(frozen=True, slots=True)
class NumberFormat(Strategy):
    """Weights on the grid of a narrow float format, the arithmetic in float32: an accuracy and no speed.

    format: e4m3 and e5m2 are the two 8-bit floats, with a scale for every output channel of a weight; nf4 has
        four bits and sixteen unequal steps, mxfp4 and nvfp4 four-bit floats in blocks of 32 and 16. Blocks
        lie along the sum of a product, and where its length is no multiple the last block is shorter.
    activations: fp8 only: what enters a layer is rounded to the same format, with one scale a tensor, taken
        from its largest magnitude on the calibration data. The four-bit formats leave activations in float
        and look at no data.
    block_size: nf4 only: neighbouring weights that share a scale.
    """

    about: ClassVar[str] = "fp8, nf4, mxfp4 or nvfp4, simulated in float: what the format costs in accuracy"
    source: ClassVar[str] = (
        "OCP OFP8 1.0 and OCP MX 1.0 (mxfp4); Dettmers et al. 2023, arXiv:2305.14314 (nf4); "
        "NVIDIA 2025, arXiv:2509.25149 (nvfp4)"
    )
    routes: ClassVar[tuple[Route, ...]] = (
        Route("onnx", "onnx", "onnx ml_dtypes numpy onnxruntime-gpu onnxruntime"),
    )
    needs_calibration: ClassVar[bool] = True

    format: Format = "e4m3"
    activations: bool = True
    block_size: int = NF4_BLOCK

    def __post_init__(self) -> None:
        """Check the parameters."""
        known = get_args(Format)
        if self.format not in known:
            words = " or ".join(json.dumps(word) for word in known)
            raise BadParameter(f"number_format has no format {self.format!r}", fix=f"write format = {words}")
        if self.block_size < 2:
            raise BadParameter(
                f"number_format: block_size = {self.block_size} is no block of weights that share a scale",
                fix=f"write block_size = {NF4_BLOCK}, or another number from 2 on",
            )
        if self.block_size != NF4_BLOCK and self.format != "nf4":
            raise BadParameter(
                f"number_format: block_size = {self.block_size} says nothing to format {self.format!r}, "
                "whose blocks are part of it",
                fix='write format = "nf4" beside it, or leave block_size out',
            )
        if not self.activations and self.format not in FP8:
            raise BadParameter(
                f"number_format: activations = false says nothing to format {self.format!r}, which leaves "
                "them in float anyway",
                fix='write format = "e4m3" or "e5m2" beside it, or leave activations out',
            )

    def wants_calibration(self) -> bool:
        """Tell whether activations are rounded; see Strategy.wants_calibration."""
        return self.activations and self.format in FP8

    def state(self, before: State) -> State:
        """Return simulated weights of 8 or 4 bits; see Strategy.state."""
        takes_fp32("number_format", before)
        if self.format in FP8:
            return FakeQuant(Scheme(8, 8 if self.activations else None, "per_channel"))
        return FakeQuant(Scheme(4, None, "per_group"))

    def apply(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Artifact:
        """Round the weights in the file, and activations in its graph; see Strategy.apply.

        Raises:
            DoesNotFit: also where a weight is not finite, or the calibration data of fp8 is missing or not
                finite, or the network makes numbers of it that are not.
        """
        import onnx

        path = folder / "model.onnx"
        with quietly():
            network = read_network(artifact.path, COVERS, "number_format")
            if self.wants_calibration():
                network = raised(network, "number_format", OPSET)
            fold_batch_norm(network)
            layers = layers_of(network, COVERS, "number_format")
            largest = self._largest(network, layers, artifact, calibration)
            replace_weights(
                network, layers, lambda rows: on_grid(rows, self.format, self.block_size), "number_format"
            )
            if largest:
                round_inputs(network, [node for node, _ in layers], largest, self.format)
        onnx.save(network, path)
        return replace(artifact, path=path, state=self.state(artifact.state))

    def _largest(
        self, network: Any, layers: list[tuple[Any, int]], artifact: Artifact, calibration: Calibration
    ) -> dict[str, float]:
        """Return the largest magnitude of every activation that enters a layer, where it is rounded."""
        if not self.wants_calibration():
            return {}
        finite_or_raise(calibration.inputs, "number_format")
        shaped_or_raise(calibration.inputs, artifact.inputs, "number_format")
        names = list(dict.fromkeys(node.input[1 - position] for node, position in layers))
        found = extents(runner(network, names), calibration.in_batches(BATCH), "number_format")
        return {name: max(-low, high) for name, (low, high) in found.items()}
