"""Where a QDQ file's loss comes from, for the strategies that write one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from qbench.errors import DoesNotFit
from qbench.quant.coverage import Coverage
from qbench.quant.onnx_layers import quietly, read_network
from qbench.quant.ptq import Ptq
from qbench.quant.ranges import Batch
from qbench.quant.recipe import Recipe
from qbench.quant.sensitivity import Losses, Right, losses, outputs_of

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH = 32
JUDGED_ON = 500  # selection examples: each is asked once a layer


class Data(Protocol):
    """What a strategy is given (strategies.base.Calibration); named here because imports point down."""

    def in_batches(self, batch: int) -> Iterator[Batch]:
        """Yield the calibration examples."""

    @property
    def fixed_batch(self) -> int | None:
        """Return the only size of a batch that the network takes; None: any."""

    @property
    def selection(self) -> Chosen | None:
        """Return the examples to judge by."""


class Chosen(Protocol):
    """Examples to judge by (strategies.base.Selection)."""

    def call(self, rows: np.ndarray) -> Batch:
        """Return what a call with these takes, in the network's own layout."""

    @property
    def count(self) -> int:
        """Return how many they are; rows behind them only fill up the last batch."""

    @property
    def right(self) -> Right | None:
        """Return what judges the outputs of the first so many by labels; None where there are no labels."""


def explained(
    path: Path | None,
    covers: tuple[str, ...],
    technique: str,
    recipe: Recipe,
    data: Data,
    coverage: Coverage | None = None,
) -> Losses:
    """Return what the rounding of each layer costs, in the order of the network; see `losses`.

    Judged are the first JUDGED_ON selection examples: by their labels where they have some, else by agreement
    with the float network's first answers, where an answer that was wrong in float counts as right. A network
    of a fixed batch is asked in such batches; what fills up the last is heard for the noise, and not judged.

    Raises:
        DoesNotFit: there are no examples to judge by, or the network is not covered.
    """
    chosen = data.selection
    if chosen is None or not chosen.count:
        raise DoesNotFit(
            f"{technique} is explained on selection examples, and there are none", fix="give a few hundred"
        )
    count = min(JUDGED_ON, chosen.count)
    with quietly():
        asked = coverage or Coverage()
        network = read_network(path, asked.layers(covers), technique)
        ptq = Ptq(network, lambda: data.in_batches(BATCH), technique, asked)
        batches = list(_batches(chosen, count, data.fixed_batch))
        by_labels = chosen.right
        judge = by_labels or _as_float(outputs_of(ptq.network, batches)[:count])
        found = losses(ptq, recipe, batches, lambda outputs: judge(outputs[:count]))
    return replace(found, judge="labels" if by_labels else "float")


def _as_float(wanted: np.ndarray) -> Right:
    """Return what judges outputs (count, ...) by float's, wanted: all first answers of an example alike."""
    answers = wanted.argmax(-1)

    def right(outputs: np.ndarray) -> np.ndarray:
        return np.asarray((outputs.argmax(-1) == answers).reshape(len(answers), -1).all(1))

    return right


def _batches(chosen: Chosen, count: int, fixed: int | None) -> Iterator[Batch]:
    """Yield the first `count` examples, of a fixed batch with the first ones again behind the last."""
    size = fixed or BATCH
    rows = np.arange(-(-count // fixed) * fixed if fixed else count) % count
    for start in range(0, len(rows), size):
        yield chosen.call(rows[start : start + size])
