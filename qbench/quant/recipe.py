"""What decides a network's integers, and what comes of it: the words of post-training quantization."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from qbench.quant.affine import Coded, WeightGrid
from qbench.quant.float_form import float_form
from qbench.quant.observers import Grid, Histogram, Range, entropy, minmax, mse, percentile

STORED = (8, 4)  # bits of a symmetric weight that the format has a type for
IN_FLOAT = 32  # activation bits that leave them in float
FLOAT = 0  # in `layers`: this one is not quantized
WIDE = 8  # bits of an activation that keeps the file's type where the others have fewer
ENDS = 8  # bits of the first and the last layer, where those are kept wide
Observer = Literal["minmax", "entropy", "percentile", "mse"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the integers, but for the network and the data."""

    weights: WeightGrid = WeightGrid()
    activation_bits: int = 8  # 16, 8 or fewer
    observer: Observer = "mse"  # of activations
    percentile: float = 99.99
    scheme: Literal["u8s8", "s8s8"] = "u8s8"
    symmetric: bool = False  # of activations
    rounding: Literal["nearest", "adaround"] = "nearest"
    bias_correction: bool = False
    keep_ends: bool = False  # the first and the last layer in 8 bits, whatever the others have
    layers: Mapping[str, int] = field(default_factory=dict)  # bits of a weight by node, where they are others


@dataclass(frozen=True, slots=True)
class Scales:
    """Scales that were learned, in the place of those that would be computed."""

    weights: Mapping[str, np.ndarray]  # by node: of its weight's rows, (rows or 1, 1)
    activations: Mapping[str, float]  # by tensor


@dataclass(frozen=True, slots=True)
class Settled:
    """What one quantization made of every layer, by node, for another of the same network to take as it is.

    Layers that are missing are rounded anew, and put in.
    """

    codes: dict[str, Coded] = field(default_factory=dict)  # of the weight as a matrix, (channels out, k)
    biases: dict[str, np.ndarray | None] = field(default_factory=dict)  # (channels out,); None: no stored one


@dataclass(frozen=True, slots=True)
class Product:
    """A quantized network: the QDQ model, and which of its activations have fewer bits than its types."""

    model: Any
    narrow: dict[str, int]
    corrected: int = 0  # biases
    learned: int = 0  # layers that AdaRound rounded
    layers: int = 0  # that are quantized
    ends: int = 0  # of these, the ones kept at more bits than were asked
    wide: int = 0  # activations that keep the file's width where others are narrow
    in_float: Any = None  # the float network with rounded weights, where activations stay in float
    settled: Settled | None = None  # what its layers became, where that was asked for

    def simulated(self) -> Any:
        """Return it in float operators; see float_form."""
        return self.in_float or float_form(self.model, self.narrow)


def observed(histogram: Histogram, recipe: Recipe) -> Range:
    """Return the range of an activation that was seen so, as the recipe has it."""
    grid = Grid(min(recipe.activation_bits, 16), recipe.symmetric)
    if recipe.observer == "minmax":
        return minmax(histogram)
    if recipe.observer == "percentile":
        return percentile(histogram, grid, recipe.percentile)
    return {"entropy": entropy, "mse": mse}[recipe.observer](histogram, grid)
