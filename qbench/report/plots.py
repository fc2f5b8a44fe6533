"""Accuracy against what it costs: rows to a scatter plot with intervals and the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qbench.report.drawing import (
    SMALL,
    WIDTH,
    Legend,
    Look,
    canvas,
    drawn,
    flow,
    heads_height,
    legend,
    log_ticks,
    plain_axes,
    styled,
)
from qbench.report.labels import Box, Wanted, place
from qbench.report.pareto import Point, Span, Standing, staircase
from qbench.report.svg import FAINT, INK, PAPER, RULE, SOFT
from qbench.units import Unit, text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEFT, RIGHT = 52.0, 10.0  # margins in points
PANEL = 258.0  # height of the frame
BELOW_BEST = 0.03  # accuracy this far below the best stands on the floor, with its value: three times the
# limit of a recommendation, or as far as the intervals reach
NEXT_TO = 14.0  # points of one technique so close to each other, in points of print, share a label
CROWD = 24  # points: beyond, names hide what they name


@dataclass(frozen=True, slots=True)
class Dot:
    """One cell in a scatter plot."""

    technique: str
    engine: str
    x: Span
    y: Span
    standing: Standing


@dataclass(frozen=True, slots=True)
class Scale:
    """What an axis shows."""

    words: str
    unit: Unit
    more_is_better: bool = False


def scatter(title: str, about: str, dots: Sequence[Dot], x: Scale, y: Scale, look: Look) -> str:
    """Return accuracy against a cost: intervals, the front, a shape an engine and a colour a technique."""
    items = _legend_items(dots, look)
    below = 40.0 + items.height
    height = heads_height(about) + PANEL + below
    with styled():
        figure = canvas(height, title, about)
        wide = (WIDTH - LEFT - RIGHT) / WIDTH
        axes = figure.add_axes((LEFT / WIDTH, below / height, wide, PANEL / height), facecolor="none")
        floor = _limits(axes, dots)
        _axis(axes, x, y)
        _front(axes, dots, x)
        for dot in sorted(dots, key=lambda dot: ("behind", "near", "front").index(dot.standing)):
            _dot(axes, dot, look, floor)
        _label(axes, dots, look, floor)
        legend(figure, height, items.height + 4.0, items)
        return drawn(figure)


def _limits(axes: Axes, dots: Sequence[Dot]) -> float:
    """Set both axes; return the accuracy below which a point stands on the floor, with its value."""
    best = max(dot.y.value for dot in dots)
    reach = max(BELOW_BEST, *(dot.y.high - dot.y.value for dot in dots))
    shown = [dot for dot in dots if dot.y.value >= best - reach]  # never empty: the best is one
    low = max(min(dot.y.low for dot in shown), best - 1.25 * reach)
    high = max(dot.y.high for dot in shown)
    spare = max(0.06 * (high - low), 0.002)
    floor = low - spare  # the axis lies a little lower, so that its figures stay readable
    left, right = min(dot.x.low for dot in dots), max(dot.x.high for dot in dots)
    room = (right / left) ** 0.09 if right > left * 1.2 else 1.15
    axes.set(xscale="log", xlim=(left / room, right * room), ylim=(floor - spare, high + spare))
    return floor


def _axis(axes: Axes, x: Scale, y: Scale) -> None:
    plain_axes(axes)
    log_ticks(axes, x.unit)
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    digits = 1 if axes.get_ylim()[1] - axes.get_ylim()[0] < 0.04 else 0
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.{digits}f} %"))
    axes.grid(axis="both", color=RULE, lw=0.6, clip_on=False)
    better = "better \N{RIGHTWARDS ARROW}" if x.more_is_better else "\N{LEFTWARDS ARROW} better"
    axes.set_xlabel(f"{x.words} ({better})", color=SOFT, size=SMALL, labelpad=3)
    axes.set_ylabel(f"{y.words} (better \N{RIGHTWARDS ARROW})", color=SOFT, size=SMALL, labelpad=3)


def _front(axes: Axes, dots: Sequence[Dot], x: Scale) -> None:
    points = [Point(dot.x.turned() if x.more_is_better else dot.x, dot.y) for dot in dots]
    corners = staircase(points)
    costs = [-cost if x.more_is_better else cost for cost, _ in corners]
    low, far = axes.get_ylim()[0], axes.get_xlim()[0 if x.more_is_better else 1]
    gains = [max(gain, low) for _, gain in corners]
    xs, ys = [costs[0], *costs, far], [low, *gains, gains[-1]]
    axes.plot(xs, ys, color=SOFT, lw=1.1, ls=(0, (4, 3)), clip_on=False, zorder=1.5)


def _dot(axes: Axes, dot: Dot, look: Look, floor: float) -> None:
    hue = look.hue(dot.technique)
    y, off = _shown_y(dot, floor)
    faint = dot.standing == "behind"
    line: dict[str, Any] = {"color": hue, "lw": 1.0, "alpha": 0.35 if faint else 0.6, "clip_on": False}
    axes.plot([dot.x.low, dot.x.high], [y, y], zorder=2, **line)
    if not off:
        bottom = max(dot.y.low, axes.get_ylim()[0])
        axes.plot([dot.x.value] * 2, [bottom, dot.y.high], zorder=2, **line)
    axes.plot(
        [dot.x.value], [y], look.marker(dot.engine), ms=4.5 if faint else 7, mew=1.3,
        mec=hue, mfc=PAPER if dot.standing == "near" else hue, alpha=0.55 if faint else 1,
        clip_on=False, zorder={"front": 5, "near": 4, "behind": 3}[dot.standing],
    )  # fmt: skip


def _shown_y(dot: Dot, floor: float) -> tuple[float, bool]:
    return (floor, True) if dot.y.value < floor else (dot.y.value, False)


def _label(axes: Axes, dots: Sequence[Dot], look: Look, floor: float) -> None:
    """Write each technique's name beside its point; where there is no room, its number in the legend.

    In a crowd only the front is named: forty names would hide what they name.
    """
    order = sorted(dots, key=lambda dot: ("front", "near", "behind").index(dot.standing))
    told = [axes.transData.transform((dot.x.value, _shown_y(dot, floor)[0])) for dot in order]
    order, at = _named_once(order, [(float(x), float(y)) for x, y in told])
    crowd = len(order) > CROWD
    wanted = []
    for dot, (x, y) in zip(order, at, strict=True):
        low = f" {text(dot.y.value, 'share')}" if _shown_y(dot, floor)[1] else ""
        number = str(look.techniques[dot.technique])
        where = f", {dot.engine}" if dot.standing == "front" else ""
        short = number + (low and ":" + low)
        name = short if crowd and dot.standing != "front" else dot.technique + where + low
        wanted.append(Wanted(x, y, 4.5, name, short))
    box = axes.bbox
    frame = Box(box.x0 + 1, box.y0 + 1, box.width + RIGHT - 2, box.height + 8)
    back = axes.transData.inverted()
    for dot, label, (x, y) in zip(order, place(wanted, frame, 8.5), at, strict=True):
        if not label.words:
            continue
        middle = (label.box.left + label.box.width / 2, label.box.bottom + label.box.height / 2)
        if label.leader:
            ends = back.transform([(x, y), middle])
            axes.plot(ends[:, 0], ends[:, 1], color=SOFT, lw=0.6, alpha=0.7, clip_on=False, zorder=2)
        x_data, y_data = back.transform(middle)
        axes.text(
            x_data, y_data, label.words, ha="center", va="center_baseline", size=8.5,
            color=INK if dot.standing != "behind" else SOFT, zorder=6,
            style="italic" if dot.technique in look.floats else "normal",
        )  # fmt: skip


def _named_once(
    dots: list[Dot], at: list[tuple[float, float]]
) -> tuple[list[Dot], list[tuple[float, float]]]:
    """Leave out the points that lie beside an earlier one of the same technique: one label tells both."""
    kept: list[tuple[Dot, tuple[float, float]]] = []
    for dot, (x, y) in zip(dots, at, strict=True):
        if not any(
            other.technique == dot.technique and abs(x - u) < NEXT_TO and abs(y - v) < NEXT_TO
            for other, (u, v) in kept
        ):
            kept.append((dot, (x, y)))
    return [dot for dot, _ in kept], [place for _, place in kept]


def _legend_items(dots: Sequence[Dot], look: Look) -> Legend:
    engines = dict.fromkeys(sorted((dot.engine for dot in dots), key=lambda e: look.engines[e]))
    techniques = dict.fromkeys(sorted((d.technique for d in dots), key=lambda t: look.techniques[t]))
    kinds = [("o", INK, True, "on the front"), ("o", INK, False, "cannot be told from it")]
    if any(dot.standing == "behind" for dot in dots):
        kinds.append(("o", FAINT, True, "behind it"))
    return flow(
        [(look.marker(name), INK, False, name) for name in engines],
        [("s", look.hue(name), True, f"{look.techniques[name]} {name}") for name in techniques],
        kinds,
    )
