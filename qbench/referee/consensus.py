"""What several voices agree on, and who is alone.

Two voices meet where every output of every call that both have answered meets (qbench.referee.distance).
Those that meet, directly or through another, are a camp. One camp with voices of two makers at least is the
file's answer, and each voice outside it is the odd one out. Voices of one maker share their code, and its
faults: their agreement makes nobody wrong. Where there are two camps, or none, nobody is accused either: two
that agree are never both called wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from qbench.referee.distance import Distance, distance, range_of

if TYPE_CHECKING:
    from qbench.referee.asking import Answer


@dataclass(frozen=True)
class Odd:
    """A voice that meets no other, and how far it is from those that agree; who is wrong is not said."""

    answer: Answer
    call: int  # the number of the call at which it is farthest
    far: Distance


@dataclass(frozen=True)
class Consensus:
    """Who agrees with whom; the first of the first camp speaks for it, if there is one camp only."""

    camps: tuple[tuple[Answer, ...], ...]  # of two or more, the largest first
    alone: tuple[Answer, ...]  # who meets nobody
    within: float  # how far those of the first camp are apart, in shares of the range

    @property
    def speaker(self) -> Answer | None:
        """Return whose answer stands for all that agree; None where nobody can be believed.

        Those of one maker stand for the file only where nobody else has answered, and prove nothing then.
        """
        if len(self.camps) != 1 or (self.makers == 1 and self.alone):
            return None
        return self.camps[0][0]

    @property
    def makers(self) -> int:
        """Return how many of those that agree share no code."""
        return len({answer.voice.maker for answer in self.camps[0]}) if self.camps else 0

    def apart(self, names: Sequence[str]) -> tuple[Odd, ...]:
        """Return each voice that is alone beside a camp, the one and only, whoever of them is right."""
        if len(self.camps) != 1:
            return ()
        return tuple(_farthest(answer, self.camps[0][0], names) for answer in self.alone)

    def odd(self, names: Sequence[str]) -> tuple[Odd, ...]:
        """Return each voice that is wrong: alone against those that are believed, of two makers at least."""
        return self.apart(names) if self.speaker is not None else ()

    @property
    def settled(self) -> bool:
        """Tell whether nothing is left open: two that share no code agree, and nobody is against them."""
        return self.speaker is not None and not self.alone and self.makers > 1


def agreed(answers: Sequence[Answer], names: Sequence[str]) -> Consensus:
    """Return who agrees with whom, all outputs of all calls compared, both ways round.

    `names`: of the outputs, in the file's order.
    """
    apart: dict[tuple[int, int], Distance] = {}
    camp_of = list(range(len(answers)))
    for one, other in combinations(range(len(answers)), 2):
        ways = ((answers[one], answers[other]), (answers[other], answers[one]))
        worst = max((_farthest(*way, names).far for way in ways), key=_rank)
        apart[one, other] = worst
        if worst.meets:
            camp_of = [camp_of[one] if camp == camp_of[other] else camp for camp in camp_of]
    members = [[i for i, camp in enumerate(camp_of) if camp == number] for number in dict.fromkeys(camp_of)]
    members.sort(key=lambda camp: -len(camp))
    camps = [_central(camp, answers, apart) for camp in members if len(camp) > 1]
    inside = [apart[pair] for pair in combinations(sorted(members[0]), 2)] if camps else []
    within = max((one.error for one in inside if one.meets), default=0.0)
    return Consensus(tuple(camps), tuple(answers[c[0]] for c in members if len(c) == 1), within)


def _central(
    camp: list[int], answers: Sequence[Answer], apart: dict[tuple[int, int], Distance]
) -> tuple[Answer, ...]:
    """Return a camp, first of it who has answered most calls and is nearest to all others."""

    def rank(one: int) -> tuple[int, float, int]:
        far = max(apart[min(one, other), max(one, other)].error for other in camp if other != one)
        return -len(answers[one].calls), far, answers[one].voice.order

    first = min(camp, key=rank)
    others = sorted((i for i in camp if i != first), key=lambda i: answers[i].voice.order)
    return tuple(answers[i] for i in (first, *others))


def _farthest(answer: Answer, other: Answer, names: Sequence[str]) -> Odd:
    pairs = zip(answer.calls, other.calls, strict=False)  # as far as both have come
    ranges = [range_of(arrays) for arrays in zip(*other.calls, strict=False)]
    each = [
        Odd(answer, number, distance(found, wanted, names, ranges))
        for number, (found, wanted) in enumerate(pairs)
    ]
    return max(each, key=lambda one: _rank(one.far))


def _rank(far: Distance) -> tuple[bool, float]:
    return not far.meets, far.error
