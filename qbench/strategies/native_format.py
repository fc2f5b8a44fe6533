"""Weights stored in a four-bit float format that an engine multiplies from: nf4, mxfp4, nvfp4 on OpenVINO."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from qbench.cases import Quantized, Scheme, State
from qbench.errors import BadParameter, DoesNotFit
from qbench.quant.ir_graph import IR_MACS, ir_weights, rows_of, runtime, save_ir
from qbench.quant.silent_nncf import kinds_of, silent_nncf
from qbench.strategies.base import STRATEGIES, Calibration, Route, Strategy, takes_fp32

if TYPE_CHECKING:
    from qbench.formats.artifact import Artifact

Native = Literal["mxfp4", "nvfp4", "nf4"]
BLOCKS = {"mxfp4": 32, "nvfp4": 16, "nf4": 64}  # weights that share a scale; nf4's may be chosen
KEPT = [kind for kind in IR_MACS if kind != "MatMul"]  # a block lies along one axis: they have several
POWERS = (16, 32, 64, 128, 256)


@STRATEGIES.register("native_format")
@dataclass(frozen=True, slots=True)
class NativeFormat(Strategy):
    """Round the weights of matrix products to a four-bit float format, and store them in it; needs no data.

    The deployed form of `number_format` for the formats that openvino multiplies from (the runtime model of
    2026.4.1 says FullyConnected of f32 by nf4, or by f4e2m1). Activations and all other layers stay in float.
    fp8 is not among them: that engine stores it, and widens it to 32 bits before it multiplies.

    format: mxfp4 and nvfp4 are four-bit floats with a scale of 8 bits for each block of 32 and 16 weights;
        nf4 has sixteen unequal steps.
    block_size: nf4 only: neighbouring weights that share a scale.
    """

    about: ClassVar[str] = "weights stored as mxfp4, nvfp4 or nf4, multiplied in float; no data"
    source: ClassVar[str] = (
        "nncf.compress_weights; Dettmers et al. 2023, arXiv:2305.14314 (nf4); OCP MX 1.0 (mxfp4); "
        "NVIDIA 2025, arXiv:2509.25149 (nvfp4)"
    )
    routes: ClassVar[tuple[Route, ...]] = (Route("openvino", "openvino", "nncf openvino", ("openvino",)),)
    needs_calibration: ClassVar[bool] = False

    format: Native = "mxfp4"
    block_size: int = BLOCKS["nf4"]

    def __post_init__(self) -> None:
        """Check the parameters."""
        if self.format not in BLOCKS:
            words = " or ".join(json.dumps(word) for word in get_args(Native))
            raise BadParameter(
                f"native_format has no format {self.format!r}",
                fix=f"write format = {words}; for fp8, whose accuracy can be simulated, take number_format",
            )
        if self.block_size not in POWERS:
            raise BadParameter(
                f"native_format: block_size = {self.block_size} is no size of a block",
                fix=f"write one of {', '.join(map(str, POWERS))}",
            )
        if self.block_size != BLOCKS["nf4"] and self.format != "nf4":
            raise BadParameter(
                f"native_format: block_size = {self.block_size} says nothing to format {self.format!r}, "
                "whose blocks are part of it",
                fix='write format = "nf4" beside it, or leave block_size out',
            )

    @property
    def block(self) -> int:
        """Return how many weights share a scale."""
        return self.block_size if self.format == "nf4" else BLOCKS[self.format]

    def state(self, before: State) -> State:
        """Return weights of 4 bits in blocks, activations in float; see Strategy.state."""
        takes_fp32("native_format", before)
        return Quantized(Scheme(4, None, "per_group"))

    def apply(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Artifact:  # noqa: ARG002
        """Round the stored weights of an IR; see Strategy.apply.

        Raises:
            DoesNotFit: also where blocks do not divide a row of the weights; formats that would are named.
        """
        model = runtime().Core().read_model(str(artifact.path))
        if "MatMul" not in [weight.operator for weight in ir_weights(artifact.path) if weight.multiplied]:
            raise DoesNotFit(
                "native_format covers matrix products with a stored weight; this network has none of them "
                f"(found: {kinds_of(model)})",
                fix="leave native_format out for this network; number_format simulates other layers too",
            )
        self._divides(rows_of(model))
        with silent_nncf() as nncf:
            mode = nncf.CompressWeightsMode[self.format.upper()]
            kept = nncf.IgnoredScope(types=KEPT, validate=False)
            model = nncf.compress_weights(
                model, mode=mode, group_size=self.block, all_layers=True, ignored_scope=kept
            )
        # Written into the file: left to itself, the engine rounds activations beside compressed weights.
        model.set_rt_info("0", ["runtime_options", "DYNAMIC_QUANTIZATION_GROUP_SIZE"])
        return replace(artifact, path=save_ir(model, folder), state=self.state(artifact.state))

    def _divides(self, rows: list[int]) -> None:
        lengths = sorted(set(rows))
        if all(length % self.block == 0 for length in lengths):
            return
        sizes = [size for size in POWERS if all(length % size == 0 for length in lengths)]
        good = [f'format = "nf4", block_size = {size}' for size in sizes[:1]]
        raise DoesNotFit(
            f"native_format: blocks of {self.block} do not divide the rows of this network's weights "
            f"(lengths found: {', '.join(map(str, lengths))})",
            fix=f"write {good[0]}" if good else "leave native_format out for this network",
        )
