"""Smooth noise: images without a meaning, whose values are spread as those of photographs are."""

from __future__ import annotations

import numpy as np

GRID = 8  # independent values along a side, before they are joined smoothly
SPREAD = 55.0  # grey levels, standard deviation of the smooth part
GRAIN = 8.0  # of the noise of each pixel alone


def smooth_noise(side: int, key: tuple[int, ...]) -> np.ndarray:
    """Return one uint8 image (side, side, 3); the same key gives the same image, another key another one."""
    rng = np.random.default_rng(key)
    at = np.linspace(0, GRID - 1, side)
    # Linear interpolation between the grid's values, as a matrix (side, GRID): a hat around each of them.
    hats = np.clip(1 - np.abs(at[:, None] - np.arange(GRID)), 0, None).astype(np.float32)
    grid = rng.standard_normal((3, GRID, GRID), dtype=np.float32) * np.float32(SPREAD)
    smooth = (hats @ grid @ hats.T).transpose(1, 2, 0) + np.float32(127.5)
    smooth += rng.standard_normal((side, side, 3), dtype=np.float32) * np.float32(GRAIN)
    return np.clip(np.round(smooth), 0, 255).astype(np.uint8)
