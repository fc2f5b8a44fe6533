"""Post-training quantization of the weights alone: no activation is looked at, and no data."""

from __future__ import annotations

from math import gcd
from typing import Any

from qbench.errors import DoesNotFit
from qbench.quant.coverage import Coverage
from qbench.quant.observers import Range
from qbench.quant.products import as_matrix
from qbench.quant.ptq import Ptq
from qbench.quant.qdq_layout import Layout
from qbench.quant.qdq_model import QdqModel
from qbench.quant.recipe import Recipe

ANY = (-1.0, 1.0)  # of an activation that stays in float: only the layout of the weights is taken from there
USUAL = (128, 64, 32, 16, 9, 8, 4, 3)  # group sizes to offer


class WeightsAlone(Ptq):
    """A float network without data, for recipes that leave activations in float and round to nearest."""

    def __init__(self, network: Any, technique: str, coverage: Coverage | None = None) -> None:
        """Prepare it as Ptq does; the network given is changed."""
        super().__init__(network, lambda: (), technique, coverage)

    def _ranges(self, network: Any, layout: Layout, recipe: Recipe) -> dict[str, Range]:  # noqa: ARG002
        return dict.fromkeys(layout.rounded(network), ANY)

    def row_lengths(self) -> dict[str, int]:
        """Return how long a row of every weight is that would be rounded, by the weight's name."""
        found = {}
        for weight in QdqModel(self.quantized(Recipe()).model).weights:
            node, array = self.weight_of(weight)
            name = node.input[weight.position].removesuffix("_folded_weight")
            found[name] = as_matrix(node, array).shape[1]
        return found


def divided_or_raise(network: Any, group_size: int, technique: str, coverage: Coverage | None = None) -> None:
    """Check that groups of this size divide the rows of every weight, before any is rounded.

    The network given is changed, as Ptq does.

    Raises:
        DoesNotFit: they do not; the fix has sizes that divide all of them.
    """
    lengths = WeightsAlone(network, technique, coverage).row_lengths()
    wrong = next((name for name, length in lengths.items() if length % group_size), None)
    if wrong is None:
        return
    common = gcd(*lengths.values())
    good = dict.fromkeys([*(size for size in USUAL if common % size == 0), common])
    fix = f"write group_size = {' or '.join(map(str, good))}, which divide the rows of all layers"
    if common == 1:
        fix = 'write granularity = "per_channel" and leave group_size out: no size divides all layers\' rows'
    row = f"a row of {lengths[wrong]} weights, of {wrong!r}"
    raise DoesNotFit(f"{technique}: group_size = {group_size} does not divide {row}", fix=fix)
