"""Speed-ups per engine: rows to dots with their intervals on one logarithmic axis, a line at 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from qbench.report.drawing import (
    MARKERS,
    SMALL,
    WIDTH,
    Look,
    canvas,
    drawn,
    flow,
    heads_height,
    legend,
    log_ticks,
    plain_axes,
    shortened,
    styled,
)
from qbench.report.pareto import Span
from qbench.report.svg import BAD, GOOD, INK, PAPER, RULE, SOFT
from qbench.units import text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEFT, RIGHT = 116.0, 46.0  # margins in points: names, and the figures
INNER = WIDTH - LEFT - RIGHT
Tone = Literal["good", "bad", "neutral"]
HUE = {"good": GOOD, "bad": BAD, "neutral": SOFT}
STEP, PAD, HEAD = 9.0, 5.0, 17.0  # heights: one speed-up, around a technique's, an engine's name


@dataclass(frozen=True, slots=True)
class Row:
    """One technique on one engine among the speed-ups: a figure for each way of asking."""

    technique: str
    engine: str
    speedups: tuple[tuple[str, Span, Tone], ...]  # batch 1, batch 8, 2 streams saturated


def speed_dots(title: str, about: str, rows: Sequence[Row], look: Look) -> str:
    """Return speed-ups on a logarithmic axis with their intervals and a line at 1, engine by engine."""
    asked = list(dict.fromkeys(words for row in rows for words, _, _ in row.speedups))
    step = PAD + STEP * len(asked)
    engines = list(dict.fromkeys(row.engine for row in rows))
    tall = step * len(rows) + HEAD * len(engines)
    items = flow(
        [(MARKERS[k % len(MARKERS)], INK, k > 0, words) for k, words in enumerate(asked)],
        [
            ("_", GOOD, True, "surely faster than every float"),
            ("_", BAD, True, "surely slower than fp32"),
            ("_", SOFT, True, "neither"),
        ],
    )
    below = 24.0 + items.height
    height = heads_height(about) + tall + below
    with styled():
        figure = canvas(height, title, about)
        axes = figure.add_axes((LEFT / WIDTH, below / height, INNER / WIDTH, tall / height), facecolor="none")
        spans = [span for row in rows for _, span, _ in row.speedups]
        low, high = min([0.8, *(s.low for s in spans)]), max([1.25, *(s.high for s in spans)])
        axes.set(xscale="log", xlim=(low / 1.06, high * 1.06), ylim=(tall, 0))
        plain_axes(axes)
        axes.set_yticks([])
        log_ticks(axes, "ratio", ((1,), (1, 1.5)), 2.0)
        axes.plot([1, 1], [0, tall], color=INK, lw=1.0, clip_on=False, zorder=1)
        y = 0.0
        for engine in engines:
            words = shortened(engine, LEFT)
            across = axes.get_yaxis_transform()
            axes.text(
                -(LEFT - 8) / INNER, y + 10, words, transform=across, color=INK, size=SMALL, weight="bold"
            )
            y += HEAD
            for row in (row for row in rows if row.engine == engine):
                _speed_row(axes, row, y, asked, look)
                y += step
        legend(figure, height, items.height + 4.0, items)
        return drawn(figure)


def _speed_row(axes: Axes, row: Row, top: float, asked: list[str], look: Look) -> None:
    across = axes.get_yaxis_transform()  # x in widths of the frame, y in points
    step = PAD + STEP * len(asked)
    axes.text(
        -8 / INNER, top + step / 2, shortened(row.technique, LEFT - 20), transform=across, ha="right",
        va="center", color=INK, size=SMALL, style="italic" if row.technique in look.floats else "normal",
    )  # fmt: skip
    axes.plot([0, 1], [top, top], transform=across, color=RULE, lw=0.6, clip_on=False, zorder=0)
    for words, span, tone in row.speedups:
        k = asked.index(words)
        y, hue = top + PAD / 2 + STEP * (k + 0.5), HUE[tone]
        axes.plot([span.low, span.high], [y, y], color=hue, lw=1.8, clip_on=False, solid_capstyle="round")
        axes.plot(
            [span.value], [y], MARKERS[k % len(MARKERS)], color=hue, ms=5, mew=1.2, clip_on=False,
            mfc=PAPER if k == 0 else hue,
        )  # fmt: skip
        axes.text(
            1 + (RIGHT - 4) / INNER, y, text(span.value, "ratio"), transform=across, ha="right", va="center",
            size=8.0, color=hue,
        )  # fmt: skip
