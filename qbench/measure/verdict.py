"""Judgements on a measured cell, made where the cell is measured: what is wrong, and what can be done."""

from __future__ import annotations

from qbench.metrics import HALF_NOISE_DB
from qbench.records import Verdict

LONGEST_WARMUP_S = 10.0  # that any profile gives
COLLAPSE = 0.5  # share of the float network's lead over chance below which a network has collapsed


def collapsed(accuracy: float, float_accuracy: float, chance: float) -> Verdict | None:
    """Return the verdict on a network that has lost more than half of its lead over guessing.

    An absolute rule, whatever any reference file says: a public reference file holds 0.2475 as the expected
    accuracy of a network whose float form has 0.8107.
    """
    lead = float_accuracy - chance
    if lead <= 0 or (accuracy - chance) / lead >= COLLAPSE:
        return None
    return Verdict(
        "collapsed",
        f"accuracy {accuracy:.1%} against {float_accuracy:.1%} in float with {chance:.1%} by guessing: "
        "more than half of what the network knew is gone",
    )


def drowned(sqnr_db: float) -> Verdict | None:
    """Return the verdict on outputs with more noise than signal, for a network whose answers mean nothing.

    Random weights give all classes nearly the same score, so that a first answer flips for nothing; the
    outputs themselves must still be those of the float network. At 3 dB half of their power is noise.
    """
    if sqnr_db >= HALF_NOISE_DB:
        return None
    return Verdict(
        "collapsed",
        f"the outputs stand {sqnr_db:.1f} dB above their difference to float (at least {HALF_NOISE_DB:g}): "
        "they are not the network's any more",
    )


def not_finite(bad: int, total: int) -> Verdict | None:
    """Return the verdict on outputs that hold NaN or infinity."""
    if not bad:
        return None
    return Verdict(
        "collapsed",
        f"{bad} of {total} answers hold NaN or infinity: a range overflowed; look at the calibration data",
    )


def not_steady(steady: bool, warmup_s: float, cap_s: float) -> Verdict | None:
    """Return the verdict on a window that began while calls were still getting faster or slower."""
    if steady:
        return None
    further = (
        "take a profile with a longer warm-up (--profile standard)"
        if cap_s < LONGEST_WARMUP_S
        else "measure on a quieter machine"
    )
    return Verdict(
        "not_steady",
        f"calls still drifted after {warmup_s:.1f} s of warm-up: close other programs, or {further}",
    )
