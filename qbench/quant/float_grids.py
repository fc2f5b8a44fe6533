"""Weights on the grids of narrow number formats: fp8, nf4, and four-bit floats with a scale a block.

A weight is taken as a matrix with a row for every output channel (weight_rows.py); blocks are neighbours in a
row, and where a row is no multiple of the block its last block is shorter. What comes back is float32: the
values that the format can say, each times its scale. Zero is one of them in every format.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

Format = Literal["e4m3", "e5m2", "nf4", "mxfp4", "nvfp4"]
LARGEST = {"e4m3": 448.0, "e5m2": 57344.0, "e2m1": 6.0}  # OCP OFP8 1.0, table 1; OCP MX 1.0, table 5
DTYPES = {"e4m3": "float8_e4m3fn", "e5m2": "float8_e5m2", "e2m1": "float4_e2m1fn"}  # of ml_dtypes
MX_BLOCK, NV_BLOCK, NF4_BLOCK = 32, 16, 64
E2M1_EXPONENT = 2  # of its largest power of two, 4
E8M0_LIMIT = 127  # the shared scale is 2^-127 to 2^127
NF4 = np.array(
    [
        -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
        -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
        0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
        0.7229568362236023, 1.0,
    ],
    "f4",
)  # fmt: skip  # Dettmers et al. 2023, arXiv:2305.14314, appendix E


def on_grid(rows: np.ndarray, form: Format, block: int = NF4_BLOCK) -> np.ndarray:
    """Return a matrix (rows, columns) of finite numbers on a format's grid, float32.

    `block` is that of nf4; the other formats have their own.
    """
    if form == "nf4":
        return _in_blocks(rows, block, _nf4)
    if form == "mxfp4":
        return _in_blocks(rows, MX_BLOCK, _mxfp4)
    if form == "nvfp4":
        whole = np.float32(np.abs(rows).max(initial=0) / (LARGEST["e2m1"] * LARGEST["e4m3"]))
        return _in_blocks(rows, NV_BLOCK, lambda part: _nvfp4(part, float(whole)))
    return _scaled(rows, form, scale_of(np.abs(rows).max(axis=1, keepdims=True, initial=0), form))


def scale_of(largest: np.ndarray, form: str) -> np.ndarray:
    """Return the scales that put these magnitudes on a format's largest number, float32; 1 for zero."""
    scale = (largest / LARGEST[form]).astype("f4")
    return np.where(scale > 0, scale, np.float32(1))


def rounded(values: np.ndarray, form: str) -> np.ndarray:
    """Return values at the nearest number of e4m3, e5m2 or e2m1, ties to even; the largest for all beyond."""
    import ml_dtypes

    inside = np.clip(values.astype("f4"), -LARGEST[form], LARGEST[form])
    return inside.astype(getattr(ml_dtypes, DTYPES[form])).astype("f4")


def _scaled(part: np.ndarray, form: str, scale: np.ndarray) -> np.ndarray:
    """Return a part rounded in units of its scale; a scale of zero leaves nothing but zero."""
    units = np.divide(part, scale, out=np.zeros(part.shape), where=scale > 0)
    return (rounded(units, form) * scale).astype("f4")


def _in_blocks(rows: np.ndarray, block: int, grid: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Apply a grid to every block, (rows, up to `block` columns) at a time."""
    parts = [grid(rows[:, start : start + block]) for start in range(0, rows.shape[1], block)]
    return np.concatenate(parts, axis=1) if parts else rows.astype("f4")


def _nf4(part: np.ndarray) -> np.ndarray:
    """Return a block at its largest magnitude times the nearest of sixteen quantiles of a normal.

    Source:
        Dettmers et al. 2023, arXiv:2305.14314, eq. 1 and 4; the scales stay in float32 (no double
        quantization).
    """
    largest = np.abs(part).max(axis=1, keepdims=True).astype("f4")
    middles = (NF4[1:] + NF4[:-1]) / 2
    shares = np.divide(part, largest, out=np.zeros(part.shape), where=largest > 0)
    return NF4[np.searchsorted(middles, shares)] * largest


def _mxfp4(part: np.ndarray) -> np.ndarray:
    """Return a block in e2m1 with a shared power of two, floor(log2(largest magnitude)) - 2.

    Source:
        OCP Microscaling Formats (MX) 1.0, sections 5.2 and 6.3.
    """
    _, exponent = np.frexp(np.abs(part).max(axis=1, keepdims=True).astype("f8"))
    shared = np.clip(exponent - 1 - E2M1_EXPONENT, -E8M0_LIMIT, E8M0_LIMIT)  # frexp: mantissas from 1/2 to 1
    return _scaled(part, "e2m1", np.ldexp(1.0, shared))


def _nvfp4(part: np.ndarray, whole: float) -> np.ndarray:
    """Return a block in e2m1 with a scale of its own in e4m3, times the tensor's.

    Source:
        NVIDIA, Pretraining Large Language Models with NVFP4, arXiv:2509.25149, appendix C.
    """
    wanted = np.abs(part).max(axis=1, keepdims=True) / LARGEST["e2m1"]
    own = rounded(wanted / whole, "e4m3") if whole > 0 else np.zeros(wanted.shape)
    return _scaled(part, "e2m1", own.astype("f8") * whole)
