"""How far apart are two answers, output by output? What is near enough for two readers in 32-bit float.

Errors are told relative to the range of an output, and within it to the range of each slice whose values have
a range of their own: boxes of 0 to 640 beside scores of 0 to 1 in one tensor. Whole numbers are compared
exactly, but for what a tie decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LIMIT = 1e-3  # of the range: readers in float32 differ by 1e-6 to 1e-5 of it (docs/methodology.md)
COARSE = 16  # roundings of the output's own type are near enough, where that is coarser: float16
# A slice's range counts for at least this share of the whole output's: below it, float32's own rounding of
# what the slice was computed from is as large as the limit.
NARROWEST = 0.02
FEWEST = 8  # values; the range of fewer is no range
DECIDED_BY_A_TIE = 1e-3  # of the whole numbers in a map of many: their scores lie in no output


@dataclass(frozen=True, slots=True)
class Distance:
    """How far one answer is from another: the worst of the outputs, all of them looked at."""

    output: str
    error: float  # of the range; of whole numbers: the share that differs; infinite: not comparable
    meets: bool
    how: str  # "by 0.43 of the range of output 'boxes'"


def distance(
    found: Sequence[np.ndarray],
    wanted: Sequence[np.ndarray],
    names: Sequence[str],
    ranges: Sequence[float] | None = None,
) -> Distance:
    """Compare all outputs of one call; the worst one is returned, those beyond the limit before all others.

    `ranges`: of each output over more calls than this one, which may be of one example only.

    Shapes:
        found, wanted: one array an output, as a call gives them.
    """
    if len(found) != len(wanted):
        return Distance("", float("inf"), False, f"by giving {len(found)} outputs, not {len(wanted)}")
    spans = [range_of([array]) for array in wanted] if ranges is None else ranges
    each = [
        _of_one(name, given, right, span, _scores(wanted))
        for name, given, right, span in zip(names, found, wanted, spans, strict=True)
    ]
    if not each:
        return Distance("", 0.0, True, "by nothing")
    return max(each, key=lambda one: (not one.meets, one.error))


def _of_one(
    name: str, found: np.ndarray, wanted: np.ndarray, span: float, scores: list[np.ndarray]
) -> Distance:
    if found.shape != wanted.shape:
        how = f"in the shape of output {name!r}, {_shape(found)} and not {_shape(wanted)}"
        return Distance(name, float("inf"), False, how)
    if wanted.dtype.kind != "f" or found.dtype.kind != "f":
        return _of_whole_numbers(name, found, wanted, scores)
    error = float_error(found, wanted, span)
    if not np.isfinite(error):
        return Distance(name, error, False, f"by NaN or infinity in output {name!r}")
    near = error <= max(LIMIT, COARSE * float(np.finfo(wanted.dtype).eps))
    return Distance(name, error, near, f"by {error:.2g} of the range of output {name!r}")


def range_of(arrays: Sequence[np.ndarray]) -> float:
    """Return the range of all finite values together; of a constant, its size; 1 where there is neither."""
    finite = [a[np.isfinite(a)].astype(np.float64) for a in arrays if a.dtype.kind == "f"]
    values = np.concatenate([a.ravel() for a in finite]) if finite else np.zeros(0)
    if not values.size:
        return 1.0
    return float(np.ptp(values)) or float(np.abs(values).max()) or 1.0


def float_error(found: np.ndarray, wanted: np.ndarray, whole: float) -> float:
    """Return the largest difference as a share of a range: of the whole output, or of a slice of it.

    Slices are those along the second axis (channels first) and along the last one. Infinities and NaN must be
    where they are in the other, or the error is infinite. `whole`: the range of the output.

    Shapes:
        found, wanted: the same.
    """
    finite = np.isfinite(wanted)
    if not np.array_equal(finite, np.isfinite(found)):
        return float("inf")
    if not finite.all():
        if not np.array_equal(found[~finite], wanted[~finite], equal_nan=True):
            return float("inf")
        found, wanted = np.where(finite, found, 0), np.where(finite, wanted, 0)
    if not wanted.size:
        return 0.0
    right = wanted.astype(np.float64)
    apart = np.abs(found.astype(np.float64) - right)
    worst = float(apart.max()) / whole
    for axis in {1, right.ndim - 1} if right.ndim > 1 else ():
        others = tuple(other for other in range(right.ndim) if other != axis)
        if right.size // right.shape[axis] >= FEWEST:
            spans = np.maximum(np.ptp(right, axis=others), NARROWEST * whole)
            worst = max(worst, float((apart.max(axis=others) / spans).max()))
    return worst


def _of_whole_numbers(name: str, found: np.ndarray, wanted: np.ndarray, scores: list[np.ndarray]) -> Distance:
    unlike = np.asarray(found != wanted)
    several = int(unlike.sum())
    for labelled in scores:
        unlike = unlike & ~_ties(found, wanted, labelled)
    left, share = int(unlike.sum()), several / max(unlike.size, 1)
    how = f"in {several} of {unlike.size} values of output {name!r}"
    return Distance(name, share, left <= DECIDED_BY_A_TIE * unlike.size, how)


def _ties(found: np.ndarray, wanted: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return where two labels differ whose scores are as good as equal.

    Shapes:
        found, wanted: (..., 1) or (...), labels.
        scores: (..., classes), the same leading axes.
        returns: that of `found`.
    """
    leading = scores.shape[:-1]
    flat = wanted.shape == leading
    if (not flat and wanted.shape != (*leading, 1)) or wanted.dtype.kind not in "iu":
        return np.zeros(wanted.shape, bool)
    labels = [array.reshape(*leading, 1) for array in (found, wanted)]
    inside = [(array >= 0) & (array < scores.shape[-1]) for array in labels]
    values = [
        np.take_along_axis(scores, np.where(ok, a, 0), -1) for a, ok in zip(labels, inside, strict=True)
    ]
    span = (float(np.ptp(scores)) or 1.0) if scores.size else 1.0
    near = np.abs(values[0] - values[1]) <= LIMIT * span
    return np.asarray((near & inside[0] & inside[1]).reshape(wanted.shape))


def _scores(outputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the outputs that labels may stand for, classes last; of a map also with its channels last."""
    real = [a for a in outputs if a.dtype.kind == "f" and a.ndim > 1 and np.isfinite(a).all()]
    return real + [np.moveaxis(a, 1, -1) for a in real if a.ndim > 2]


def _shape(array: np.ndarray) -> str:
    return "x".join(map(str, array.shape)) or "a scalar"
