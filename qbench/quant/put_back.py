"""Which parts of a quantized network go back to float: the fewest with which its outputs hold.

Knows no network: it asks a function how bad the network is with some parts in float, and orders its
questions so that few are needed. Parts are ranked by the damage that each does alone, in groups first where
they are many; the worst are put back until the network holds; then what was put back for nothing is quantized
again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

HOLDS = 1.0  # from here down it does (quality.judge.how_bad)
FAILS = 100.0  # from here on it surely does not; what lies between is open, for want of examples
GROUPS = 12  # in which parts are ranked first, where they are more

Kept = frozenset[str]  # names of the parts in float


@dataclass(frozen=True, slots=True)
class Candidate:
    """One network that was tried."""

    kept: Kept
    bad: float

    @property
    def holds(self) -> bool:
        """Tell whether its outputs are within their limits."""
        return self.bad <= HOLDS


@dataclass
class Search:
    """One search.

    bad: how bad the network is with these parts in float; may be infinite.
    cost: what it costs to have these parts in float; of networks that hold, the cheapest is taken.
    allowed: whether a network with these parts in float is a quantized one still.
    late: whether the time is up; then the best so far is the answer.
    """

    parts: Sequence[str]  # in the network's order: neighbours make a group
    bad: Callable[[Kept], float]
    cost: Callable[[Kept], float]
    allowed: Callable[[Kept], bool]
    late: Callable[[], bool]
    tried: dict[Kept, float] = field(default_factory=dict)

    def best(self) -> Candidate:
        """Return the cheapest candidate that holds.

        Where none does, the least bad that does not fail, with at most half of the cost where there is such a
        one; else the least bad.

        Raises:
            ValueError: not one network could be tried.
        """
        if self._ask(frozenset()) > HOLDS and len(self.parts) > 1 and not self.late():
            self._search()
        possible = [Candidate(kept, bad) for kept, bad in self.tried.items() if self.allowed(kept)]
        if not possible:
            raise ValueError("no candidate was tried")
        holding = [one for one in possible if one.holds]
        if holding:
            return min(holding, key=lambda one: (self.cost(one.kept), len(one.kept)))
        open_ = [one for one in possible if one.bad < FAILS]
        half = self.cost(frozenset(self.parts)) / 2
        mostly = [one for one in open_ if self.cost(one.kept) <= half]
        return min(mostly or open_ or possible, key=lambda one: (one.bad, self.cost(one.kept)))

    def _search(self) -> None:
        for enough in (HOLDS, FAILS):
            if self.tried[frozenset()] <= enough or self._holds():
                return
            groups = _grouped(self.parts)
            damage = self._damage(groups)
            worst = self._cut(groups, damage, enough)
            if any(len(group) > 1 for group in worst):
                singles = [frozenset([part]) for part in self.parts if any(part in group for group in worst)]
                damage = self._damage(singles)
                worst = self._cut(singles, damage, enough)
            self._give_back(worst, damage, enough)

    def _holds(self) -> bool:
        return any(bad <= HOLDS and self.allowed(kept) for kept, bad in self.tried.items())

    def _damage(self, groups: Sequence[Kept]) -> dict[Kept, float]:
        """Return how bad the network is with each group alone quantized; 0 where the time is up."""
        whole = frozenset(self.parts)
        return {group: 0.0 if self.late() else self._ask(whole - group) for group in groups}

    def _cut(self, groups: Sequence[Kept], damage: dict[Kept, float], enough: float) -> list[Kept]:
        """Return the fewest groups, the most damaging first, with which in float it is good enough."""
        ranked = sorted(groups, key=lambda group: -damage[group])
        fails, holds = 0, len(ranked)
        while holds - fails > 1 and not self.late():
            middle = (fails + holds) // 2
            if self._ask(_all(ranked[:middle])) <= enough:
                holds = middle
            else:
                fails = middle
        return ranked[:holds]

    def _give_back(self, groups: Sequence[Kept], damage: dict[Kept, float], enough: float) -> None:
        """Quantize again what was put back for nothing, the least damaging first."""
        kept = _all(groups)
        if self._ask(kept) > enough:
            return
        for group in sorted(groups, key=lambda group: damage[group]):
            if self.late():
                return
            if self._ask(kept - group) <= enough:
                kept -= group

    def _ask(self, kept: Kept) -> float:
        if kept == frozenset(self.parts):
            return 0.0  # the float network itself; it is no candidate
        if kept not in self.tried:
            self.tried[kept] = self.bad(kept)
        return self.tried[kept]


def _grouped(parts: Sequence[str]) -> list[Kept]:
    """Return neighbours together, in at most GROUPS groups of nearly the same size."""
    count = min(GROUPS, len(parts))
    ends = [round(number * len(parts) / count) for number in range(count + 1)]
    return [frozenset(parts[start:end]) for start, end in zip(ends, ends[1:], strict=False)]


def _all(groups: Iterable[Kept]) -> Kept:
    return frozenset().union(*groups)
