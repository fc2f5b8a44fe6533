"""The report on disk: one self-contained page, the same as Markdown, and every raw figure as CSV."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from qbench.errors import CannotWrite
from qbench.report.beside import beside_table
from qbench.report.cell import Cell
from qbench.report.compare import LIMIT
from qbench.report.delivered import NOTHING, Delivered, Deliveries
from qbench.report.details import (
    anchor_table,
    detail_table,
    environment_table,
    evidence_table,
    meanings_table,
    rejected_table,
    rounds_table,
)
from qbench.report.explained import explained_tables
from qbench.report.figures import Figure
from qbench.report.outputs_table import outputs_table
from qbench.report.outside import outside_tables
from qbench.report.pictures import Site, pictures
from qbench.report.recommend import Recommendation, recommend
from qbench.report.seeds import seeds_table
from qbench.report.select import select
from qbench.report.steadiness import UNSTEADY_CPU, UNSTEADY_OTHER
from qbench.report.svg import HUES
from qbench.report.tables import Table, matrix_table, ranges, verdict_table
from qbench.report.thorough import PROFILES, profile_words
from qbench.report.writers import MARKS, MARKS_MEAN, cells_csv, escaped, grouped, markdown, plain
from qbench.store import Run
from qbench.units import text

MANY = 4  # places: beyond, advice and matrices are folded, so that the verdict stays on one screen
TEMPLATES = Path(__file__).parent / "templates"


def write_report(run: Run, folder: Path, deliveries: Deliveries = NOTHING) -> dict[str, Path]:
    """Write `index.html`, `report.md`, `cells.csv` and `plots/*.svg`; return their paths by these names.

    `deliveries` has the recommended files that were copied, with the code that loads each.

    Raises:
        CannotWrite: the folder or a file in it cannot be written. No file is ever half written.
    """
    cells = select(run)
    href = _relative(run.path, folder)
    sites = pictures(cells)
    contents = {
        "index.html": html(run, cells, href, sites, deliveries),
        "report.md": report_markdown(run, cells, sites, deliveries),
        "cells.csv": cells_csv(cells, source_name(run.path)),
    }
    contents |= {f"plots/{picture.slug}.svg": picture.file for site in sites for picture in site.pictures}
    return {name: _write(folder / name, content) for name, content in contents.items()}


def html(
    run: Run, cells: Sequence[Cell], href: str, sites: Sequence[Site], deliveries: Deliveries = NOTHING
) -> str:
    """Return the page with these pictures; `href` leads from it to the results file."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = plain
    environment.filters["ranges"] = ranges
    groups = grouped(cells)
    advice = [found for found in recommend(cells) if found.here]
    return environment.get_template("page.html.j2").render(
        run=run,
        session=run.session,
        profile_words=_profile(run, cells),
        verdict=verdict_table(cells),
        recommendations=[(found, rejected_table(found), _given(found, deliveries)) for found in advice],
        many=len(advice) > MANY,
        sites=sites,
        hues=HUES,
        seeds=seeds_table(cells),
        beside=beside_table(run),
        explained=explained_tables(run),
        matrices=[(matrix_table(group), speed_bars(group)) for group in groups],
        details=[
            (cell, outputs_table(cell.outputs), detail_table(cell), rounds_table(cell), evidence_table(cell))
            for cell in cells
        ],
        outside=outside_tables(run, cells),
        machine=[environment_table(run.session), anchor_table(run)],
        meanings=meanings_table(),
        method=method(run, cells),
        marks=MARKS,
        marks_mean=MARKS_MEAN,
        source=source_name(run.path),
        href=href,
    )


def report_markdown(
    run: Run, cells: Sequence[Cell], sites: Sequence[Site], deliveries: Deliveries = NOTHING
) -> str:
    """Return the same report as Markdown."""
    where = source_name(run.path)

    def tables(*found: Table) -> list[str]:
        return [markdown(table, where) for table in found]

    parts = [
        f"# qbench report: {escaped(run.session.suite)}, {escaped(run.session.profile)} profile",
        "",
        escaped(_profile(run, cells))
        + f". Every figure comes from `{where}`; the numbers after the colon are its lines.",
        "",
        "## Verdict",
        "",
        *tables(verdict_table(cells)),
    ]
    for found in recommend(cells):
        parts += [f"**{escaped(found.place)}: {escaped(found.verdict)}.**", ""]
        parts += [f"- {escaped(words)}" for words in (found.gains, found.loses, found.sure, found.break_even)]
        parts += ["", *_markdown_given(_given(found, deliveries)), *tables(rejected_table(found))]
    parts += ["## Pictures", ""] if sites else []
    for picture in (picture for site in sites for picture in site.pictures):
        parts += [f"![{escaped(picture.told)}](plots/{picture.slug}.svg)", ""]
    parts += ["## Matrix", "", *tables(*(matrix_table(group) for group in grouped(cells))), MARKS_MEAN, ""]
    seeds = seeds_table(cells)
    parts += tables(seeds) if seeds.rows else []
    beside = beside_table(run)
    parts += tables(beside) if beside.rows else []
    parts += tables(*explained_tables(run))
    parts += ["## Skipped, failed, withheld", "", *tables(*outside_tables(run, cells))]
    parts += ["## Environment", "", *tables(environment_table(run.session), anchor_table(run))]
    parts += ["## How it was measured", "", *(f"- {escaped(words)}" for words in method(run, cells)), ""]
    parts += tables(meanings_table())
    parts += ["## Cells", ""]
    for cell in cells:
        parts += tables(outputs_table(cell.outputs)) if cell.outputs else []
        parts += tables(detail_table(cell), rounds_table(cell), evidence_table(cell))
    return "\n".join(parts)


def _given(found: Recommendation, deliveries: Deliveries) -> Delivered | None:
    case = found.ship.case if found.ship is not None else None
    return deliveries.get(case) if case is not None else None


def _markdown_given(given: Delivered | None) -> list[str]:
    if given is None:
        return []
    if given.absent:
        return [f"File: {escaped(given.absent)}", ""]
    code = [given.code] if given.code else []
    return [f"File: {escaped(given.path)}", "", *(["```python", *code, "```", ""] if code else [])]


def _profile(run: Run, cells: Sequence[Cell]) -> str:
    return profile_words(run.session.profile, max((len(cell.rounds) for cell in cells), default=0))


def method(run: Run, cells: Sequence[Cell]) -> list[str]:
    """Return the rules by which the figures were made, with the numbers of this run."""
    rounds = sorted({len(cell.rounds) for cell in cells if cell.rounds})
    counts = " or ".join(map(str, rounds)) or "no"
    return [
        f"Profile {run.session.profile}: {PROFILES.get(run.session.profile, 'not one that qbench ships')}. "
        f"Timed here: {counts} rounds a cell.",
        "A speed-up is the ratio of fp32's median to the cell's median inside one round, and the median of "
        "these ratios over the rounds, because the speed of a shared machine drifts between rounds.",
        "Below 6 rounds the smallest and the largest ratio are shown, which promises no coverage; "
        "from 6 rounds a 95 % order-statistic interval of the median.",
        f"A cell is unstable if its ratio varies by more than {text(UNSTEADY_CPU, 'share')} between rounds "
        f"on a processor, {text(UNSTEADY_OTHER, 'share')} elsewhere. A technique then wins only where its "
        "worst round beats float by more than the rounds differ; fp32 is kept by the smaller median, steady "
        "or not.",
        "A technique is recommended only if something here judges its answers, if its accuracy is not known "
        f"to fall by more than {text(abs(LIMIT), 'width')}, and if it is surely faster than fp32 on its "
        "engine and than the best float cell of any engine.",
        "Differences of accuracy pair the same examples one by one; where the data ids differ there is none.",
        "What is absent has a reason. Simulated and collapsed cells have no speed.",
        *_method_of_places(cells),
    ]


def _method_of_places(cells: Sequence[Cell]) -> list[str]:
    """Return the rules of the places that this run has, beyond one stream on the device itself."""
    places = {cell.group for cell in cells if cell.group}
    found = []
    if any(place.scenario.name == "saturated" for place in places):
        found.append(
            "Saturated: all streams call without a pause, and the examples a second are taken in slices of "
            "the window. Nobody's wait is measured there, and no throughput is computed from a latency."
        )
    if any(place.emulated for place in places):
        found.append(
            "Emulated: answers and counts of instructions are those of the device, times are not, so none is "
            "shown and nothing is recommended by one."
        )
    if any(cell.seed_of for cell in cells):
        found.append(
            "Further calibration seeds are scored and not timed; the median and the range of accuracy over "
            "all seeds stand beside the matrix."
        )
    return found


def speed_bars(cells: Sequence[Cell]) -> dict[int, dict[str, float]]:
    """Return by cell number where its speed-up's interval lies on a common logarithmic axis, in per cent."""
    found = {cell.number: cell.figures["speedup"] for cell in cells}
    whole = {n: value for n, value in found.items() if isinstance(value, Figure) and value.low and value.high}
    if not whole:
        return {}
    low = math.log(min(0.5, *(value.low or 1 for value in whole.values())))
    high = math.log(max(2.0, *(value.high or 1 for value in whole.values())))

    def at(ratio: float) -> float:
        return round(100 * (math.log(ratio) - low) / (high - low), 2)

    return {
        n: {
            "left": at(value.low or 1),
            "width": max(1.0, at(value.high or 1) - at(value.low or 1)),
            "middle": at(value.value),
            "one": at(1.0),
        }
        for n, value in whole.items()
    }


def source_name(path: Path) -> str:
    """Return a results file's name with its host's folder: enough to find it in `results/`."""
    return plain(f"{path.parent.name}/{path.name}")


def _relative(path: Path, folder: Path) -> str:
    try:
        relative = os.path.relpath(path.resolve(), folder.resolve())
    except ValueError:  # another drive: there is no relative way
        relative = path.name
    return quote(Path(relative).as_posix())


def _write(path: Path, content: str) -> Path:
    """Write beside the file and put it in place in one step, so that a reader never sees half of it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(content)
            Path(name).chmod(0o644)  # mkstemp makes it private, and a report is for others to read
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CannotWrite(
            f"the report cannot be written to {path}: {error.strerror or error}",
            fix="choose another folder with --reports DIR, or make this one writable",
        ) from error
    return path
