"""The verdict on a terminal: what to ship, what it gains and loses, how sure, the file and its code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qbench.report.delivered import NOTHING, Deliveries
from qbench.report.recommend import Recommendation
from qbench.report.writers import fit, say

if TYPE_CHECKING:
    from rich.console import Console

LABEL = 11  # columns, with the two in front of it
PLACES = 2  # of a run: so many have their verdict in full


def print_advice(found: Recommendation, console: Console, deliveries: Deliveries = NOTHING) -> None:
    """Print one place's recommendation, a label and its words a paragraph."""
    from rich.text import Text

    say(found.place, console)
    console.print(Text(fit(found.headline, console), style="bold"))
    for label, words in paragraphs(found):
        _labelled(label, words, console)
    given = deliveries.get(found.ship.case) if found.ship is not None and found.ship.case else None
    if given is None:
        return
    if given.absent:
        _labelled("file", given.absent, console)
        return
    # never broken, and the code from the first column on: both are copied from here
    console.print(Text(f"  {'file':<{LABEL - 2}}{fit(given.path, console)}"), soft_wrap=True)
    if given.code:
        console.print(Text(f"  {'code':<{LABEL - 2}}what loads it as it was measured:"))
        console.print(Text(given.code), soft_wrap=True)


def paragraphs(found: Recommendation) -> list[tuple[str, str]]:
    """Return what a recommendation says below its headline, each with its label."""
    told = [("because", found.because)] if found.because else []
    told += [_cut(found.gains, "gains"), _cut(found.loses, "loses"), _cut(found.sure, "how sure")]
    return [*told, ("pays off", found.break_even)] if found.kind == "technique" else told


def _cut(words: str, label: str) -> tuple[str, str]:
    """Return words without the label that they begin with: it stands before them."""
    head = label.capitalize() + ": "
    return (label, words.removeprefix(head)) if words.startswith(head) else (label, words)


def _labelled(label: str, words: str, console: Console) -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=0)
    grid.add_column(width=LABEL - 2, no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(label, Text(fit(words[:1].upper() + words[1:] if label == "pays off" else words, console)))
    console.print(Padding(grid, (0, 0, 0, 2)))
