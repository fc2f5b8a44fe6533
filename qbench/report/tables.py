"""One table model for terminal, Markdown and page. Values become text here, and nowhere before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from qbench.report.cell import Cell, told_here
from qbench.report.figures import FIGURES, Absent, Figure, Value
from qbench.report.outputs import FIGURE_OF, OF_OUTPUTS, WORST
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


def ranges(lines: Sequence[int]) -> str:
    """Return line numbers as a reader takes them in: `9-11, 15`."""
    spans: list[list[int]] = []
    for line in sorted(set(lines)):
        if spans and line == spans[-1][1] + 1:
            spans[-1][1] = line
        else:
            spans.append([line, line])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


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


def quality_tone(cell: Cell, name: str) -> Tone:
    """Bad for the figure of outputs by which the judgement on this cell fails; else neutral."""
    return accuracy_tone(cell) if name in (WORST, cell.rests_on) else "neutral"


# --- the tables ----------------------------------------------------------------------------------


def titled(title: str, profile: str) -> str:
    """Return a title that names the profile: a quick number must never pass for another."""
    return f"{title} ({profile} profile)"


def verdict_table(cells: Sequence[Cell], *, stacked: bool = False) -> Table:
    """Return what to ship, one row a place; the places of one model stand together.

    Where there are several models, the device that most places are on moves into the title, and its rows come
    first. `stacked` puts the place below its model, where a column of its own would have no room.
    """
    found = recommend(cells)
    models = list(dict.fromkeys(str(advice.group.model) for advice in found))
    sites = Counter(advice.group.site for advice in found)
    usual = sites.most_common(1)[0][0] if len(models) > 1 else ""
    apart = len(models) > 1 and not stacked
    heads = (*["model"] * apart, "where", "ship", "speed-up", "accuracy", "size", "how sure")
    notes = Notes()
    rows = []
    ordered = sorted(found, key=lambda one: (models.index(str(one.group.model)), one.group.site != usual))
    for advice in ordered:
        place = advice.group
        where: tuple[Entry, ...] = (Entry(str(place)),)
        if len(models) > 1:
            at = Entry(place.asked) if place.site == usual else Entry(place.site, sub=place.asked)
            below = ", ".join(word for word in (at.text, at.sub) if word)
            where = (Entry(str(place.model)), at) if apart else (Entry(str(place.model), sub=below),)
        rows.append((*where, *_shipped(advice, notes)))
    labelled = any(one.ship and isinstance(one.ship.figures["accuracy"], Figure) for one in found)
    if not labelled and any(one.ship and one.ship.rests_on for one in found):
        heads = tuple("quality" if head == "accuracy" else head for head in heads)
    right = ("speed-up", "accuracy", "quality", "size")
    columns = tuple(Column(head, head in right, wide=stacked and head == "size") for head in heads)
    elsewhere = ", and elsewhere" if len(sites) > 1 else ""
    title = titled(
        f"What to ship on {usual}{elsewhere}" if usual else "What to ship",
        cells[0].profile if cells else "no",
    )
    nothing = "nothing was measured, so nothing can be recommended"
    return Table(title, columns, tuple(rows), tuple(notes.texts), nothing)


def _shipped(advice: Recommendation, notes: Notes) -> tuple[Entry, ...]:
    """Return one place's verdict: what to ship, speed-up, accuracy, size, how sure."""
    cell = advice.ship
    if cell is None:
        emulated = advice.kind == "emulated" and advice.here
        note = (notes.number(advice.gains),)
        none = Entry(DASH, "absent", notes=note)
        told = Entry("emulated", sub="accuracy and instructions only", notes=note) if emulated else none
        return told, none, none, none, none
    return (
        Entry(cell.technique, sub=cell.engine, cell=cell.number),
        shown(cell.figures["speedup"], notes, speed_tone(cell)),
        _quality(cell, notes),
        shown(cell.figures["size_ratio"], notes, size_tone(cell)),
        _sureness(advice),
    )


def _quality(cell: Cell, notes: Notes) -> Entry:
    """Return the difference by labels; without any, the figure that the judgement rests on, and its name."""
    difference = cell.figures["accuracy_difference"]
    if isinstance(difference, Figure) or cell.rests_on is None:
        return shown(difference, notes, accuracy_tone(cell))
    entry = shown(cell.figures[WORST], notes, accuracy_tone(cell))
    return replace(entry, sub=FIGURES[cell.rests_on].head)


def _sureness(found: Recommendation) -> Entry:
    cell = found.ship
    if cell is None:
        raise ValueError("nothing is shipped, so there is nothing to be sure of")
    what = "accuracy" if cell.rests_on is None else FIGURES[cell.rests_on].head
    words = {
        "pass": f"{what} holds",
        "inconclusive": f"{what} not proven",
        "unjudged": f"{what} not judged",
    }
    word = "baseline" if cell.role == "fp32" else words.get(cell.judgement.outcome, cell.judgement.outcome)
    shaky = ", speed unstable" if cell.unstable else ""
    return Entry(word + shaky, sub=f"{cell.profile}, {len(cell.rounds)} rounds")


MATRIX: tuple[tuple[str, Callable[[Cell], Tone], bool], ...] = (
    ("accuracy", lambda _: "neutral", False),  # without labels: see quality_tone
    ("accuracy_difference", accuracy_tone, False),
    ("flips", lambda _: "neutral", True),
    ("file_size", size_tone, False),
    ("speedup", speed_tone, False),
    ("speedup_over_float", speed_tone, True),
    ("latency", lambda _: "neutral", False),
    ("peak_memory", memory_tone, True),
)


def matrix_table(cells: Sequence[Cell]) -> Table:
    """Return every cell with its main figures; a column that does not vary moves into the title.

    Further calibration seeds stand in a table of their own (`seeds_table`).
    """
    notes = Notes()
    cells = [cell for cell in cells if cell.variant_of is None]
    where = list(dict.fromkeys(cell.place for cell in cells))
    engines = len({cell.engine for cell in cells}) > 1
    columns = [Column("technique")]
    if len(where) > 1:
        columns.insert(0, Column("where"))
    if engines:
        columns.append(Column("engine"))
    columns.append(Column("status", wide=True))
    told = [(told_here(name, cells), tone, wide) for name, tone, wide in MATRIX]
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
            told_tone = quality_tone(cell, name) if name in OF_OUTPUTS else tone(cell)
            row.append(shown(cell.figures[name], notes, told_tone, _cautions(cell, name)))
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
    if name in ("accuracy", WORST, *FIGURE_OF.values()):
        kinds = ("saturates", "caution")
        judged = [cell.judgement.text] if name == cell.rests_on and cell.judgement.outcome != "pass" else []
        return judged + [f"{found.kind}: {found.text}" for found in cell.verdicts if found.kind in kinds]
    if name in ("latency", "throughput"):
        mean = cell.figures["latency_mean"]
        told = [f"the median: an input may need a second network, and the mean is {mean}"]
        mixed = told if name == "latency" and isinstance(mean, Figure) else []
        filled = [f"a call is {cell.filled}"] if cell.filled else []
        steady = [f"not steady: {found.text}" for found in cell.verdicts if found.kind == "not_steady"]
        return mixed + filled + steady
    if name == "accuracy_difference" and isinstance(cell.figures[name], Figure):
        return [] if cell.judgement.outcome == "pass" else [cell.judgement.text]
    return []


def _status(cell: Cell, notes: Notes) -> Entry:
    if cell.status == "measured":
        return Entry("unstable" if cell.unstable else "measured")
    tone: Tone = "absent" if cell.status == "skipped" else "bad"
    return Entry(cell.status, tone, notes=tuple(notes.number(_full(r.stage, r.text)) for r in cell.reasons))


def _full(stage: str, words: str) -> str:
    return f"skipped: {words}" if stage == "plan" else f"{stage}: {words}"
