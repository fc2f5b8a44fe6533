"""One table model for terminal, Markdown and page. Values become text here, and nowhere before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from qbench.report.cell import Cell, told_without_labels
from qbench.report.figures import FIGURES, Absent, Figure, Value
from qbench.report.recommend import Recommendation, recommend

Tone = Literal["good", "bad", "neutral", "absent"]
DASH = "\N{EN DASH}"
LITTLE = 0.05  # memory is one measurement: a difference below 5 % is painted neither way


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands in one place of a table."""

    text: str
    tone: Tone = "neutral"
    sub: str = ""  # a second, smaller line: the interval
    notes: tuple[int, ...] = ()  # numbers of the table's notes, from 1
    lines: tuple[int, ...] = ()  # of the results file, where this is a provenance
    cell: int = 0  # the number of the cell that this leads to; 0: none
    figure: Figure | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """A head and how it is laid out."""

    head: str
    right: bool = False  # numbers stand to the right
    wide: bool = False  # left out where the terminal is narrow


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its notes; `empty` is what is said instead where there is no row."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Entry, ...], ...]
    notes: tuple[str, ...] = ()
    empty: str = "nothing"


class Notes:
    """The notes under one table, each reason once."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def number(self, reason: str) -> int:
        """Return the reason's number, from 1."""
        if reason not in self.texts:
            self.texts.append(reason)
        return self.texts.index(reason) + 1


def shown(value: Value, notes: Notes, tone: Tone = "neutral", more: Sequence[str] = ()) -> Entry:
    """Return a figure as text with its interval below, or a dash with the number of its reason."""
    if isinstance(value, Absent):
        return Entry(DASH, "absent", notes=(notes.number(value.reason),))
    sub = value.between if value.low is not None else ""
    return Entry(str(value), tone, sub, tuple(notes.number(text) for text in more), figure=value)


# --- tones: green only where it is surely better than every float --------------------------------


def speed_tone(cell: Cell) -> Tone:
    """Good only if steady and surely faster than fp32 and than the best float; bad if surely slower."""
    own, over = cell.figures["speedup"], cell.figures["speedup_over_float"]
    if isinstance(own, Absent):
        return "neutral"
    found = [own] if isinstance(over, Absent) else [own, over]
    if any(value.high is not None and value.high < 1 for value in found):
        return "bad"
    sure = all(value.low is not None and value.low > 1 for value in found)
    return "good" if sure and not cell.unstable and cell.status == "measured" else "neutral"


def size_tone(cell: Cell) -> Tone:
    """Good only if it works and is smaller than fp32 and than the smallest float; bad if larger than fp32."""
    own, over = cell.figures["size_ratio"], cell.figures["size_over_float"]
    if isinstance(own, Absent):
        return "neutral"
    if own.value > 1:
        return "bad"
    smallest = own.value < 1 and (isinstance(over, Absent) or over.value < 1)
    return "good" if smallest and cell.status == "measured" else "neutral"


def memory_tone(cell: Cell) -> Tone:
    """Good or bad only beyond the little that one measurement can be off."""
    ratio = cell.figures["memory_ratio"]
    if isinstance(ratio, Absent) or abs(ratio.value - 1) <= LITTLE:
        return "neutral"
    return "bad" if ratio.value > 1 else "good"


def accuracy_tone(cell: Cell) -> Tone:
    """Good only if surely better than fp32; bad if it fails the limit."""
    difference = cell.figures["accuracy_difference"]
    if cell.status == "collapsed" or cell.judgement.outcome == "fail":
        return "bad"
    if isinstance(difference, Figure) and difference.low is not None and difference.low > 0:
        return "good"
    return "neutral"


# --- the tables ----------------------------------------------------------------------------------


def titled(title: str, profile: str) -> str:
    """Return a title that names the profile: a quick number must never pass for another."""
    return f"{title} ({profile} profile)"


def verdict_table(cells: Sequence[Cell]) -> Table:
    """Return what to ship, one row per model and device."""
    heads = ("where", "ship", "speed-up", "accuracy", "size", "how sure")
    notes = Notes()
    rows = []
    for found in recommend(cells):
        cell = found.ship
        if cell is None:
            reason = notes.number(found.gains)
            rows.append((Entry(found.place), *(Entry(DASH, "absent", notes=(reason,)) for _ in heads[1:])))
            continue
        rows.append(
            (
                Entry(found.place),
                Entry(cell.technique, sub=cell.engine, cell=cell.number),
                shown(cell.figures["speedup"], notes, speed_tone(cell)),
                shown(cell.figures["accuracy_difference"], notes, accuracy_tone(cell)),
                shown(cell.figures["size_ratio"], notes, size_tone(cell)),
                _sureness(found),
            )
        )
    columns = tuple(Column(head, right=head in heads[2:5]) for head in heads)
    profile = cells[0].profile if cells else "no"
    nothing = "nothing was measured, so nothing can be recommended"
    return Table(titled("What to ship", profile), columns, tuple(rows), tuple(notes.texts), nothing)


def _sureness(found: Recommendation) -> Entry:
    cell = found.ship
    if cell is None:
        raise ValueError("nothing is shipped, so there is nothing to be sure of")
    words = {
        "pass": "accuracy holds",
        "inconclusive": "accuracy not proven",
        "unjudged": "accuracy not judged",
    }
    word = "baseline" if cell.role == "fp32" else words.get(cell.judgement.outcome, cell.judgement.outcome)
    return Entry(word, sub=f"{cell.profile}, {len(cell.rounds)} rounds")


MATRIX: tuple[tuple[str, Callable[[Cell], Tone], bool], ...] = (
    ("accuracy", lambda _: "neutral", False),
    ("accuracy_difference", accuracy_tone, False),
    ("flips", lambda _: "neutral", True),
    ("file_size", size_tone, False),
    ("speedup", speed_tone, False),
    ("speedup_over_float", speed_tone, True),
    ("latency", lambda _: "neutral", False),
    ("peak_memory", memory_tone, True),
)


def matrix_table(cells: Sequence[Cell]) -> Table:
    """Return every cell with its main figures; a column that does not vary moves into the title."""
    notes = Notes()
    where = list(dict.fromkeys(cell.place for cell in cells))
    engines = len({cell.engine for cell in cells}) > 1
    columns = [Column("technique")]
    if len(where) > 1:
        columns.insert(0, Column("where"))
    if engines:
        columns.append(Column("engine"))
    columns.append(Column("status", wide=True))
    told = [(told_without_labels(name, cells), tone, wide) for name, tone, wide in MATRIX]
    columns += [Column(FIGURES[name].head, True, wide) for name, _, wide in told]
    rows = []
    for cell in cells:
        row = [Entry(cell.technique, cell=cell.number)]
        if len(where) > 1:
            row.insert(0, Entry(cell.place))
        if engines:
            row.append(Entry(cell.engine))
        row.append(_status(cell, notes))
        for name, tone, _ in told:
            row.append(shown(cell.figures[name], notes, tone(cell), _cautions(cell, name)))
        rows.append(tuple(row))
    title = where[0] if len(where) == 1 else "All cells"
    profile = cells[0].profile if cells else "no"
    nothing = "the run holds no cell"
    return Table(titled(title, profile), tuple(columns), tuple(rows), tuple(notes.texts), nothing)


def _cautions(cell: Cell, name: str) -> list[str]:
    """Return what a reader of this one figure must know."""
    if name == "speedup":
        over = cell.figures["speedup_over_float"]
        slower = isinstance(over, Figure) and over.high is not None and over.high < 1 and cell.role != "fp32"
        found = [f"slower than the best float cell, {cell.best_float}"] if slower else []
        return [*found, f"unstable: {cell.unstable}"] if cell.unstable else found
    if name == "latency":
        return [f"not steady: {found.text}" for found in cell.verdicts if found.kind == "not_steady"]
    if name == "accuracy_difference" and isinstance(cell.figures[name], Figure):
        return [] if cell.judgement.outcome == "pass" else [cell.judgement.text]
    return []


def _status(cell: Cell, notes: Notes) -> Entry:
    if cell.status == "measured":
        return Entry("unstable", "bad") if cell.unstable else Entry("measured")
    tone: Tone = "absent" if cell.status == "skipped" else "bad"
    return Entry(cell.status, tone, notes=tuple(notes.number(_full(r.stage, r.text)) for r in cell.reasons))


def _full(stage: str, words: str) -> str:
    return f"skipped: {words}" if stage == "plan" else f"{stage}: {words}"


def skipped_table(cells: Sequence[Cell]) -> Table:
    """Return the cells that cannot run here, and why."""
    return _reasons("Skipped: known before the run not to be able to run here", "skipped", cells)


def failed_table(cells: Sequence[Cell]) -> Table:
    """Return the cells that broke, at which stage and with what words; collapsed ones stand here as well."""
    return _reasons("Failed or collapsed", "failed collapsed", cells)


def _reasons(title: str, statuses: str, cells: Sequence[Cell]) -> Table:
    rows = tuple(
        (
            Entry(cell.name, cell=cell.number),
            Entry(cell.place),
            Entry(reason.stage),
            Entry(reason.text),
            Entry("", lines=(reason.line,)),
        )
        for cell in cells
        if cell.status in statuses.split()
        for reason in cell.reasons
    )
    heads = ("cell", "where", "stage", "reason", "lines")
    profile = cells[0].profile if cells else "no"
    return Table(titled(title, profile), tuple(Column(head) for head in heads), rows, empty="no cell")


def withheld_table(cells: Sequence[Cell]) -> Table:
    """Return the figures that would mislead or cannot be measured, each reason once with its cells."""
    found: dict[tuple[str, str], dict[str, list[int]]] = {}
    for cell in cells:
        for item, line in cell.withheld:
            found.setdefault((item.metric, item.reason), {}).setdefault(cell.name, []).append(line)
        for name in ("latency_p90", "latency_p99"):
            value, latency = cell.figures[name], cell.figures["latency"]
            if isinstance(value, Absent) and isinstance(latency, Figure):
                found.setdefault((FIGURES[name].head, value.reason), {}).setdefault(cell.name, []).extend(
                    latency.lines
                )
    rows = tuple(
        (
            Entry(metric.replace("_", " ")),
            Entry(reason),
            Entry(", ".join(names)),
            Entry("", lines=tuple(dict.fromkeys(line for lines in names.values() for line in lines))),
        )
        for (metric, reason), names in found.items()
    )
    columns = (Column("figure"), Column("reason"), Column("cells"), Column("lines"))
    profile = cells[0].profile if cells else "no"
    return Table(titled("Withheld", profile), columns, rows, empty="no figure")
