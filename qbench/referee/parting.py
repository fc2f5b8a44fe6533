"""Which operator is it? The first one, in the order of the file, at which a voice parts from the others.

Every value inside the network is made an output, and two voices are asked again. An engine that fuses
operators may be right then, because it may not fuse what somebody looks at: so one value at a time is looked
at after that, halving the network.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qbench.referee.asking import Answer, Limits, ask, limits_for
from qbench.referee.distance import distance

if TYPE_CHECKING:
    import numpy as np

    from qbench.formats.calls import Call
    from qbench.referee.voices.base import Voice

ENOUGH_S = 20.0  # for the search: it explains a fault, and holds up everything else
FUSED = "; only where the engine may fuse it with its neighbours"


@dataclass(frozen=True, slots=True)
class Operator:
    """A node of the network, as its owner finds it again."""

    name: str
    op_type: str
    more: str = ""

    def __str__(self) -> str:
        """Write it as a sentence names it: `MatMul at node '/attn/MatMul'`."""
        return f"{self.op_type} at node {self.name!r}{self.more}"


def first_parting(
    path: Path, call: Call, odd: type[Voice], right: type[Voice], limits: Limits | None = None
) -> Operator | None:
    """Return the first operator whose outputs differ between the two; None where it cannot be found.

    Looked for in the network's main graph: a body of a loop or of a condition counts as one operator.
    """
    import onnx

    end = time.monotonic() + ENOUGH_S
    model = onnx.load(path)
    inside = _values(model)
    with tempfile.TemporaryDirectory() as home:
        search = _Search(Path(home) / "looked-at.onnx", model, call, odd, right, limits)
        mine, wanted = search.answers(odd, inside), search.answers(right, inside)
        if wanted is None:
            return None
        if mine is not None:
            parted = next((v for v in inside if not distance([mine[v]], [wanted[v]], [v]).meets), None)
            if parted is not None:
                return _operator(model, parted)
        return search.halving(inside, wanted, end)


class _Search:
    def __init__(
        self,
        file: Path,
        model: Any,
        call: Call,
        odd: type[Voice],
        right: type[Voice],
        limits: Limits | None,
    ) -> None:
        self._file, self._model, self._call, self._limits = file, model, call, limits
        self._odd, self._right = odd, right

    def answers(self, voice: type[Voice], values: Sequence[str]) -> dict[str, np.ndarray] | None:
        """Return what a voice says that these values are, or None where it says nothing."""
        import onnx

        looked_at = onnx.ModelProto()
        looked_at.CopyFrom(self._model)
        have = {output.name for output in looked_at.graph.output}
        looked_at.graph.output.extend(onnx.ValueInfoProto(name=v) for v in values if v not in have)
        onnx.save(looked_at, self._file)
        (said,) = ask([voice], self._file, [self._call], self._limits or limits_for(voice, self._file))
        if not isinstance(said, Answer):
            return None
        names = [output.name for output in looked_at.graph.output]
        return dict(zip(names, said.calls[0], strict=True))

    def halving(self, inside: Sequence[str], wanted: dict[str, np.ndarray], end: float) -> Operator | None:
        """Look at one value at a time: before the first that differs, all are taken to be right."""
        low, high = 0, len(inside) - 1
        if not inside or not self._differs(inside[high], wanted):
            return None
        while low < high:
            if time.monotonic() > end:
                return None
            middle = (low + high) // 2
            if self._differs(inside[middle], wanted):
                high = middle
            else:
                low = middle + 1
        return _operator(self._model, inside[low], FUSED)

    def _differs(self, value: str, wanted: dict[str, np.ndarray]) -> bool:
        mine = self.answers(self._odd, [value])
        return mine is not None and not distance([mine[value]], [wanted[value]], [value]).meets


def _values(model: Any) -> list[str]:
    """Return what the nodes of the main graph make, in its order, the file's outputs included."""
    return [name for node in model.graph.node for name in node.output if name]


def _operator(model: Any, value: str, more: str = "") -> Operator:
    node = next(node for node in model.graph.node if value in node.output)
    return Operator(node.name or value, node.op_type, more)
