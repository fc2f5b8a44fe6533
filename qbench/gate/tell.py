"""What A/A runs showed, as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qbench.gate.noise import FEWEST, Floor
from qbench.gate.power import MEAN_LIMIT, Found
from qbench.report.limits import Limits, ordered

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def tell_floors(floors: Sequence[Floor], told: Console) -> None:
    """Print the floor of every metric, or why there is none."""
    table = _table("metric", "floor", "largest seen", "pairs")
    for one in floors:
        if not one.differences:
            table.add_row(one.metric, "not measured in this run", "", "0")
        elif one.floor is None:
            table.add_row(one.metric, f"needs {FEWEST} pairs", _more(one.largest), str(one.differences))
        else:
            table.add_row(one.metric, _more(one.floor), _more(one.largest), str(one.differences))
    told.print("\n[bold]What two copies of one file differ by here[/]")
    told.print(table)
    told.print(
        "floor: the next pair of unchanged code stays below it with 99 % confidence. A slow-down must be "
        "larger to be told from noise.",
        highlight=False,
    )


def tell_power(found: Sequence[Found], told: Console) -> None:
    """Print what was found of each slow-down, and how often nothing was cried over."""
    for kind in dict.fromkeys((one.suite, one.profile, one.rounds) for one in found):
        rows = [one for one in found if (one.suite, one.profile, one.rounds) == kind]
        table = _table(
            "put in", "measured", "found", "95 % bounds", "unclear", f"mean > {_per_cent(MEAN_LIMIT - 1, 0)}"
        )
        for one in rows:
            if one.slowed:
                hits, by_mean, of = one.detected, one.by_mean, one.trials
            else:
                hits, by_mean, of = one.nights, one.nights_by_mean, one.sessions
            low, high = one.bounds
            table.add_row(
                _per_cent(one.slowed, 0) if one.slowed else "nothing",
                f"{100 * (one.measured - 1):+.2f} %",
                f"{hits} of {of}",
                f"{_per_cent(low, 1)} to {_per_cent(high, 1)}",
                f"{one.not_run} not run" if one.not_run else str(one.unclear),
                f"{by_mean} of {of}",
            )
        suite, profile, rounds = kind
        sessions = max(one.sessions for one in rows)
        told.print(
            f"\n[bold]{suite}[/]: {sessions} sessions of {rounds} rounds, profile {profile}", highlight=False
        )
        told.print(table)
        if starved := max(one.not_run for one in rows):
            told.print(
                f"{starved} comparisons not run: {rounds} rounds are too few for the test to fail one of "
                "them at the level that the others leave it",
                highlight=False,
            )
    told.print(
        "measured: the median of the estimates. Where nothing was put in, what is found are nights with a "
        "false alarm. unclear: neither failed nor passed. mean > 5 %: the usual rule, on the same data. The "
        "bounds count sessions, not rounds: those of one session were slow or quick together.",
        highlight=False,
    )


def _more(ratio: float | None) -> str:
    return "" if ratio is None else _per_cent(ratio - 1, 2)


def _per_cent(share: float, digits: int) -> str:
    return f"{100 * share:.{digits}f} %"


def _table(*heads: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for head in heads:
        table.add_column(head, overflow="fold")
    return table


def tell_limits(limits: Limits, told: Console) -> None:
    """Print what every engine sustained in every number format, and the rate of copying."""
    table = _table("engine", "format", "products", "over fp32", "by")
    floats = {peak.engine: peak.macs_per_s for peak in limits.peaks if peak.format == "fp32"}
    for peak in ordered(limits.peaks):
        over = f"{peak.macs_per_s / floats[peak.engine]:.2f}x" if peak.engine in floats else "no fp32"
        rate = f"{peak.macs_per_s / 1e9:,.3g} G/s"
        table.add_row(peak.engine, peak.format, rate, over, peak.technique)
    told.print("\n[bold]Multiply-accumulates a second that this device sustains[/]")
    told.print(table)
    if limits.copy_bytes_per_s:
        rate = f"{limits.copy_bytes_per_s / 1e9:.3g} GB/s"
        told.print(f"bytes read and written while copying: {rate}", highlight=False)
    told.print(
        "over fp32: of the same engine; by: the technique whose file was timed. Pages of this host now say "
        "what holds a cell back: `qbench report`.",
        highlight=False,
    )
