"""Accuracy by the bits of the weights: what each technique of a sweep still gets right as they grow few."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qbench.report.drawing import (
    MARKERS,
    SMALL,
    WIDTH,
    canvas,
    drawn,
    flow,
    heads_height,
    legend,
    plain_axes,
    styled,
)
from qbench.report.pareto import Span
from qbench.report.svg import HUES, INK, RULE, SOFT
from qbench.units import text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEFT, RIGHT, PANEL = 52.0, 14.0, 230.0  # margins and the frame's height in points
APART = 0.07  # bits: how far families stand beside each other, so that their intervals do not hide each other
SPREAD = 0.3  # all of them together at most: a mark must stay with its bits
DEEP = 0.12  # accuracy this far below the best stands on the floor, with its value: what is left of a network
# that fell further says nothing, and would press together what does


@dataclass(frozen=True, slots=True)
class Family:
    """One technique at several widths, on one engine."""

    name: str
    engine: str
    widths: tuple[tuple[int, Span], ...]  # bits of the weights, the fewest first; accuracy there


def accuracy_by_bits(title: str, about: str, families: Sequence[Family], fp32: float | None) -> str:
    """Return a line a technique over bits, with the range over calibration seeds, and fp32 as a level."""
    looks = [(MARKERS[k % len(MARKERS)], HUES[k % len(HUES)]) for k in range(len(families))]
    engines = {family.engine for family in families}
    items = flow(
        [
            (marker, hue, True, family.name if len(engines) == 1 else f"{family.name}, {family.engine}")
            for family, (marker, hue) in zip(families, looks, strict=True)
        ],
        [("_", INK, True, "fp32")] if fp32 is not None else [],
    )
    below = 40.0 + items.height
    height = heads_height(about) + PANEL + below
    with styled():
        figure = canvas(height, title, about)
        wide = (WIDTH - LEFT - RIGHT) / WIDTH
        axes = figure.add_axes((LEFT / WIDTH, below / height, wide, PANEL / height), facecolor="none")
        _axes(axes, families, fp32)
        fallen: Counter[int] = Counter()
        apart = min(APART, SPREAD / len(families))
        for number, (family, (marker, hue)) in enumerate(zip(families, looks, strict=True)):
            aside = apart * (number - (len(families) - 1) / 2)
            _line(axes, family, aside, marker, hue, fallen)
        legend(figure, height, items.height + 4.0, items)
        return drawn(figure)


def _line(axes: Axes, family: Family, aside: float, marker: str, hue: str, fallen: Counter[int]) -> None:
    """Draw one family; what fell below the floor stands on it, its value above those that fell before it."""
    floor = axes.get_ylim()[0]
    axes.plot(
        [bits + aside for bits, _ in family.widths], [span.value for _, span in family.widths],
        color=hue, lw=1.2, zorder=3,
    )  # fmt: skip
    for bits, span in family.widths:
        x, y = bits + aside, max(span.value, floor)
        axes.plot([x], [y], marker=marker, color=hue, ms=5.5, clip_on=False, zorder=4)
        axes.plot([x, x], [span.low, span.high], color=hue, lw=1.0, zorder=2)
        if span.value < floor:
            axes.annotate(
                text(span.value, "share"), (bits, floor), (0.0, 7.0 + 11.0 * fallen[bits]), size=8.5,
                color=hue, textcoords="offset points", ha="center",
            )  # fmt: skip
            fallen[bits] += 1


def _axes(axes: Axes, families: Sequence[Family], fp32: float | None) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    plain_axes(axes)
    widths = sorted({bits for family in families for bits, _ in family.widths})
    spans = [span for family in families for _, span in family.widths]
    high = max([fp32 or 0.0, *(span.high for span in spans)])
    low = max(min(span.low for span in spans), high - DEEP)
    spare = max(0.05 * (high - low), 0.002)
    axes.set(xlim=(widths[0] - 0.4, widths[-1] + 0.4), ylim=(low - spare, high + spare))
    axes.set_xticks(widths, labels=[str(bits) for bits in widths])
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    digits = 1 if high - low < 0.04 else 0
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.{digits}f} %"))
    axes.grid(axis="y", color=RULE, lw=0.6)
    if fp32 is not None:
        axes.axhline(fp32, color=INK, lw=1.0, zorder=1)
    better = "\N{LEFTWARDS ARROW} smaller"
    axes.set_xlabel(f"bits of a weight ({better})", color=SOFT, size=SMALL, labelpad=3)
    axes.set_ylabel("accuracy (better \N{RIGHTWARDS ARROW})", color=SOFT, size=SMALL, labelpad=3)
