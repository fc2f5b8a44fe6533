"""Constants that stand for minus infinity, and what they do to the range of an activation.

A mask of -1e9 or of the least float marks what must not be looked at. As a value it is no part of what an
activation says, and a range that reaches to it leaves one code for everything else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qbench.quant.qdq_graph import OnnxGraph
from qbench.quant.ranges import Batch, Run

MASKING = ("Add", "Mul", "Sub", "Where")  # how a mask gets into an activation
LEAST = 1e4  # the smallest that is in use for half floats; what networks compute is far from it


@dataclass(slots=True)
class Masks:
    """A network's mask constant of the least magnitude, if it has one; and the activations that held it."""

    level: float = np.inf
    held: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, network: Any) -> Masks:
        """Return those of an ONNX network: stored numbers, one each, of 1e4 or more below zero."""
        from onnx import numpy_helper

        graph = OnnxGraph(network)
        found = []
        for name in {name for node in graph.nodes if node.op_type in MASKING for name in node.input}:
            if name in graph.stored and int(np.prod(graph.stored[name].dims)) == 1:
                value = float(numpy_helper.to_array(graph.stored[name]).reshape(-1)[0])
                found += [abs(value)] if value <= -LEAST else []
        return cls(min(found, default=np.inf))

    def left_out(self, run: Run) -> Run:
        """Return the same function, but that values as far out as half of the constant are left out."""
        if not np.isfinite(self.level):
            return run

        def without(batch: Batch) -> Iterator[tuple[str, np.ndarray]]:
            for name, values in run(batch):
                far = values <= -self.level / 2
                if far.any():
                    self.held.add(name)
                    values = values[~far]
                yield name, values

        return without

    def notes(self) -> Iterator[tuple[str, str]]:
        """Yield what was left out of which ranges."""
        if self.held:
            names = ", ".join(sorted(self.held))
            yield "left out of ranges", f"the mask constant {-self.level:.3g}, in {names}"
