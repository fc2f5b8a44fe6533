"""What a layer's rounding costs, from the second moments of its inputs alone.

With x what the float network gives a layer and y what the quantized one gives it, the squared error of its
output, |W x - V y|^2 on average, is a quadratic form in the rounded weight V: no example is needed any more
once E[y y'] and E[x y'] are known (Nagel et al. 2020, arXiv:2004.10568, eq. 13, with both inputs as in
section 4.3).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from qbench.quant.products import as_matrix, fact, windows

RIDGE = 1e-6  # of the mean diagonal: keeps directions that no example has from being free


@dataclass(frozen=True, slots=True)
class Moments:
    """Of a layer's inputs over calibration data; g groups, k inputs of a sum."""

    own: np.ndarray  # (g, k, k): E[y y'], of the quantized network's
    cross: np.ndarray  # (g, k, k): E[x y']
    true: np.ndarray  # (g, k, k): E[x x'], of the float network's
    float_mean: np.ndarray  # (g, k): E[x]
    own_mean: np.ndarray  # (g, k): E[y]

    @property
    def centred(self) -> Moments:
        """Return them about their means: what is left to a weight when the bias takes care of the means."""
        x, y = self.float_mean, self.own_mean
        return Moments(
            self.own - y[:, :, None] * y[:, None],
            self.cross - x[:, :, None] * y[:, None],
            self.true - x[:, :, None] * x[:, None],
            np.zeros_like(x),
            np.zeros_like(y),
        )


def moments(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> Moments | None:
    """Return the moments over batches of a layer's inputs: rows (g, n, k) of the float network and its own.

    None where there is no batch.
    """
    total, seen = None, 0
    for xs, ys in pairs:
        seen += xs.shape[1]
        turned = ys.transpose(0, 2, 1)
        parts = (
            turned @ ys,
            xs.transpose(0, 2, 1) @ ys,
            xs.transpose(0, 2, 1) @ xs,
            xs.sum(1),
            ys.sum(1),
        )
        sums = [part.astype("f8") for part in parts]
        total = sums if total is None else [a + b for a, b in zip(total, sums, strict=True)]
    if total is None:
        return None
    return Moments(*(part / seen for part in total))


def rows_of(node: Any, shape: tuple[int, ...], values: np.ndarray, most: int) -> np.ndarray | None:
    """Return at most so many rows (g, n, k) of what a layer multiplies its weight with, float32.

    None where the layer's form is not known.
    """
    found = windows(node, shape, values, most=most)
    return None if found is None else found.values.reshape(*found.values.shape[:2], -1).astype("f4")


def grouped(node: Any, matrix: np.ndarray) -> np.ndarray:
    """Return a weight matrix (channels out, k) by the layer's groups, (g, channels out / g, k)."""
    count = fact(node, "group", 1) if node.op_type == "Conv" else 1
    return matrix.reshape(count, len(matrix) // count, -1)


def loss(weight: np.ndarray, rounded: np.ndarray, of: Moments) -> np.ndarray:
    """Return the mean squared error of every output channel, (g, rows); weights are (g, rows, k)."""
    weight, rounded = weight.astype("f8"), rounded.astype("f8")
    form = np.einsum("grk,gkl,grl->gr", rounded, of.own, rounded, optimize=True)
    form -= 2 * np.einsum("grk,gkl,grl->gr", weight, of.cross, rounded, optimize=True)
    return np.asarray(form + signal(weight, of))


def signal(weight: np.ndarray, of: Moments) -> np.ndarray:
    """Return the mean square of every output channel of the float layer, (g, rows)."""
    weight = weight.astype("f8")
    return np.asarray(np.einsum("grk,gkl,grl->gr", weight, of.true, weight, optimize=True))


def shift(node: Any, weight: np.ndarray, rounded: np.ndarray, of: Moments) -> np.ndarray:
    """Return by how much rounding moves the mean of every output channel: E[W x - V y], (channels out,).

    Added to the bias it corrects it (Nagel et al. 2019, arXiv:1906.04721, section 4.2, measured on data).
    """
    true, own = (grouped(node, as_matrix(node, array)).astype("f8") for array in (weight, rounded))
    before = np.einsum("grk,gk->gr", true, of.float_mean)
    after = np.einsum("grk,gk->gr", own, of.own_mean)
    return np.asarray((before - after).reshape(-1))
