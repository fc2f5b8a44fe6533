"""The tables of one cell, and of the machine's own steadiness: what a reader opens to check a number."""

from __future__ import annotations

from qbench.cases import Anchor
from qbench.metrics import CATALOGUE
from qbench.records import Session, find
from qbench.report.cell import Cell
from qbench.report.figures import FIGURES, SPREAD_WORDS, Absent, Figure
from qbench.report.recommend import Recommendation
from qbench.report.roofline import bound_by
from qbench.report.tables import DASH, Column, Entry, Table, titled
from qbench.stats import coefficient_of_variation, median
from qbench.store import Run
from qbench.units import Unit, text

WITNESS_UNITS: dict[str, Unit] = {
    "involuntary_switches": "1",
    "processor_wait": "s",
    "steal": "s",
    "load_average": "1",
    "cpu_frequency": "Hz",
    "temperature": "°C",
}


def detail_table(cell: Cell) -> Table:
    """Return every figure of one cell with interval, count and lines; absent ones together by reason."""
    rows = []
    absent: dict[str, list[str]] = {}
    for name, what in FIGURES.items():
        value = cell.figures[name]
        if isinstance(value, Absent):
            absent.setdefault(value.reason, []).append(what.head)
            continue
        rows.append(
            (
                Entry(what.head),
                Entry(str(value), figure=value),
                Entry(_between(value)),
                Entry(f"{value.n:,} {value.of}"),
                Entry("", lines=value.lines),
            )
        )
    none = Entry(DASH, "absent")
    if held := bound_by(cell.figures):
        rows.append((Entry("held back by"), none, Entry(held), none, none))
    for reason, names in absent.items():
        rows.append((Entry(", ".join(names)), none, Entry(reason, "absent"), none, none))
    heads = ("figure", "value", "interval, or why there is none", "n", "lines")
    columns = tuple(Column(head, right=head == "value") for head in heads)
    return Table(titled(cell.name, cell.profile), columns, tuple(rows))


def _between(value: Figure) -> str:
    return value.between if value.low is None else f"{value.between} ({SPREAD_WORDS[value.interval]})"


def rounds_table(cell: Cell) -> Table:
    """Return every round: its median, its speed over fp32 in the same round, and the witnesses of noise."""
    names = list(dict.fromkeys(name for found in cell.rounds for name, _ in found.witnesses))
    rate = any(found.unit == "1/s" for found in cell.rounds)
    mixed = isinstance(cell.figures["latency_mean"], Figure)
    latency = "mean latency" if mixed else "median latency"
    middle, against = ("median throughput", "this / fp32") if rate else (latency, "fp32 / this")
    heads = ["round", middle, against, *(name.replace("_", " ") for name in names), "lines"]
    rows = []
    for found in cell.rounds:
        witnesses = dict(found.witnesses)
        ratio = DASH if found.ratio is None else text(found.ratio, "ratio")
        unknown = Entry("not recorded", "absent")
        seen = (
            Entry(text(witnesses[name], WITNESS_UNITS[name])) if name in witnesses else unknown
            for name in names
        )
        line = Entry("", lines=(found.line,))
        rows.append(
            (Entry(str(found.number)), Entry(text(found.middle, found.unit)), Entry(ratio), *seen, line)
        )
    columns = tuple(Column(head, right=head != "lines") for head in heads)
    return Table("Rounds", columns, tuple(rows), empty="this cell was not timed")


def evidence_table(cell: Cell) -> Table:
    """Return the facts that the proofs rest on, in the engine's own words."""
    rows = tuple(
        (Entry(found.what), Entry(found.found), Entry("", lines=(line,))) for found, line in cell.evidence
    )
    columns = (Column("what"), Column("found"), Column("lines"))
    return Table("Evidence", columns, rows, empty="none was recorded")


def rejected_table(found: Recommendation) -> Table:
    """Return why the other techniques of one group are not recommended."""
    rows = tuple((Entry(cell.name, cell=cell.number), Entry(reason)) for cell, reason in found.rejected)
    return Table("Why not the others", (Column("cell"), Column("reason")), rows, empty="there was no other")


def anchor_table(run: Run) -> Table:
    """Return how steady the machine was by itself: the kernel that no code under test can change."""
    found: dict[Anchor, list[tuple[float, int]]] = {}
    for record, line in run.latest().values():
        measurement = find(record.outcome, "anchor")
        if isinstance(record.step.subject, Anchor) and measurement is not None and measurement.samples:
            found.setdefault(record.step.subject, []).append((median(measurement.samples), line))
    rows = []
    for anchor, rounds in found.items():
        middles = [middle for middle, _ in rounds]
        varied = text(coefficient_of_variation(middles), "share") if len(middles) > 1 else "one round"
        rows.append(
            (
                Entry(anchor.kernel),
                Entry(anchor.device),
                Entry(text(median(middles), "s")),
                Entry(varied),
                Entry(f"{len(rounds)} rounds"),
                Entry("", lines=tuple(line for _, line in rounds)),
            )
        )
    heads = ("anchor kernel", "device", "median", "varied by", "n", "lines")
    columns = tuple(Column(head, right=head in ("median", "varied by")) for head in heads)
    title = titled("The machine itself", run.session.profile)
    return Table(title, columns, tuple(rows), empty="no anchor was timed")


def meanings_table() -> Table:
    """Return what each figure means; the catalogue of metrics owns the words."""
    rows = tuple(
        (Entry(shown.head), Entry(shown.better), Entry(shown.means)) for shown in FIGURES.values()
    ) + tuple(
        (Entry(name.replace("_", " ")), Entry(CATALOGUE[name].better), Entry(CATALOGUE[name].means))
        for name in (*WITNESS_UNITS, "anchor")
    )
    return Table("What each figure means", (Column("figure"), Column("better"), Column("means")), rows)


def environment_table(session: Session) -> Table:
    """Return who measured, on what, with which code."""
    code = session.commit + (", with uncommitted changes" if session.dirty else "")
    pairs = (
        ("command", session.command),
        ("suite", session.suite),
        ("profile", session.profile),
        ("host", session.host),
        *session.facts,
        ("code", code),
        ("started (UTC)", session.started_utc),
        ("session", session.id),
        *((f"{name} version", version) for name, version in session.versions),
    )
    rows = tuple((Entry(name), Entry(found or "not recorded")) for name, found in pairs)
    return Table(titled("Environment", session.profile), (Column("what"), Column("found")), rows)
