"""Tables to the terminal, to Markdown and to CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from qbench.report.cell import Cell
from qbench.report.figures import FIGURES, Absent
from qbench.report.recommend import absent_place
from qbench.report.tables import Entry, Table, ranges

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

MARKS = {"good": "\N{CHECK MARK} ", "bad": "\N{BALLOT X} "}  # never colour alone
MARKS_MEAN = (
    f"{MARKS['good']}significantly better than every float baseline here, {MARKS['bad']}significantly worse "
    "than one; unmarked: not significant"
)
MARKS_OF_TWO = f"{MARKS['good']}better in B than in A, {MARKS['bad']}worse; unmarked: not significant"
SPEED_MEANS = (
    "speed-up: fp32's latency over this one's inside a round, the median over rounds; it need not equal the "
    "ratio of the latency columns."
)
STYLES = {"good": "green", "bad": "red", "absent": "dim", "neutral": ""}
LONGEST = 16  # letters of a word that still gets a line to itself
FEW = 6  # places whose tables a terminal shows one after the other
NARROW = 110  # columns of the terminal below which the wide ones are left out
ASCII = str.maketrans(
    {
        "\N{MULTIPLICATION SIGN}": "x",
        "\N{MICRO SIGN}": "u",
        "\N{MINUS SIGN}": "-",
        "\N{EN DASH}": "-",
        "\N{CHECK MARK}": "+",
        "\N{BALLOT X}": "!",
    }
)
HEADS = (
    "cell",
    "model",
    "technique",
    "role",
    "engine",
    "device",
    "hardware",
    "reached",
    "threads",
    "streams",
    "scenario",
    "batch",
    "profile",
    "status",
    "why",
    "figure",
    "unit",
    "value",
    "low",
    "high",
    "interval",
    "n",
    "n_counts",
    "file",
    "lines",
    "absent_because",
)
RAW_UNITS = {"ratio": "1", "share": "1", "points": "1", "width": "1"}  # the CSV holds fractions


def main_places(groups: list[list[Cell]]) -> list[list[Cell]]:
    """Return the places whose figures the terminal shows: all of a few, else each model's first one.

    Where even those are many, none: the verdict alone is read.
    """
    if len(groups) <= FEW:
        return groups
    first: dict[str, list[Cell]] = {}
    for group in groups:
        first.setdefault(group[0].model, group)
    return list(first.values()) if len(first) <= FEW // 2 else []


def grouped(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Return the cells by place, skipped ones last, without further calibration seeds.

    Places that are not here at all are left out.
    """
    places: dict[str, list[Cell]] = {}
    told = [cell for cell in cells if cell.variant_of is None]
    for cell in sorted(told, key=lambda cell: cell.status == "skipped"):
        places.setdefault(cell.place, []).append(cell)
    return [group for group in places.values() if not absent_place(group)]


def print_table(table: Table, console: Console, marks: str = MARKS_MEAN) -> None:
    """Print a table; on a narrow terminal without its wide columns, and it says so.

    `marks` explains those of its entries; "" where that is said once below several tables.
    """
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    narrow = console.width < NARROW
    kept = [i for i, column in enumerate(table.columns) if not (narrow and column.wide)]
    if not table.rows:
        say(f"{table.title}: {table.empty}", console)
        return
    title = Text(fit(table.title, console), style="bold")
    grid = RichTable(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False
    )
    for i in kept:
        column = table.columns[i]
        grid.add_column(
            Text(fit(column.head, console)),
            justify="right" if column.right else "left",
            overflow="fold",
            min_width=min(LONGEST, max(len(word) for word in _words(table, i))),
            no_wrap=column.right and not any(" to " in row[i].sub for row in table.rows),
        )
    rows = [[row[i] for i in kept] for row in table.rows]
    used = list(dict.fromkeys(n for row in rows for entry in row for n in entry.notes))
    for row in rows:
        grid.add_row(*(_rich(entry, used, console) for entry in row))
    console.print(grid)
    for number, note in enumerate(used, start=1):
        say(f"[{number}] {table.notes[note - 1]}", console)
    somewhere = {n for row in table.rows for entry in row for n in entry.notes}
    for note, words in enumerate(table.notes, start=1):
        if note not in somewhere:  # of the whole table
            say(words, console)
    if marks and any(entry.tone in MARKS for row in rows for entry in row):
        say(marks, console)
    left_out = [column.head for column in table.columns if narrow and column.wide]
    if left_out:
        say(f"not shown at this width: {', '.join(left_out)}", console)


def _words(table: Table, i: int) -> list[str]:
    """Return the words of a column, none of which should be broken."""
    entries = [row[i] for row in table.rows]
    return " ".join([table.columns[i].head, *(f"{entry.text} {entry.sub}" for entry in entries)]).split()


def _rich(entry: Entry, used: list[int], console: Console) -> Text:
    from rich.text import Text

    words = MARKS.get(entry.tone, "") + entry.text + "".join(f" [{used.index(n) + 1}]" for n in entry.notes)
    found = Text(fit(words, console), style=STYLES[entry.tone])
    if entry.lines:
        found.append(ranges(entry.lines))
    if entry.sub:
        found.append("\n" + fit(entry.sub, console), style="dim")
    return found


def say(words: str, console: Console) -> None:
    """Print one paragraph."""
    from rich.text import Text

    console.print(Text(fit(words, console)), soft_wrap=False)


def fit(words: str, console: Console) -> str:
    """Return words that this terminal can print: no control characters, and ASCII where it knows no more."""
    clean = plain(words)
    if "utf" in (console.encoding or "").lower():
        return clean
    return clean.translate(ASCII).encode("ascii", "replace").decode()


def plain(words: str) -> str:
    """Return one line without control characters: a name from a file must not steer a terminal."""
    return "".join(c if c.isprintable() else " " for c in words)


def markdown(table: Table, where: str) -> str:
    """Return a table as GitHub Markdown with its notes; `where` names the results file of its lines."""
    parts = [f"### {escaped(table.title)}", ""]
    if not table.rows:
        return "\n".join([*parts, escaped(table.empty[:1].upper() + table.empty[1:]) + ".", ""])
    parts.append("| " + " | ".join(escaped(column.head) for column in table.columns) + " |")
    parts.append("|" + "|".join("---:" if column.right else "---" for column in table.columns) + "|")
    for row in table.rows:
        parts.append("| " + " | ".join(_markdown(entry, where) for entry in row) + " |")
    if table.notes:
        parts += [""] + [f"- [{number}] {escaped(note)}" for number, note in enumerate(table.notes, start=1)]
    return "\n".join([*parts, ""])


def _markdown(entry: Entry, where: str) -> str:
    words = MARKS.get(entry.tone, "") + escaped(entry.text)
    words += "".join(f" [{n}]" for n in entry.notes)
    if entry.lines:
        words += "`" + where.replace("`", "'") + ":" + ranges(entry.lines) + "`"
    return words + (f"<br>{escaped(entry.sub)}" if entry.sub else "")


def escaped(words: str) -> str:
    """Return words that Markdown shows as they are, on one line, inside or outside a table."""
    safe = plain(words).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\|`*_\[\]~])", r"\\\1", safe)


def _place(cell: Cell) -> tuple[object, ...]:
    """Return hardware, reached, threads, streams, scenario and batch."""
    if cell.case is None:
        return ("unknown",) * 6
    at, how = cell.case.deployment, cell.case.scenario
    hardware = (at.hardware or "not recorded") + (f", capped at {at.isa}" if at.isa else "")
    return hardware, at.reached, at.threads, at.streams, how.name, how.batch


def cells_csv(cells: Sequence[Cell], where: str) -> str:
    """Return every figure of every cell, one a line, raw in SI units, or the reason why it is absent."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEADS)
    for cell in cells:
        place = _place(cell)
        why = "; ".join(f"{reason.stage}: {reason.text}" for reason in cell.reasons) or "as planned"
        status = "unstable" if cell.unstable and cell.status == "measured" else cell.status
        names = (cell.model, cell.technique, cell.role, cell.engine, cell.device)
        head = (cell.number, *names, *place, cell.profile, status, why)
        for name in FIGURES:
            value = cell.figures[name]
            if isinstance(value, Absent):
                writer.writerow((*head, name, *[""] * 9, value.reason))
                continue
            ends = ("", "") if value.low is None else (repr(value.low), repr(value.high))
            raw = (RAW_UNITS.get(value.unit, value.unit), repr(value.value), *ends)
            source = (value.n, value.of, where, " ".join(map(str, value.lines)))
            writer.writerow((*head, name, *raw, value.interval, *source, ""))
    return out.getvalue()
