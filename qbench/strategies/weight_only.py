"""Weights in 8 or 4 bits, restored inside the kernel: for networks that wait for memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from qbench.cases import Quantized, Scheme, State
from qbench.errors import BadParameter, DoesNotFit
from qbench.quant.coverage import Coverage, InFloat, named, some_left_or_raise
from qbench.quant.gemm import products_of, split_gemms
from qbench.quant.ir_graph import ir_weights, rows_of, runtime, save_ir
from qbench.quant.onnx_layers import quietly, read_network
from qbench.quant.silent_nncf import kinds_of, silent_nncf
from qbench.strategies.base import STRATEGIES, Calibration, Route, Strategy, takes_fp32

if TYPE_CHECKING:
    from qbench.formats.artifact import Artifact

COVERS = ("MatMul", "Gemm")
OF_IR = ("Conv", "ConvTranspose")  # what nncf stores in 8 bits beside them
TABLES = ("Gather",)  # and what it does not multiply with
GROUPS = (16, 32, 64, 128, 256)  # of onnxruntime's operator: a power of two, 16 at least
CHANNEL = -1
ROOM = 1.25  # a group that a row does not fill is stored whole: more than this, and nothing is gained
ACCURACY = {"float": 1, "int8": 4}  # onnxruntime: the least that the kernel of MatMulNBits must compute in
TOGETHER = {"float": "0", "int8": "32"}  # OpenVINO: activations that share a scale; 32 is its own choice


@STRATEGIES.register("weight_only")
@dataclass(frozen=True, slots=True)
class WeightOnly(Strategy):
    """Round weights; needs no data. OpenVINO IRs by NNCF, ONNX files by onnxruntime's MatMulNBits.

    bits: 8, one scale a channel (onnxruntime has one a group in it), or 4, one scale a group.
    group_size: weights of a channel that share a scale; -1 with 4 bits: all of them, OpenVINO only. In an
        ONNX file a row that fills its groups badly stays in float; for OpenVINO every row must be filled.
    symmetric: no zero points: smaller, and less exact.
    all_layers: False leaves the last layer at 8 bits where others have 4, and embeddings too on OpenVINO.
    activations: float multiplies in float; int8 lets the kernel round every input to 8 bits as it comes,
        which is what makes it fast on a processor.
    operators: the only kinds of operator whose weights are rounded, with commas between ("MatMul,Gemm").
    keep_float: layers that stay in float, with commas between: names of nodes, of outputs or of weights.
    """

    about: ClassVar[str] = "weights in 8 or 4 bits, activations in float or rounded as they come; no data"
    source: ClassVar[str] = "nncf.compress_weights; onnxruntime.quantization MatMulNBitsQuantizer"
    routes: ClassVar[tuple[Route, ...]] = (
        Route("openvino", "openvino", "nncf openvino", ("openvino",)),
        Route("onnx", "onnx", "onnxruntime-gpu onnxruntime onnx", ("onnxruntime",)),
    )
    needs_calibration: ClassVar[bool] = False

    bits: Literal[8, 4] = 8
    group_size: int = 64
    symmetric: bool = False
    all_layers: bool = True
    activations: Literal["float", "int8"] = "float"
    operators: str = ""
    keep_float: str = ""

    def __post_init__(self) -> None:
        """Check the parameters."""
        self._coverage()
        if self.bits not in (8, 4):
            raise BadParameter(f"weight_only has no bits = {self.bits!r}", fix="write bits = 8 or 4")
        if self.activations not in ACCURACY:
            raise BadParameter(
                f"weight_only has no activations {self.activations!r}",
                fix='write activations = "float" or "int8"',
            )
        if self.group_size not in (CHANNEL, *GROUPS):
            raise BadParameter(
                f"weight_only: group_size = {self.group_size} is no size of a group",
                fix=f"write one of {', '.join(map(str, GROUPS))}, or {CHANNEL} for a whole channel",
            )

    def state(self, before: State) -> State:
        """Return narrow weights, with activations in float or dynamic; see Strategy.state."""
        takes_fp32("weight_only", before)
        whole = self.bits == 8 or self.group_size == CHANNEL
        granularity: Literal["per_channel", "per_group"] = "per_channel" if whole else "per_group"
        if self.activations == "int8":
            return Quantized(Scheme(self.bits, 8, granularity, dynamic=True))
        return Quantized(Scheme(self.bits, None, granularity))

    def apply(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Artifact:  # noqa: ARG002
        """Round the stored weights of the file; see Strategy.apply.

        Raises:
            DoesNotFit: also where the group size does not divide a channel; values that do are named.
        """
        from qbench.formats.artifact import Note

        on = self._on_openvino if artifact.format == "openvino" else self._on_onnx
        path, kept = on(artifact.path, folder)
        notes = (*artifact.notes, *(Note(what, found) for what, found in kept.notes()))
        return replace(artifact, path=path, state=self.state(artifact.state), notes=notes)

    def _coverage(self) -> Coverage:
        return Coverage.read("weight_only", (*COVERS, *OF_IR), self.operators, self.keep_float, also=TABLES)

    # --- OpenVINO -------------------------------------------------------------------------------------

    def _on_openvino(self, path: Path | None, folder: Path) -> tuple[Path, InFloat]:
        model = runtime().Core().read_model(str(path))
        products = [weight.operator for weight in ir_weights(path) if weight.multiplied]
        if not products or (self.bits == 4 and "MatMul" not in products):
            wanted = "matrix products" if self.bits == 4 else "convolutions and matrix products"
            raise DoesNotFit(
                f"weight_only covers {wanted} with a stored weight; this network has none of them "
                f"(found: {kinds_of(model)})",
                fix=f"leave weight_only out for this network{', or write bits = 8' if products else ''}",
            )
        sign = "SYM" if self.symmetric else "ASYM"
        coverage = self._coverage()
        kept, asked = coverage.kept_of_ir(model, "weight_only"), coverage.of_ir()
        kinds = sorted(set(Coverage((*COVERS, *OF_IR, *TABLES)).of_ir()) - set(asked)) if asked else []
        how: dict[str, Any] = {}
        if self.bits == 4:
            self._divides(model)
            how = {"group_size": self.group_size, "all_layers": self.all_layers}
        with silent_nncf() as nncf:
            if kept.nodes or kinds:
                scope = nncf.IgnoredScope(names=sorted(kept.nodes), types=kinds, validate=False)
                how["ignored_scope"] = scope
            mode = nncf.CompressWeightsMode[f"INT{self.bits}_{sign}"]
            model = nncf.compress_weights(model, mode=mode, **how)
        # Written into the file: left to itself, the engine rounds activations beside compressed weights.
        model.set_rt_info(TOGETHER[self.activations], ["runtime_options", "DYNAMIC_QUANTIZATION_GROUP_SIZE"])
        return save_ir(model, folder), kept

    def _divides(self, model: Any) -> None:
        lengths = sorted(set(rows_of(model)))
        if self.group_size == CHANNEL or all(length % self.group_size == 0 for length in lengths):
            return
        good = [size for size in GROUPS if all(length % size == 0 for length in lengths)]
        raise DoesNotFit(
            f"weight_only: group_size = {self.group_size} does not divide the rows of this network's weights "
            f"(lengths found: {', '.join(map(str, lengths))})",
            fix=f"write group_size = {' or '.join(map(str, [*reversed(good), CHANNEL]))}",
        )

    # --- ONNX -----------------------------------------------------------------------------------------

    def _on_onnx(self, path: Path | None, folder: Path) -> tuple[Path, InFloat]:
        import onnx

        if self.group_size == CHANNEL:
            raise DoesNotFit(
                "weight_only: onnxruntime's MatMulNBits has a scale for a group of a channel's weights, and "
                f"group_size = {CHANNEL} asks for one a channel",
                fix=f"write group_size = {' or '.join(map(str, GROUPS))}",
            )
        coverage = self._coverage()
        covers = coverage.layers(COVERS)
        if not covers:
            raise DoesNotFit(
                f"weight_only: in an ONNX file weights of {' and '.join(COVERS)} alone take few bits, and "
                f"operators names {', '.join(coverage.operators)}",
                fix="leave operators out for the engine onnxruntime",
            )
        network = read_network(path, covers, "weight_only")
        named(network)
        asked = coverage.kept(network, "weight_only")
        some_left_or_raise(network, covers, asked, "weight_only")
        others = [node.name for node in network.graph.node if node.op_type not in covers]
        split_gemms(network)
        rows = products_of(network)
        left = [name for name, length in rows.items() if padded(length, self.group_size) > ROOM * length]
        if len(left) == len(rows):
            lengths = ", ".join(map(str, sorted(set(rows.values())))) or "none of a single matrix"
            good = [g for g in GROUPS if any(padded(length, g) <= ROOM * length for length in rows.values())]
            raise DoesNotFit(
                f"weight_only: no row of this network's weights fills groups of {self.group_size} "
                f"(lengths found: {lengths})",
                fix=f"write group_size = {' or '.join(map(str, good))}"
                if good
                else "leave weight_only out for this network",
            )
        last = list(rows)[-1:]
        left += [*asked.nodes, *others]
        with quietly():
            if self.bits == 4 and not self.all_layers:
                network = self._rounded(network, 4, but=[*left, *last])
                network = self._rounded(network, 8, but=left)
            else:
                network = self._rounded(network, self.bits, but=left)
        onnx.save(network, folder / "model.onnx")
        return folder / "model.onnx", asked

    def _rounded(self, network: Any, bits: int, but: list[str]) -> Any:
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

        quantizer = MatMulNBitsQuantizer(
            network,
            bits=bits,
            block_size=self.group_size,
            is_symmetric=self.symmetric,
            accuracy_level=ACCURACY[self.activations],
            nodes_to_exclude=but,
        )
        quantizer.process()
        return quantizer.model.model


def padded(length: int, group: int) -> int:
    """Return the length of a row with its last group filled up."""
    return -(-length // group) * group
