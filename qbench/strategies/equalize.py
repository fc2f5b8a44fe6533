"""Cross-layer equalization: the same network, its weights' channels of like ranges; a quantizer follows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from qbench.cases import Float, State
from qbench.errors import BadParameter, DoesNotFit
from qbench.quant.equalization import Found, equalize, find_pairs, kinds_in, write_back
from qbench.quant.fold import fold_batch_norm
from qbench.quant.onnx_layers import read_network
from qbench.strategies.base import STRATEGIES, Calibration, Route, Strategy, takes_fp32

if TYPE_CHECKING:
    from qbench.formats.artifact import Artifact

COVERS = ("Conv", "Gemm")


@STRATEGIES.register("equalize")
@dataclass(frozen=True, slots=True)
class Equalize(Strategy):
    """Scale the channels between layers that follow each other; needs no data, and stays in 32-bit float.

    Two convolutions (or fully connected layers) with nothing but Relu between them are a pair, depthwise ones
    included. It helps where a weight has one scale for all channels, or channels of very different ranges.

    relu6: a clip from zero to a constant bounds all channels alike, and is no longer the same function once
        they are scaled. replace makes Relu of it, as the paper does, which changes the answers; keep leaves
        such a pair alone.
    """

    about: ClassVar[str] = "scales channels between layers so that weights quantize better; no data"
    source: ClassVar[str] = "Nagel et al. 2019, arXiv:1906.04721, section 4.1"
    routes: ClassVar[tuple[Route, ...]] = (Route("onnx", "onnx", "onnx numpy"),)
    needs_calibration: ClassVar[bool] = False

    relu6: Literal["replace", "keep"] = "replace"

    def __post_init__(self) -> None:
        """Check the parameters."""
        if self.relu6 not in ("replace", "keep"):
            raise BadParameter(
                f"equalize has no relu6 {self.relu6!r}", fix='write relu6 = "replace" or "keep"'
            )

    def state(self, before: State) -> State:
        """Return 32-bit float, as before; see Strategy.state."""
        takes_fp32("equalize", before)
        return Float("fp32")

    def apply(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Artifact:  # noqa: ARG002
        """Fold normalizations, scale every pair until nothing moves, write the file; see Strategy.apply.

        Raises:
            DoesNotFit: also where a weight is not finite.
        """
        import onnx

        from qbench.formats.artifact import Note

        network = read_network(artifact.path, COVERS, "equalize")
        fold_batch_norm(network)
        found = find_pairs(network, through_clips=self.relu6 == "replace")
        if not found.pairs:
            raise self._no_pair(network, found)
        rounds = equalize(found.pairs)
        replaced = write_back(network, found.pairs)
        text = f"{len(found.pairs)} pairs of layers scaled in {rounds} rounds; "
        text += f"{replaced} activations with an upper bound replaced by Relu"
        if found.clipped:
            text += f"; {found.clipped} pairs around such left alone"
        path = folder / "model.onnx"
        onnx.save(network, path)
        note = Note("cross-layer equalization", text, warns=replaced > 0)
        return replace(artifact, path=path, state=Float("fp32"), notes=(*artifact.notes, note))

    def _no_pair(self, network: Any, found: Found) -> DoesNotFit:
        fix = "leave equalize out for this network"
        if found.clipped:
            fix = (
                f'write relu6 = "replace" for the {found.clipped} with a bounded activation between, or {fix}'
            )
        return DoesNotFit(
            "equalize scales pairs of Conv or Gemm with nothing but Relu between them; this network has none "
            f"(found: {kinds_in(network)})",
            fix=fix,
        )
