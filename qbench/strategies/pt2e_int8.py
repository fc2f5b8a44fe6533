"""Static int8 of a torch.export program: torchao's quantizer for x86, whose patterns its compiler fuses."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from qbench.cases import Quantized, Scheme, State
from qbench.errors import DoesNotFit
from qbench.formats.edges import traced
from qbench.quant.exported_graph import exported_weights
from qbench.quant.program import read_program
from qbench.quant.ranges import finite_or_raise, shaped_or_raise
from qbench.strategies.base import STRATEGIES, Calibration, Route, Strategy, takes_fp32

if TYPE_CHECKING:
    from qbench.formats.artifact import Artifact

BATCH = 32  # calibration batch: bounds memory
OBSERVERS = {"histogram": "HistogramObserver", "minmax": "MinMaxObserver"}


@STRATEGIES.register("pt2e_int8")
@dataclass(frozen=True, slots=True)
class Pt2eInt8(Strategy):
    """Signed weights with a scale for every channel, unsigned activations with one scale a tensor."""

    about: ClassVar[str] = "int8 weights and activations in an exported program, for torch's own compiler"
    source: ClassVar[str] = "torchao.quantization.pt2e, X86InductorQuantizer"
    routes: ClassVar[tuple[Route, ...]] = (
        Route("exported", "exported", "torchao torch", engines=("aot_inductor",)),
    )
    needs_calibration: ClassVar[bool] = True

    observer: Literal["histogram", "minmax"] = "histogram"  # of activations; the library's own is the first
    reduce_range: bool = False  # activations in 7 bits: for processors whose 16-bit sums would saturate

    def state(self, before: State) -> State:
        """Return eight bits both ways; see Strategy.state."""
        takes_fp32("pt2e_int8", before)
        return Quantized(Scheme(8, 8, "per_channel"))

    def apply(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Artifact:
        """Watch activations, quantize, and trace again with a free batch; see Strategy.apply.

        Raises:
            DoesNotFit: also where calibration data is missing, not finite, or not what the network takes.
        """
        import torch

        finite_or_raise(calibration.inputs, "pt2e_int8")
        shaped_or_raise(calibration.inputs, artifact.inputs, "pt2e_int8")
        program = read_program(artifact.path)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the library, about its own deprecated parts
            from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

            watched = prepare_pt2e(program.module(), self._quantizer())
            for batch in calibration.in_batches(BATCH):
                watched(*(torch.from_numpy(batch[spec.name]) for spec in artifact.inputs))
            product = traced(artifact, convert_pt2e(watched), folder)
        if not any(weight.bits == 8 for weight in exported_weights(product.path)):
            raise _nothing_covered(program)
        return replace(product, state=self.state(artifact.state))

    def _quantizer(self) -> Any:
        """Return the library's quantizer with its own settings, but for the two that are ours."""
        from torchao.quantization.pt2e import observer
        from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as library

        usual = library.get_default_x86_inductor_quantization_config(reduce_range=self.reduce_range)
        watcher = getattr(observer, OBSERVERS[self.observer]).with_args(eps=2**-12)
        activations = replace(usual.input_activation, observer_or_fake_quant_ctr=watcher)
        settings = replace(usual, input_activation=activations, output_activation=activations)
        return library.X86InductorQuantizer().set_global(settings)


def _nothing_covered(program: Any) -> DoesNotFit:
    nodes = [node for node in program.graph.nodes if node.op == "call_function"]
    found = Counter(str(node.target).removeprefix("aten.").split(".")[0] for node in nodes)
    kinds = ", ".join(f"{kind} x{count}" for kind, count in found.most_common())
    return DoesNotFit(
        "pt2e_int8 covers convolutions and linear layers; this network has none of them "
        f"(found: {kinds or 'nothing'})",
        fix="leave pt2e_int8 out for this network",
    )
