"""Which pictures a run has: per place accuracy against speed, per site against size and bits, speed-ups."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from qbench.report.bits_plot import accuracy_by_bits
from qbench.report.cell import Cell, Group
from qbench.report.drawing import Look
from qbench.report.figures import FIGURES, Absent, Figure, Value, typical_latency
from qbench.report.pareto import Point, Span, standings
from qbench.report.plots import Dot, Scale, scatter
from qbench.report.recommend import absent_place
from qbench.report.speed_plot import Row, Tone, speed_dots
from qbench.report.svg import inline, standalone
from qbench.report.sweeps import families
from qbench.report.tables import speed_tone
from qbench.report.writers import plain
from qbench.units import text

ENOUGH = 2  # cells: one alone compares with nothing


@dataclass(frozen=True, slots=True)
class Picture:
    """One drawing: its name among the files, what it shows, and its SVG for the page and for a file."""

    slug: str
    title: str
    where: str
    told: str  # what a reader who cannot see it is told
    page: str
    file: str


@dataclass(frozen=True, slots=True)
class Site:
    """The pictures of one model on one device: speed by place, size once, speed-ups of all places."""

    model: str
    title: str
    pictures: tuple[Picture, ...]


def pictures(cells: Sequence[Cell]) -> tuple[Site, ...]:
    """Return the pictures of every site with at least two measured cells, in the order of the run."""
    look = look_of(cells)
    sites: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        if cell.group is not None and cell.variant_of is None:
            sites.setdefault((cell.model, cell.group.site), []).append(cell)
    found = []
    taken: set[str] = set()
    for (model, site), own in sites.items():
        if absent_place(own):
            continue
        drawn = _of_site(own, look, taken)
        if drawn:
            found.append(Site(model, f"{model} on {site}", tuple(drawn)))
    return tuple(found)


def look_of(cells: Sequence[Cell]) -> Look:
    """Return a number for every technique and a shape for every engine, by the order of the run."""
    told = [cell for cell in cells if cell.case is not None and cell.variant_of is None]
    techniques = dict.fromkeys(plain(cell.technique) for cell in told)
    floats = frozenset(plain(cell.technique) for cell in told if cell.role in ("fp32", "float"))
    quantized = [name for name in techniques if name not in floats]
    named = [*quantized, *(name for name in techniques if name in floats)]  # hues go to techniques first
    return Look(
        {name: number for number, name in enumerate(named, start=1)},
        {name: place for place, name in enumerate(dict.fromkeys(plain(cell.engine) for cell in told))},
        floats,
        frozenset(plain(cell.technique) for cell in told if cell.role == "fp32"),
    )


def _of_site(cells: Sequence[Cell], look: Look, taken: set[str]) -> list[Picture]:
    places: dict[Group, list[Cell]] = {}
    for cell in cells:
        if cell.group is not None:
            places.setdefault(cell.group, []).append(cell)
    found = []
    for place, own in places.items():
        name = "instructions" if place.emulated else _pace(place)
        found.append(_against(name, own, plain(str(place)), look, taken))
        if any(isinstance(cell.figures["latency_mean"], Figure) for cell in own):  # calls unlike each other
            found.append(_against("latency_p99", own, plain(str(place)), look, taken))
    once = {(cell.technique, cell.engine): cell for cell in reversed(cells)}  # batches share file and score
    where = plain(f"{cells[0].model} on {cells[0].group.site if cells[0].group else cells[0].device}")
    files = sorted(once.values(), key=lambda cell: cell.number)
    if not any(place.emulated for place in places):  # the same files, and few examples
        found += [_against("file_size", files, where, look, taken), _by_bits(files, where, taken)]
    found.append(_speedups(places, where, look, taken))
    return [picture for picture in found if picture is not None]


def _pace(place: Group) -> str:
    return "throughput" if place.scenario.name == "saturated" else "latency"


def _against(name: str, cells: Sequence[Cell], where: str, look: Look, taken: set[str]) -> Picture | None:
    """Return accuracy against one figure, or None where fewer than two cells have both."""
    known = [(cell, x, y) for cell in cells if (x := _span(cell, name)) and (y := accuracy_span(cell))]
    if len(known) < ENOUGH:
        return None
    more = FIGURES[name].better == "higher"
    stand = standings([Point(x.turned() if more else x, y) for _, x, y in known])
    dots = [
        Dot(plain(cell.technique), plain(cell.engine), x, y, standing)
        for (cell, x, y), standing in zip(known, stand, strict=True)
    ]
    head = FIGURES[name].head.removesuffix(" / fp32")
    words = {"file_size": "file size", "instructions": "instructions of one call"}.get(name, head)
    first = known[0][0].figures[name]
    if isinstance(first, Absent):
        raise TypeError(f"{name} was a figure when it was chosen")
    title = f"Accuracy against {words}"
    profile = cells[0].profile
    about = f"{where} ({profile} profile)"
    front = ", ".join(
        f"{dot.technique} on {dot.engine} ({text(dot.x.value, first.unit)}, {text(dot.y.value, 'share')})"
        for dot in sorted(dots, key=lambda dot: dot.x.value)
        if dot.standing == "front"
    )
    near = sum(dot.standing == "near" for dot in dots)
    told = f"{title}, {about}. On the front: {front}. {near} more cannot be told from it."
    drawing = scatter(title, about, dots, Scale(words, first.unit, more), Scale("accuracy", "share"), look)
    return _picture(_slug(f"{where} {name}", taken), title, where, told, drawing)


def _by_bits(cells: Sequence[Cell], where: str, taken: set[str]) -> Picture | None:
    """Return accuracy by the weights' bits; None where no technique has several widths."""
    swept = families(cells)
    if not swept:
        return None
    floats = [accuracy_span(cell) for cell in cells if cell.role == "fp32"]
    fp32 = next((span.value for span in floats if span), None)
    title = "Accuracy by the bits of a weight"
    about = f"{where} ({cells[0].profile} profile)"
    if any(span.low < span.high for one in swept for _, span in one.widths):
        about += ", median and range over calibration seeds"
    ends = ", ".join(
        f"{one.name} {text(one.widths[0][1].value, 'share')} at {one.widths[0][0]} bits" for one in swept
    )
    level = "" if fp32 is None else f" fp32: {text(fp32, 'share')}."
    told = f"{title}, {about}. The fewest of each: {ends}.{level}"
    return _picture(
        _slug(f"{where} bits", taken), title, where, told, accuracy_by_bits(title, about, swept, fp32)
    )


def _speedups(places: dict[Group, list[Cell]], where: str, look: Look, taken: set[str]) -> Picture | None:
    rows: dict[tuple[str, str], list[tuple[str, Span, Tone]]] = {}
    for place, cells in places.items():
        for cell in cells:
            span = _span(cell, "speedup")
            if span is not None:
                rows.setdefault((plain(cell.engine), plain(cell.technique)), []).append(
                    (place.asked, span, _tone(cell, span))
                )
    if not rows:
        return None
    listed = [Row(technique, engine, tuple(found)) for (engine, technique), found in rows.items()]
    title = "Speed-up over fp32 on the same engine"
    about = f"{where} ({next(iter(places.values()))[0].profile} profile)"
    value, row = max(((s.value, row) for row in listed for _, s, _ in row.speedups), key=lambda pair: pair[0])
    told = f"{title}, {about}. The most: {row.technique} on {row.engine}, {text(value, 'ratio')}."
    slug = _slug(f"{where} speed-up", taken)
    return _picture(slug, title, where, told, speed_dots(title, about, listed, look))


def _tone(cell: Cell, span: Span) -> Tone:
    """Green as in the tables; red only left of the line, where a reader expects it."""
    if speed_tone(cell) == "good":
        return "good"
    return "bad" if span.high < 1 else "neutral"


def _picture(slug: str, title: str, where: str, told: str, drawn: str) -> Picture:
    return Picture(slug, title, where, told, inline(drawn, slug, told), standalone(drawn, slug, told))


def _slug(words: str, taken: set[str]) -> str:
    """Return a name for a file and for ids: letters, digits and dashes, no two alike."""
    base = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:100] or "picture"
    slug, number = base, 2
    while slug in taken:
        slug, number = f"{base}-{number}", number + 1
    taken.add(slug)
    return slug


def _span(cell: Cell, name: str) -> Span | None:
    value: Value = typical_latency(cell.figures) if name == "latency" else cell.figures[name]
    return Span.of(value) if isinstance(value, Figure) and cell.status == "measured" else None


def accuracy_span(cell: Cell) -> Span | None:
    """Return a cell's accuracy with the interval of its paired difference to fp32 on the same engine.

    Two cells of one place saw the same examples, so what tells them apart is how they differ, not how far
    either may be from the accuracy on all the world's examples; fp32, the reference, has no such interval.
    Where nothing was paired, the interval of the accuracy itself stands.
    """
    own, difference = cell.figures["accuracy"], cell.figures["accuracy_difference"]
    if not isinstance(own, Figure) or cell.status != "measured":
        return None
    if cell.role == "fp32":
        return Span(own.value, own.value, own.value)
    if isinstance(difference, Absent) or difference.low is None or difference.high is None:
        return Span.of(own)
    base = own.value - difference.value
    ends = Span(own.value, base + difference.low, base + difference.high)
    return replace(ends, low=min(ends.low, ends.value), high=max(ends.high, ends.value))
