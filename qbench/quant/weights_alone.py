"""Post-training quantization of the weights alone: no activation is looked at, and no data."""

from __future__ import annotations

from typing import Any

from qbench.quant.observers import Range
from qbench.quant.ptq import Ptq
from qbench.quant.qdq_layout import Layout
from qbench.quant.recipe import Recipe

ANY = (-1.0, 1.0)  # of an activation that stays in float: only the layout of the weights is taken from there


class WeightsAlone(Ptq):
    """A float network without data, for recipes that leave activations in float and round to nearest."""

    def __init__(self, network: Any, technique: str) -> None:
        """Prepare it as Ptq does; the network given is changed."""
        super().__init__(network, lambda: (), technique)

    def _ranges(self, network: Any, layout: Layout, recipe: Recipe) -> dict[str, Range]:  # noqa: ARG002
        return dict.fromkeys(layout.rounded(network), ANY)
