"""What all drawings share: paper, heads, axes, legends, and the look of techniques and engines.

matplotlib draws without a window and without `pyplot`; it is imported when the first picture is drawn.
"""

from __future__ import annotations

import io
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qbench.report.svg import HUES, INK, PAPER, SOFT
from qbench.units import Unit, text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 370.0  # points: a phone shows it as large as it is
SMALL, LARGE = 9.0, 11.5  # of the fonts
LETTER = 0.56  # a letter's width as a share of the font's size; wide on purpose, the reader's font is unknown
LINE = 14.0  # height of a line of the legend
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")  # engines, by the order of the run
STYLE = {"svg.fonttype": "none", "text.parse_math": False, "svg.hashsalt": "qbench", "path.simplify": False}
# a name with a dollar sign is a name, and two runs of the same code give the same bytes
BASES = ((1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9))
LegendItem = tuple[str, str, bool, str]  # marker, colour, filled, words


@dataclass(frozen=True, slots=True)
class Look:
    """How a technique or an engine looks, the same in every picture of a page."""

    techniques: dict[str, int]  # by name: its number from 1
    engines: dict[str, int]  # by name: its place in MARKERS
    floats: frozenset[str]
    fp32: frozenset[str]  # those of them that all are compared with

    def hue(self, technique: str) -> str:
        """Return the colour: ink for fp32, grey for other floats."""
        if technique in self.floats:
            return INK if technique in self.fp32 else SOFT
        return HUES[(self.techniques[technique] - 1) % len(HUES)]

    def marker(self, engine: str) -> str:
        """Return matplotlib's word for the shape."""
        return MARKERS[self.engines[engine] % len(MARKERS)]


@dataclass(frozen=True, slots=True)
class Legend:
    """Items side by side, on as many lines as they need: each with its place from the left, in points."""

    rows: tuple[tuple[tuple[float, LegendItem], ...], ...]

    @property
    def height(self) -> float:
        """Return the height in points."""
        return LINE * len(self.rows)


def flow(*groups: Sequence[LegendItem]) -> Legend:
    """Set each group's items side by side; a group begins on a line of its own."""
    rows: list[list[tuple[float, LegendItem]]] = []
    for items in groups:
        x = WIDTH
        for item in items:
            wide = 22.0 + LETTER * SMALL * len(item[3])
            if x + wide > WIDTH:
                rows.append([])
                x = 8.0
            rows[-1].append((x, item))
            x += wide
    return Legend(tuple(tuple(row) for row in rows))


@contextmanager
def styled() -> Iterator[None]:
    """Draw in here: with our settings, and without a word on letters that only the reader's font needs."""
    from matplotlib import rc_context

    settings: Any = STYLE
    with rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        yield


def canvas(height: float, title: str, about: str) -> Figure:
    """Return an empty drawing of this height in points with its heads."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72, facecolor="none")
    figure.text(8 / WIDTH, 1 - 13 / height, title, size=LARGE, weight="bold", color=INK, va="center")
    for number, line in enumerate(lines_of(about)):
        y = 1 - (27 + 12 * number) / height
        figure.text(8 / WIDTH, y, line, size=SMALL, color=SOFT, va="center")
    return figure


def heads_height(about: str) -> float:
    """Return how much room the heads take, in points."""
    return 30.0 + 12.0 * len(lines_of(about))


def lines_of(about: str) -> list[str]:
    """Return the second head on as many lines as its width needs."""
    return textwrap.wrap(about, int((WIDTH - 16) / (LETTER * SMALL))) or [""]


def shortened(words: str, room: float, size: float = SMALL) -> str:
    """Return words that fit into this many points, the middle left out where they are too long."""
    fits = int(room / (LETTER * size))
    if len(words) <= fits:
        return words
    return words[: fits - fits // 3 - 1] + "\N{HORIZONTAL ELLIPSIS}" + words[-(fits // 3) :]


def plain_axes(axes: Axes) -> None:
    """Take away what is no data: frame, minor ticks, tick lines."""
    for name in ("top", "right", "left"):
        axes.spines[name].set_visible(False)
    axes.spines["bottom"].set_color(SOFT)
    axes.tick_params(which="both", length=0, labelsize=SMALL, labelcolor=SOFT, pad=4)
    axes.set_axisbelow(True)


def log_ticks(axes: Axes, unit: Unit, bases: Sequence[Sequence[float]] = BASES, power: float = 10.0) -> None:
    """Mark round values on the logarithmic x axis: by the first of `bases` that gives three, five at most."""
    from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

    low, high = axes.get_xlim()
    inside: list[float] = []
    for each in bases:
        wanted = (base * power**k for k in range(-12, 14) for base in each)
        inside = [value for value in wanted if low <= value <= high]
        if len(inside) >= 3:
            break
    while len(inside) > 5:
        inside = inside[::2]
    axes.xaxis.set_major_locator(FixedLocator(inside))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks(inside, labels=[tick_text(value, unit) for value in inside])


def tick_text(value: float, unit: Unit) -> str:
    """Return a tick's words without noughts behind the point: `1 ms`, `2.5 MB`."""
    if unit == "1" and value >= 1e6:
        return re.sub(r"\.?0+$", "", f"{value / 1e6:.2f}") + " M"
    return re.sub(
        r"(\d+)(\.\d*?)0+(?=\D|$)", lambda found: found[1] + found[2].rstrip("."), text(value, unit)
    )


def legend(figure: Figure, height: float, top: float, items: Legend) -> None:
    """Draw a legend whose first line stands at `top` points from the bottom."""
    from matplotlib.lines import Line2D

    for number, row in enumerate(items.rows):
        y = (top - LINE * (number + 0.5)) / height
        for x, (marker, hue, filled, words) in row:
            mark = Line2D(
                [x / WIDTH], [y], marker=marker, ls="", ms=6, mew=1.2, mec=hue, mfc=hue if filled else PAPER,
                transform=figure.transFigure,
            )  # fmt: skip
            figure.add_artist(mark)
            figure.text((x + 8) / WIDTH, y, words, size=SMALL, color=INK, va="center_baseline")


def drawn(figure: Figure) -> str:
    """Return the SVG as matplotlib writes it; `svg` makes it fit for a page or a file."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None}, facecolor="none")
    return out.getvalue()
