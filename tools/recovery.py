"""What wins back the accuracy that few bits lose: the figures behind the targets, from results files.

    python tools/recovery.py results/HOST/DATE-vision-techniques.jsonl ...

For each network: static int8 against float; at the widest bits where round-to-nearest (per channel, clipped
by squared error) loses at least 3 points, the share that each technique recovers; and adaptive bits against
the line between the uniform networks, ten draws at random and the largest layers first, at equal bytes. At
the end, over all networks: how far files and their simulated twins are apart at most.
Accuracies are medians over calibration seeds; the pages have every seed and interval. Nothing is picked:
every technique is told, so that none is chosen by the examples that judge it.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qbench.cases import SEED, SIMULATED
from qbench.records import Measured, find
from qbench.report.join import Joined, join
from qbench.stats import median, paired
from qbench.store import read_runs

LOST = 0.03
EIGHT = ("static int8", "static int8, biases corrected", "static int8, AdaRound", "equalized int8")
UNIFORM = "round to nearest (weight_bits={})"
RIVALS = ("biases corrected", "AdaRound", "AdaRound, biases corrected", "QAT", "QAT, learned steps")
RIVALS_AT = ("{} (weight_bits={})", "{}")
DRAWN = "bits at random"


@dataclass(frozen=True)
class Seen:
    """One technique of one network: its scores and the bytes of its file."""

    correct: tuple[float, ...]
    size: float | None

    @property
    def accuracy(self) -> float:
        """Return the share of examples that are right."""
        return sum(self.correct) / len(self.correct)


def main() -> None:
    """Print the tables of every file named."""
    found: dict[str, dict[str, list[Seen]]] = defaultdict(lambda: defaultdict(list))
    twins: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for name in sys.argv[1:]:
        for run in read_runs([Path(name)]):
            entries = join(run)
            for model, technique, seen in _seen(entries):
                found[model][technique].append(seen)
            for engine, pair in _twins(entries):
                twins[engine].append(pair)
    for model, techniques in found.items():
        print(f"## {model}")
        base = techniques["fp32"][0]
        print(f"float: {100 * base.accuracy:.2f} %")
        for name in EIGHT:
            for number, seen in enumerate(techniques.get(name, ())):
                test = paired(base.correct, seen.correct)
                told = f"{100 * test.difference:+.2f} points, at least {100 * test.interval.low:+.2f}"
                print(f"{name}, seed {number}: {told}")
        _recovered(base, techniques)
        _adaptive(techniques)
        print()
    for engine, pairs in twins.items():
        points, _, which = max(pairs)
        changed = max(share for _, share, _ in pairs)
        print(
            f"simulated against deployed on {engine}, most of {len(pairs)} pairs: {100 * points:.2f} points"
        )
        print(f"  ({which}), {100 * changed:.2f} % of the answers changed")


def _seen(entries: list[Joined]) -> Iterator[tuple[str, str, Seen]]:
    """Yield model, technique without its seed, and what was seen, on onnxruntime."""
    done = set()
    for entry in entries:
        case = entry.case
        if case is None or case.deployment.backend != "onnxruntime" or entry.score is None:
            continue
        correct = find(entry.score.record.outcome, "correct")
        known = case.deployment.artifact
        if correct is None or not isinstance(entry.score.record.outcome, Measured) or known in done:
            continue
        done.add(known)
        size = find(entry.prepare.record.outcome, "file_size") if entry.prepare else None
        seen = Seen(correct.samples, size.samples[0] if size else None)
        yield case.deployment.artifact.model.name, case.technique.partition(SEED)[0], seen


def _twins(entries: list[Joined]) -> Iterator[tuple[str, tuple[float, float, str]]]:
    """Yield by engine how far a file and its simulated twin are apart, in accuracy and answers; and which."""
    scored = {}
    for entry in entries:
        correct, answers = (_samples(entry, name) for name in ("correct", "prediction"))
        if entry.case is not None and correct and answers:
            place = entry.case.deployment
            scored[place.artifact.model.name, place.backend, entry.case.technique] = correct, answers
    for (model, engine, technique), (own, said) in scored.items():
        other = scored.get((model, engine, technique.replace(SIMULATED, "")))
        if SIMULATED in technique and other:
            changed = sum(a != b for a, b in zip(said, other[1], strict=True)) / len(said)
            yield engine, (abs(sum(own) - sum(other[0])) / len(own), changed, f"{model}, {technique}")


def _samples(entry: Joined, name: str) -> tuple[float, ...]:
    found = find(entry.score.record.outcome, name) if entry.score else None
    return found.samples if found else ()


def _recovered(base: Seen, techniques: dict[str, list[Seen]]) -> None:
    for bits in (8, 6, 4, 3, 2):
        nearest = techniques.get(UNIFORM.format(bits))
        if not nearest:
            continue
        least = median([seen.accuracy for seen in nearest])
        lost = base.accuracy - least
        print(f"round to nearest, {bits} bits: {100 * least:.2f} %, {100 * lost:.2f} points lost")
        if lost < LOST:
            continue
        for name in (*RIVALS, "QAT W4A8"):
            for form in RIVALS_AT:
                own = techniques.get(form.format(name, bits))
                if own and (form != "{}" or (name, bits) in (("QAT W4A8", 4), ("QAT, learned steps", 3))):
                    won = median([seen.accuracy for seen in own])
                    share = (won - least) / lost
                    print(f"  {name}: {100 * won:.2f} %, recovers {100 * share:.0f} % ({len(own)} seeds)")


def _adaptive(techniques: dict[str, list[Seen]]) -> None:
    eight, four = (techniques.get(UNIFORM.format(bits)) for bits in (8, 4))
    if not eight or not four or eight[0].size is None or four[0].size is None:
        return
    top, bottom = (median([seen.accuracy for seen in some]) for some in (eight, four))
    drawn = [median([one.accuracy for one in some]) for name, some in techniques.items() if DRAWN in name]
    for name, some in techniques.items():
        size = some[0].size
        if not name.startswith(("adaptive", "largest", DRAWN)) or size is None:
            continue
        share = (size - four[0].size) / (eight[0].size - four[0].size)
        if not 0 <= share <= 1:
            continue  # with layers in float it is larger than the uniform 8 bits: no line leads there
        line = bottom + share * (top - bottom)
        own = median([seen.accuracy for seen in some])
        beaten = sum(own > other for other in drawn)
        told = "" if DRAWN in name else f"; above {beaten} of {len(drawn)} draws at random"
        print(
            f"{name}: {100 * own:.2f} % at {size / 1e3:.0f} kB; the line between uniform 4 and 8 "
            f"bits is at {100 * line:.2f} % there{told} ({len(some)} seeds)"
        )


if __name__ == "__main__":
    main()
