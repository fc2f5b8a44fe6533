"""What layers are given on calibration data: in the float network once, in the quantized one as it stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from qbench.quant.moments import Moments, moments, rows_of
from qbench.quant.qdq_layout import runner
from qbench.quant.qdq_model import QdqModel, StoredWeight
from qbench.quant.recipe import Product

if TYPE_CHECKING:
    from qbench.quant.ptq import Ptq

ROWS = 512  # of a batch: what moments are taken from


class LayerInputs:
    """Rows of every layer's input in the float network, kept while it is quantized again and again."""

    def __init__(self) -> None:
        """Start without any."""
        self._rows: dict[str, list[np.ndarray]] = {}

    def moments(self, model: QdqModel, weight: StoredWeight, ptq: Ptq, done: Product) -> Moments | None:
        """Return the moments of what this weight's node is given; None where its form is not known."""
        node, array = ptq.weight_of(weight)
        true = self._true_rows(model, ptq).get(node.name)
        if not true:
            return None
        given = weight.node.input[0] if done.in_float is None else node.input[0]
        own = runner(done.simulated(), [given], optimized=True)

        def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for rows, batch in zip(true, ptq.batches(), strict=True):
                found = rows_of(node, array.shape, dict(own(batch))[given], ROWS)
                assert found is not None  # the rows of the float network were found
                yield rows, found

        return moments(pairs())

    def _true_rows(self, model: QdqModel, ptq: Ptq) -> dict[str, list[np.ndarray]]:
        """Return rows of every layer's input in the float network, one array a batch; empty where unknown."""
        weights = [weight for weight in model.weights if weight.position == 1]
        users = [(ptq.nodes[user.name], weight) for weight in weights for user in model.users(weight)]
        layers = [(node, ptq.weight_of(weight)[1]) for node, weight in users if node.name not in self._rows]
        if not layers:
            return self._rows
        run = runner(ptq.network, list({node.input[0]: 0 for node, _ in layers}), optimized=True)
        for batch in ptq.batches():
            found = dict(run(batch))
            for node, array in layers:
                rows = rows_of(node, array.shape, found[node.input[0]], ROWS)
                self._rows.setdefault(node.name, []).extend([] if rows is None else [rows])
        return self._rows
