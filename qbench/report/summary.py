"""A run on a terminal: the verdict, then the figures that it rests on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from qbench.records import DROPPED, OWN_TIME, OWN_TIME_S
from qbench.report.brief import brief_table, energy_words
from qbench.report.cell import Cell
from qbench.report.delivered import NOTHING, Deliveries
from qbench.report.explained import explained_tables
from qbench.report.recommend import recommend
from qbench.report.select import select
from qbench.report.tables import verdict_table
from qbench.report.terminal import PLACES, print_advice
from qbench.report.writers import MARKS_MEAN, SPEED_MEANS, grouped, main_places, print_table, say
from qbench.store import Run

if TYPE_CHECKING:
    from rich.console import Console

STACKED = 90  # columns of the terminal below which the engine stands under its technique


def print_summary(run: Run, console: Console, deliveries: Deliveries = NOTHING) -> None:
    """Print the verdict on every model and device, then what was measured.

    One or two places have their verdict in full. A run of many places would bury it: they share a table, each
    recommendation is its headline, only the main places show their figures, and the page has the rest.
    """
    cells = select(run)
    groups = grouped(cells)
    told = main_places(groups)
    narrow = console.width < STACKED
    advice = [found for found in recommend(cells) if found.here]
    if 0 < len(advice) <= PLACES:
        for found in advice:
            print_advice(found, console, deliveries)
            console.print()
    else:
        print_table(verdict_table(cells, stacked=narrow), console, marks="")
        for found in advice if len(told) == len(groups) else ():
            say(found.sentence, console)
        console.print()
    for group in told:
        print_table(brief_table(group, stacked=narrow), console, marks="")
    if told:
        say(MARKS_MEAN, console)
        say(SPEED_MEANS, console)
    for words in (*energy_words(run, cells), *_left_out(cells)):
        say(words, console)
    if len(told) < len(groups):
        say(
            f"The report has the figures of all {len(groups)} places, its pictures, and what each "
            "recommendation gains and loses.",
            console,
        )
    for table in explained_tables(run):
        print_table(table, console)
    if (profile := run.session.profile) in ("brief", "quick"):
        say(f"{profile} profile: preliminary, not conclusive; --profile standard measures longer.", console)


def _left_out(cells: Sequence[Cell]) -> Iterator[str]:
    """Yield how many cells have no figure, and where the reasons are."""
    skipped = [cell for cell in cells if cell.status == "skipped"]
    dropped = [text for cell in skipped if DROPPED in (text := cell.reasons[0].text)]
    if n := len(skipped) - len(dropped):
        yield f"{n} configuration{'s' * (n != 1)} skipped; the reasons are in the report."
    own = sum(OWN_TIME in text for text in dropped)
    if own:
        given = f"try gives itself {OWN_TIME_S / 60:g} minutes"
        yield f"{_cells(own)} left out: {given}; --profile standard measures all."
    if n := len(dropped) - own:
        yield f"{_cells(n)} left out to stay within --budget."


def _cells(count: int) -> str:
    return f"{count} cell was" if count == 1 else f"{count} cells were"
