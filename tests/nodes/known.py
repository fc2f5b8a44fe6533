"""What every reader is known to give on the node tests: a file each in `known/`, exact in both directions.

`python tests/nodes/known.py [READER ...]` writes the files anew. A line is one of

    right     COUNT                  how many cases are answered as published
    refused   COUNT  WORDS           how many cases are refused in these words, by a DoesNotFit
    wrong     CASE   WHAT            answered otherwise; the words after the name may be written by hand
    stopped   CASE   WHAT            an error that is none of ours

Only `wrong` and `stopped` are faults, of the reader or of what it stands on, and each has its own line.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from cases import Node, difference
from readers import READERS, WRITTEN_OUT, Reader

from qbench.errors import QbenchError
from qbench.reasons import reason_of

FOLDER = Path(__file__).parent / "known"
LENGTH = 160  # of a refusal's words: what an engine adds behind is a list of what it has
KINDS = re.compile(r"\(not covered: (.*)\)$")


@dataclass
class Known:
    """What a reader gives: how many right answers, how many refusals of which words, and every fault."""

    right: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    faults: dict[str, tuple[str, str]] = field(default_factory=dict)  # case -> (wrong or stopped, what)

    def add(self, node: Node, reader: Reader) -> None:
        """Ask about one case."""
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                what = difference(node, reader(node))
        except QbenchError as error:
            self.refused.update(words_of(error.problem))
        except Exception as error:  # whatever a library raises: that it got out is the fault
            self.faults[node.name] = ("stopped", f"{type(error).__name__}: {reason_of(str(error))}")
        else:
            if what is None:
                self.right += 1
            else:
                self.faults[node.name] = ("wrong", what)

    def text(self, before: Known) -> str:
        """Return the file; words that a person wrote of a fault stay as long as it does."""
        lines = [f"right     {self.right}"]
        lines += [f"refused   {count:<4} {words}" for words, count in sorted(self.refused.items())]
        for name, (kind, what) in sorted(self.faults.items()):
            old = before.faults.get(name, ("", ""))
            lines.append(f"{kind:<9} {name}   {old[1] if old[0] == kind else what}")
        return "\n".join(lines) + "\n"


def words_of(problem: str) -> set[str]:
    """Return a refusal's words without what is the case's own: names, shapes, counts, lists of nodes."""
    kinds = KINDS.search(problem)
    if kinds:
        return {re.sub(r"( in \S+)? x\d+$", "", kind) for kind in kinds[1].split(", ")}
    problem = re.sub(r"^\S+ is an? ", "... is a ", problem)
    if problem.startswith("no answer: "):  # of an engine, whose words are not ours to hold to
        return {re.sub(r"[^A-Za-z ].*", "", problem.removeprefix("no answer: "))[:60].strip() or "no words"}
    problem = re.sub(r" '[^']*'", " '...'", re.sub(r"\(found: .*\)", "(found: ...)", problem))
    return {" ".join(problem.rpartition("on calibration data, ")[2].split())[:LENGTH]}


def read(name: str) -> Known:
    """Return what is known of a reader; of one without a file, nothing."""
    found = Known()
    path = FOLDER / f"{name}.txt"
    for line in path.read_text().splitlines() if path.is_file() else ():
        kind, second, *rest = line.split(maxsplit=2)
        if kind == "right":
            found.right = int(second)
        elif kind == "refused":
            found.refused[rest[0]] = int(second)
        else:
            found.faults[second] = (kind, rest[0])
    return found


def ask(name: str, nodes: tuple[Node, ...]) -> Known:
    """Return what a reader gives on these cases."""
    found = Known()
    for node in nodes:
        if not node.expanded or name in WRITTEN_OUT:
            found.add(node, READERS[name])
    return found


if __name__ == "__main__":
    from cases import published

    for chosen in sys.argv[1:] or READERS:
        (FOLDER / f"{chosen}.txt").write_text(ask(chosen, published()).text(read(chosen)))
