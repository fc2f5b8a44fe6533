"""Integers for reals: codes = round(x / scale) + zero_point (Jacob et al. 2018, arXiv:1712.05877, eq. 1).

A weight is taken as a matrix with a row for every output channel, so that one scale a tensor, a channel or a
group of a row's neighbours are the same code: the scale has the shape of the matrix's groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from qbench.errors import DoesNotFit

Granularity = Literal["per_tensor", "per_channel", "per_group"]
SHRINK = np.linspace(1.0, 0.2, 81)  # shares of the range that are tried: 1 % apart
TINY = 1e-12  # the least scale; nothing but zeros has 1, so that a bias in steps of it stays in 32 bits


@dataclass(frozen=True, slots=True)
class WeightGrid:
    """The integers of a weight: how many bits, what shares a scale, and how its range is found."""

    bits: int = 8
    granularity: Granularity = "per_channel"
    group_size: int = 0  # of per_group: neighbours in a row
    symmetric: bool = True  # zero_point 0, and the lowest code left out
    observer: Literal["minmax", "mse"] = "minmax"

    @property
    def low(self) -> int:
        """Return the least code: -127 of eight symmetric bits, 0 of asymmetric ones."""
        return -(2 ** (self.bits - 1)) + 1 if self.symmetric else 0

    @property
    def high(self) -> int:
        """Return the greatest code."""
        return 2 ** (self.bits - 1) - 1 if self.symmetric else 2**self.bits - 1


@dataclass(frozen=True, slots=True)
class Coded:
    """A weight matrix in integers: codes (rows, columns), scale and zero_point (rows or 1, groups)."""

    codes: np.ndarray
    scale: np.ndarray
    zero_point: np.ndarray

    @property
    def restored(self) -> np.ndarray:
        """Return the matrix in float32."""
        steps = self.codes - spread(self.zero_point, self.codes)
        return steps.astype("f4") * spread(self.scale, self.codes)


def spread(scale: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return a scale for every element's column, (rows or 1, columns), from one for every group."""
    return np.repeat(scale, matrix.shape[1] // scale.shape[1], axis=1)


def scales(matrix: np.ndarray, grid: WeightGrid) -> tuple[np.ndarray, np.ndarray]:
    """Return scale and zero_point, (rows or 1, groups) each, of a matrix (rows, columns)."""
    rows, columns = matrix.shape
    if grid.granularity == "per_group" and columns % grid.group_size:
        good = [size for size in (128, 64, 32, 16, 9, 8, 4, 3) if columns % size == 0]
        raise DoesNotFit(
            f"group_size = {grid.group_size} does not divide a row of {columns} weights",
            fix=f"write group_size = {' or '.join(map(str, dict.fromkeys([*good, columns])))}",
        )
    if grid.granularity == "per_tensor":
        cells = matrix.reshape(1, 1, -1)
    else:
        size = grid.group_size if grid.granularity == "per_group" else columns
        cells = matrix.reshape(rows, columns // size, size)
    low, high = np.minimum(cells.min(2), 0), np.maximum(cells.max(2), 0)
    if grid.observer == "minmax":
        return _of_range(low, high, grid)
    best_scale, best_zero = _of_range(low, high, grid)
    least = np.full(low.shape, np.inf)
    for share in SHRINK:
        scale, zero = _of_range(low * share, high * share, grid)
        codes = np.clip(np.rint(cells / scale[..., None]) + zero[..., None], grid.low, grid.high)
        error = (((codes - zero[..., None]) * scale[..., None] - cells) ** 2).sum(2)
        better = error < least
        least = np.where(better, error, least)
        best_scale, best_zero = np.where(better, scale, best_scale), np.where(better, zero, best_zero)
    return best_scale, best_zero


def _of_range(low: np.ndarray, high: np.ndarray, grid: WeightGrid) -> tuple[np.ndarray, np.ndarray]:
    if grid.symmetric:
        scale = _divisor(np.maximum(high, -low) / grid.high)
        return scale, np.zeros(scale.shape, np.int32)
    scale = _divisor((high - low) / (grid.high - grid.low))
    return scale, np.clip(np.rint(grid.low - low / scale), grid.low, grid.high).astype(np.int32)


def _divisor(scale: np.ndarray) -> np.ndarray:
    return np.where(scale > 0, np.maximum(scale, TINY), 1).astype("f4")


def nearest(matrix: np.ndarray, grid: WeightGrid, scale: np.ndarray | None = None) -> Coded:
    """Return the matrix rounded to the nearest codes, in steps of `scale` where it is given."""
    if scale is None:
        scale, zero = scales(matrix, grid)
    else:
        zero = np.zeros(scale.shape, np.int32)
    codes = np.rint(matrix / spread(scale, matrix)) + spread(zero, matrix)
    return Coded(np.clip(codes, grid.low, grid.high).astype(np.int32), scale, zero)


def activation_scale(low: float, high: float, bits: int, *, symmetric: bool = False) -> tuple[float, int]:
    """Return scale and zero_point of unsigned codes over a range that holds zero.

    A symmetric range has the middle code for its zero_point, so that the codes are those of signed integers
    with zero_point 0, moved.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    steps = 2**bits - (2 if symmetric else 1)
    if low == high:
        return 1.0, 2 ** (bits - 1) if symmetric else 0
    if symmetric:
        return max(2 * max(high, -low) / steps, TINY), 2 ** (bits - 1)
    scale = max((high - low) / steps, TINY)
    return scale, round(min(max(-low / scale, 0), steps))
