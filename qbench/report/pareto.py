"""The Pareto front, and which points the intervals cannot tell from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from qbench.report.figures import Figure

Standing = Literal["front", "near", "behind"]


@dataclass(frozen=True, slots=True)
class Span:
    """A value between the ends of its interval; where it has none, both ends are the value."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, figure: Figure) -> Span:
        """Return a figure as a span."""
        if figure.low is None or figure.high is None:
            return cls(figure.value, figure.value, figure.value)
        # an order-statistic interval holds its median; whatever does not, is widened until it holds the value
        return cls(figure.value, min(figure.low, figure.value), max(figure.high, figure.value))

    def turned(self) -> Span:
        """Return the span with the other sign: more becomes less."""
        return Span(-self.value, -self.high, -self.low)


@dataclass(frozen=True, slots=True)
class Point:
    """What something costs, the less the better, and what it is worth, the more the better."""

    cost: Span
    gain: Span


def dominates(one: Point, other: Point) -> bool:
    """Tell whether `one` is nowhere worse than `other` and somewhere better, by the values alone."""
    no_worse = one.cost.value <= other.cost.value and one.gain.value >= other.gain.value
    return no_worse and (one.cost.value < other.cost.value or one.gain.value > other.gain.value)


def surely_dominates(one: Point, other: Point) -> bool:
    """Tell whether the worst of `one`'s intervals still dominates the best of `other`'s."""
    no_worse = one.cost.high <= other.cost.low and one.gain.low >= other.gain.high
    return no_worse and (one.cost.high < other.cost.low or one.gain.low > other.gain.high)


def standings(points: Sequence[Point]) -> list[Standing]:
    """Return for each point whether it is on the front, cannot be told from it, or is surely behind it.

    `front`: no point dominates it. `near`: one does, but none surely, so that it may truly be on the front.
    `behind`: some point is at least as good in both even at the wrong ends of all four intervals.
    """
    found: list[Standing] = []
    for point in points:
        if not any(dominates(other, point) for other in points):
            found.append("front")
        elif any(surely_dominates(other, point) for other in points):
            found.append("behind")
        else:
            found.append("near")
    return found


def staircase(points: Sequence[Point]) -> list[tuple[float, float]]:
    """Return the corners (cost, gain) of the front's edge, from the cheapest member to the dearest.

    Between two members the edge runs at the gain of the cheaper one until the cost of the dearer.
    """
    members = [p for p, standing in zip(points, standings(points), strict=True) if standing == "front"]
    corners: list[tuple[float, float]] = []
    for point in sorted(members, key=lambda p: (p.cost.value, p.gain.value)):
        here = (point.cost.value, point.gain.value)
        if corners and corners[-1] != here:
            corners.append((here[0], corners[-1][1]))
        if not corners or corners[-1] != here:
            corners.append(here)
    return corners
