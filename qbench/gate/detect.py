"""The detector: is a candidate slower than its reference, judged on rounds that both were measured in.

A comparison fails when three things hold at once: a one-sided signed-rank test over the rounds finds it
slower at the level that Holm's procedure leaves it, the slow-down reaches the practical limit, and it is
larger than what this machine shows between two copies of the same file. It passes when its whole interval
lies below the limit. Whatever lies between is inconclusive, and says what would decide it.

Source:
    Wilcoxon 1945, Biometrics Bulletin 1(6); Hodges and Lehmann 1963, Ann. Math. Statist. 34(2) (the estimate
    and its interval); Holm 1979, Scand. J. Statist. 6(2) (many comparisons of one night).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from qbench.gate.ranks import Tested, holm, p_value, signed_rank_interval

ALPHA = 0.05  # of a night: the chance that any of its comparisons fails by chance
LIMIT = 1.03  # a limit of 1.05 would pass half of all true slow-downs of 5 %
CONFIDENCE = 0.95

Result = Literal["pass", "fail", "inconclusive", "not_run"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure a round of the reference and of the candidate, in the same rounds; lower is better.

    Raises:
        ValueError: two lengths, or a figure that is not a positive number.
    """

    name: str
    reference: tuple[float, ...]
    candidate: tuple[float, ...]
    floor: float = 1.0  # the slow-down that two copies of one file show here (noise.floor_of)

    def __post_init__(self) -> None:
        """Refuse figures that cannot be compared."""
        if len(self.reference) != len(self.candidate):
            raise ValueError(
                f"{self.name}: {len(self.reference)} rounds of the reference, "
                f"{len(self.candidate)} of the candidate"
            )
        if not all(math.isfinite(value) and value > 0 for value in (*self.reference, *self.candidate)):
            raise ValueError(f"{self.name}: a figure that is not a positive number cannot be compared")

    @property
    def logs(self) -> np.ndarray:
        """Return log(candidate / reference) of every round: above zero, the candidate is slower."""
        return np.log(np.asarray(self.candidate) / np.asarray(self.reference))


@dataclass(frozen=True, slots=True)
class Finding:
    """What the detector says of one comparison. A slow-down of 1.05 is five per cent more."""

    name: str
    result: Result
    reason: str
    rounds: int
    slow_down: float | None = None  # None: not run
    low: float | None = None  # 95 % interval of the slow-down
    high: float | None = None
    p_value: float | None = None  # of the one-sided test, before the correction
    level: float | None = None  # what Holm's procedure asks of it
    faster: bool = False  # an improvement as clear as a failure would have to be: explain it as well


def slow_down(one: Comparison) -> float:
    """Return the estimate: the middle of all means of two rounds' log ratios."""
    return math.exp(signed_rank_interval(one.logs, CONFIDENCE)[0])


def least_rounds(comparisons: int, alpha: float = ALPHA) -> int:
    """Return the fewest rounds with which the test can reach its corrected level at all.

    With n rounds the signed-rank test cannot go below 2^-n, and Holm asks alpha / m of the clearest of m.

    Raises:
        ValueError: no comparison, or a level outside (0, 1).
    """
    if comparisons < 1 or not 0 < alpha < 1:
        raise ValueError(f"{comparisons} comparisons at level {alpha} are no family of tests")
    return math.ceil(math.log2(comparisons / alpha))


def judge(
    comparisons: Sequence[Comparison], *, alpha: float = ALPHA, limit: float = LIMIT
) -> tuple[Finding, ...]:
    """Judge a night's comparisons as one family, in the order given.

    A comparison with fewer rounds than the test needs is `not_run`: it could never fail, so that its pass
    would mean nothing.

    Raises:
        ValueError: a limit that is not above 1, or a level outside (0, 1).
    """
    if limit <= 1:
        raise ValueError(f"a practical limit of {limit} would fail what is as fast as before")
    if not comparisons:
        return ()
    needed = least_rounds(len(comparisons), alpha)
    able = [one for one in comparisons if len(one.reference) >= needed]
    slower = holm([p_value(one.logs) for one in able], alpha)
    faster = holm([p_value(-one.logs) for one in able], alpha)
    judged = {
        id(one): _found(one, slow, fast, limit) for one, slow, fast in zip(able, slower, faster, strict=True)
    }
    return tuple(judged.get(id(one)) or _not_run(one, needed, len(comparisons)) for one in comparisons)


def _found(one: Comparison, slow: Tested, fast: Tested, limit: float) -> Finding:
    middle, low, high = (math.exp(value) for value in signed_rank_interval(one.logs, CONFIDENCE))
    bar = max(limit, one.floor)
    result, reason = _result(middle, high, slow, limit, one.floor)
    return Finding(
        one.name, result, reason, len(one.reference), middle, low, high, slow.p_value, slow.level,
        faster=fast.rejected and middle <= 1 / bar,
    )  # fmt: skip


def _result(middle: float, high: float, slow: Tested, limit: float, floor: float) -> tuple[Result, str]:
    """Return the result and its reason: the three conditions of a failure, the one of a pass."""
    if slow.rejected and middle >= limit and middle > floor:
        return "fail", f"slower by {middle - 1:.1%}: p = {slow.p_value:.2g}, below {slow.level:.2g}"
    if high < limit:
        return "pass", f"slower by less than {limit - 1:.0%}: at most {high - 1:+.1%}"
    if middle < limit:
        return "inconclusive", f"up to {high - 1:+.1%} cannot be ruled out: measure more rounds"
    if middle <= floor:
        return (
            "inconclusive",
            f"slower by {middle - 1:.1%}, which two copies of one file differ by here ({floor - 1:.1%}): "
            "measure on a quieter machine",
        )
    return (
        "inconclusive",
        f"slower by {middle - 1:.1%}, but not in enough rounds (p = {slow.p_value:.2g}, "
        f"{slow.level:.2g} asked): measure more rounds",
    )


def _not_run(one: Comparison, needed: int, family: int) -> Finding:
    rounds = len(one.reference)
    reason = (
        f"{rounds} rounds cannot fail a test at the level that {family} comparisons leave: measure at least "
        f"{needed} rounds"
    )
    return Finding(one.name, "not_run", reason, rounds)
