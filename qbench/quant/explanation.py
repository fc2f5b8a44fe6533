"""Where a QDQ file's loss comes from, for the strategies that write one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from qbench.errors import DoesNotFit
from qbench.quant.onnx_layers import quietly, read_network
from qbench.quant.ptq import Ptq
from qbench.quant.ranges import Batch
from qbench.quant.recipe import Recipe
from qbench.quant.sensitivity import LayerLoss, Right, losses, outputs_of

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH = 32
JUDGED_ON = 500  # selection examples: each is asked once a layer


class Data(Protocol):
    """What a strategy is given (strategies.base.Calibration); named here because imports point down."""

    def in_batches(self, batch: int) -> Iterator[Batch]:
        """Yield the calibration examples."""

    @property
    def selection(self) -> Chosen | None:
        """Return the examples to judge by."""


class Chosen(Protocol):
    """Examples to judge by (strategies.base.Selection)."""

    @property
    def inputs(self) -> Batch:
        """Return them, each input (count, ...)."""

    @property
    def right(self) -> Right | None:
        """Return what judges the outputs of all of them; None where float's answers are right."""


def explained(
    path: Path | None, covers: tuple[str, ...], technique: str, recipe: Recipe, data: Data
) -> list[LayerLoss]:
    """Return what the rounding of each layer costs, in the order of the network.

    Judged is agreement with the float network's first answers: it needs no labels, and an answer that was
    wrong in float is no loss when it changes.

    Raises:
        DoesNotFit: there are no examples to judge by, or the network is not covered.
    """
    if data.selection is None:
        raise DoesNotFit(
            f"{technique} is explained on selection examples, and there are none", fix="give a few hundred"
        )
    with quietly():
        ptq = Ptq(read_network(path, covers, technique), lambda: data.in_batches(BATCH), technique)
        chosen = list(_batches(data.selection.inputs))
        wanted = outputs_of(ptq.network, chosen)

        def right(outputs: np.ndarray) -> np.ndarray:
            return np.asarray(outputs.argmax(-1) == wanted.argmax(-1))

        return losses(ptq, recipe, chosen, right)


def _batches(inputs: Batch) -> Iterator[Batch]:
    count = min(JUDGED_ON, len(next(iter(inputs.values()))))
    for start in range(0, count, BATCH):
        stop = min(start + BATCH, count)
        yield {name: array[start:stop] for name, array in inputs.items()}
