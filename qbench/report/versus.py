"""Two runs against each other, cell by cell: accuracy, size, and the speed-up over float of each session."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qbench.report.cell import Cell
from qbench.report.figures import SPREAD_WORDS, Absent, Figure
from qbench.report.join import Joined, evidence, join, sought
from qbench.report.select import select
from qbench.report.sessions import sessions_table
from qbench.report.tables import DASH, Column, Entry, Notes, Table, Tone
from qbench.stats import agreement, paired
from qbench.store import Run
from qbench.units import span, text

if TYPE_CHECKING:
    from rich.console import Console

RATIO_ONLY = (
    "Speed is compared as the speed-up over fp32 of the same engine in the same session, never as time: the "
    "speed of a machine drifts. What slows fp32 down as well is not seen here."
)
ONE_EACH = (
    "There is one session a side: how far two sessions of unchanged code lie apart is not in the intervals."
)
LITTLE_SIZE = 0.01  # of a file


@dataclass(frozen=True, slots=True)
class Side:
    """One cell of one run with its lines."""

    cell: Cell
    entry: Joined


def compare_runs(a: Run, b: Run) -> list[Table]:
    """Return what differs between the sessions, a table for every place in both, and what only one has.

    Equal cells are those of one model, technique, engine, hardware, threads, streams and scenario. Where one
    of the runs is older than hardware profiles, the device stands for the hardware.
    """
    first, second = _sides(a), _sides(b)
    profiled = all(side.cell.group and side.cell.group.hardware for side in (*first, *second))
    ours = {_key(side, profiled): side for side in first}
    theirs = {_key(side, profiled): side for side in second}
    both = [(ours[key], theirs[key]) for key in ours if key in theirs]
    pairs = [pair for pair in both if all(side.cell.status != "skipped" for side in pair)]
    places: dict[str, list[tuple[Side, Side]]] = {}
    for pair in pairs:
        places.setdefault(pair[1].cell.place, []).append(pair)
    tables = [sessions_table(a, b)]
    tables += [_place_table(place, found) for place, found in places.items()]
    if not pairs:
        tables.append(Table("Cells in both", (), (), empty="the two runs have no cell in common"))
    return [*tables, _only("A", ours, theirs, "B"), _only("B", theirs, ours, "A"), _rules(a, b)]


def print_versus(a: Run, b: Run, console: Console) -> None:
    """Print the comparison."""
    from qbench.report.writers import MARKS_OF_TWO, print_table

    for table in compare_runs(a, b):
        print_table(table, console, MARKS_OF_TWO)
        console.print()


def _rules(a: Run, b: Run) -> Table:
    rules = [RATIO_ONLY, ONE_EACH]
    if a.session.host != b.session.host:
        hosts = f"A ran on {a.session.host}, B on {b.session.host}"
        rules.insert(0, f"{hosts}: only what each gained over its own fp32 can be compared.")
    return Table("How the two are compared", (Column("rule"),), tuple((Entry(rule),) for rule in rules))


def _sides(run: Run) -> list[Side]:
    return [
        Side(cell, entry) for cell, entry in zip(select(run), join(run), strict=True) if cell.case is not None
    ]


def _key(side: Side, profiled: bool) -> Hashable:
    cell, case = side.cell, side.entry.case
    if case is None:
        raise ValueError("a file that was never made is no cell to compare")
    place = case.deployment
    hardware = place.hardware if profiled else ""
    where = (hardware, place.reached, place.device, place.threads, place.streams, place.isa, place.options)
    return cell.model, cell.technique, cell.engine, where, case.scenario


# --- one place -----------------------------------------------------------------------------------


def _place_table(place: str, pairs: Sequence[tuple[Side, Side]]) -> Table:
    notes = Notes()
    emulated = all(b.cell.group and b.cell.group.emulated for _, b in pairs)
    of = "instructions" if emulated else "speed-up"
    columns = (
        Column("cell"),
        Column("accuracy, B - A", True),
        Column("size, B - A", True),
        Column(f"{of} in A", True, True),
        Column(f"{of} in B", True, True),
        Column("B / A", True),
        Column("instructions" if emulated else "speed"),
    )
    rows = []
    for a, b in pairs:
        figure = "instructions" if emulated else "speedup"
        rows.append(
            (
                Entry(b.cell.technique, sub=b.cell.engine),
                _accuracy(a, b, notes),
                _size(a, b, notes),
                _own(a, figure, notes),
                _own(b, figure, notes),
                *_change(a, b, figure, notes),
            )
        )
    return Table(place, columns, tuple(rows), tuple(notes.texts))


def _own(side: Side, name: str, notes: Notes) -> Entry:
    value = side.cell.figures[name]
    if isinstance(value, Absent):
        return Entry(DASH, "absent", notes=(notes.number(value.reason),))
    return Entry(str(value), sub=value.between if value.low is not None else "")


def _accuracy(a: Side, b: Side, notes: Notes) -> Entry:
    """Compare the answers of the two, the same examples one by one; McNemar's test stands in the note."""
    ours, theirs = evidence(a.entry.score, "data id"), evidence(b.entry.score, "data id")
    if ours is None or ours != theirs:
        return Entry(DASH, "absent", notes=(notes.number("not comparable: other data"),))
    first, second = sought(a.entry.score, "correct", "not scored"), sought(b.entry.score, "correct", "")
    if isinstance(first, Absent) or isinstance(second, Absent):
        return _answers(a, b, notes)
    before, now = first[0].samples, second[0].samples
    if len(before) != len(now):
        return Entry(DASH, "absent", notes=(notes.number("not comparable: other data"),))
    test = paired(before, now)
    if not test.worse + test.better:
        return Entry("no flip", sub=f"{test.n:,} examples")
    tone: Tone = "good" if test.interval.low > 0 else "bad" if test.interval.high < 0 else "neutral"
    word = {"good": "better", "bad": "worse"}.get(tone, "no difference seen")
    told = f"{word}: {test.worse} answers went wrong and {test.better} right, McNemar p = "
    number = notes.number(f"{told}{text(test.p_value, '1')}")
    ends = span(test.interval.low, test.interval.high, "points")
    return Entry(text(test.difference, "points"), tone, ends, (number,))


def _answers(a: Side, b: Side, notes: Notes) -> Entry:
    """Compare first answers where there are no labels."""
    first, second = sought(a.entry.score, "prediction", ""), sought(b.entry.score, "prediction", "")
    if isinstance(first, Absent) or isinstance(second, Absent):
        why = "no labels and no classes in one of the two"
        return Entry(DASH, "absent", notes=(notes.number(why),))
    if len(first[0].samples) != len(second[0].samples):
        return Entry(DASH, "absent", notes=(notes.number("not comparable: other data"),))
    share = agreement(first[0].samples, second[0].samples)
    return Entry(text(share, "share"), sub="same answers", notes=(notes.number("no labels: agreement"),))


def _size(a: Side, b: Side, notes: Notes) -> Entry:
    before, now = a.cell.figures["file_size"], b.cell.figures["file_size"]
    if isinstance(before, Absent):
        return Entry(DASH, "absent", notes=(notes.number(f"A: {before.reason}"),))
    if isinstance(now, Absent):
        return Entry(DASH, "absent", notes=(notes.number(f"B: {now.reason}"),))
    if before.value == now.value:
        return Entry("same", sub=str(now))
    tone: Tone = "good" if now.value < before.value else "bad"
    if abs(now.value - before.value) <= LITTLE_SIZE * before.value:
        tone = "neutral"  # another exporter's names and notes; told, and painted neither way
    return Entry(f"{now.value - before.value:+,.0f} B", tone, f"{before} to {now}")


def _change(a: Side, b: Side, name: str, notes: Notes) -> tuple[Entry, Entry]:
    """Return B over A and what it means; the interval joins the worst ends of both."""
    before, now = a.cell.figures[name], b.cell.figures[name]
    if isinstance(before, Absent) or isinstance(now, Absent):
        word = "baseline" if b.cell.role == "fp32" and name == "speedup" else DASH
        side = "A" if isinstance(before, Absent) else "B"
        reason = (
            before.reason if isinstance(before, Absent) else now.reason if isinstance(now, Absent) else ""
        )
        note = () if word == "baseline" else (notes.number(f"{side}: {reason}"),)
        return Entry(DASH, "absent", notes=note or (notes.number(reason),)), Entry(word)
    ratio = text(now.value / before.value, "ratio")
    if name == "instructions" and before.interval == now.interval == "exact":
        if before.value == now.value:
            return Entry("same"), Entry("the same to the instruction")
        return Entry(ratio), Entry("fewer" if now.value < before.value else "more", _tone(before, now, -1))
    if before.low is None or before.high is None or now.low is None or now.high is None:
        return Entry(ratio), Entry("not known", notes=(notes.number("one round has no spread"),))
    low, high = now.low / before.high, now.high / before.low
    sure = notes.number(f"How sure: {_how_sure(before, now)}")
    ends = span(low, high, "ratio")
    if low <= 1 <= high:
        return Entry(ratio, sub=ends, notes=(sure,)), Entry("no difference seen")
    better = (low > 1) == (name == "speedup")
    tone: Tone = "good" if better else "bad"
    return Entry(ratio, tone, ends, (sure,)), Entry("better" if better else "worse", tone)


def _tone(before: Figure, now: Figure, sign: int) -> Tone:
    return "good" if sign * (now.value - before.value) > 0 else "bad"


def _how_sure(before: Figure, now: Figure) -> str:
    rounds = f"{before.n} and {now.n} {now.of}"
    if "range" in (before.interval, now.interval):
        return f"{rounds}, {SPREAD_WORDS['range']} of both, which promises no coverage"
    return f"{rounds}, the ends of two 95 % intervals, which is wider than either"


# --- what only one has ---------------------------------------------------------------------------


def _only(name: str, ours: Mapping[Hashable, Side], theirs: Mapping[Hashable, Side], other: str) -> Table:
    rows = []
    for key, side in ours.items():
        twin = theirs.get(key)
        if side.cell.status == "skipped" or (twin and twin.cell.status != "skipped"):
            continue
        why = f"{other} skipped it: {twin.cell.reasons[0].text}" if twin else _why(side, theirs, other)
        rows.append((Entry(side.cell.name), Entry(side.cell.place), Entry(why)))
    columns = (Column("cell"), Column("where"), Column("why"))
    return Table(f"Only in {name}", columns, tuple(rows), empty=f"no cell that {other} has not")


def _why(side: Side, theirs: Mapping[Hashable, Side], other: str) -> str:
    cells = [found.cell for found in theirs.values()]
    for word, own in (
        ("model", side.cell.model),
        ("technique", side.cell.technique),
        ("engine", side.cell.engine),
    ):
        cells = [cell for cell in cells if getattr(cell, word) == own]
        if not cells:
            return f"{other} has no {word} {own}" + ("" if word == "model" else " there")
    return f"{other} has it elsewhere: " + "; ".join(dict.fromkeys(cell.place for cell in cells))
