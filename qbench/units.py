"""Numbers to text and text to numbers: the only module that knows prefixes.

Values come in raw SI units (seconds, bytes, joules; shares and differences as fractions of 1) and leave
as text with three significant digits. Nothing here stores or compares numbers.
"""

from __future__ import annotations

import math
import re
from typing import Literal

from qbench.errors import BadParameter

Unit = Literal[
    "s", "B", "J", "W", "nat", "dB", "1", "1/s", "Hz", "°C", "USD", "g", "ratio", "share", "points", "width",
]  # fmt: skip
# 1/s: so many a second; ratio: with a times sign; share: a fraction of 1 as per cent; points: a signed
# difference of shares; width: the size of such a difference, without a sign

MINUS = "\N{MINUS SIGN}"
PREFIXES = {-3: "n", -2: "\N{MICRO SIGN}", -1: "m", 0: "", 1: "k", 2: "M", 3: "G", 4: "T"}
SPANS = {"s": (-3, 0), "B": (0, 4), "J": (-2, 3), "Hz": (0, 3), "W": (-2, 3)}  # lowest and highest prefix
SECONDS = {"ms": 1e-3, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
BYTES = (
    {"b": 1}
    | {f"{p}b": 1000**i for i, p in enumerate("kmgt", 1)}
    | {f"{p}ib": 1024**i for i, p in enumerate("kmgt", 1)}
)


def text(value: float, unit: Unit) -> str:
    """Return a value as a reader sees it: `1.23 ms`, `11.4 MB`, `2.50×`, `93.4 %`, `+0.31 pp`.

    Args:
        value: in SI units; shares and points are fractions of 1.
        unit: what the number is.

    Raises:
        ValueError: the value is NaN or infinite; absent is a value with a reason, never a number.
    """
    if not math.isfinite(value):
        raise ValueError(f"{value} is no number to show: give the reason why it is absent")
    if unit == "points":
        return _signed(f"{100 * value:+.2f}") + " pp"
    if unit == "width":
        return f"{100 * value:.2f} pp"
    if unit == "share":
        return _signed(f"{100 * value:.1f}") + " %"
    if unit == "ratio":
        return _signed(_three(value)) + "\N{MULTIPLICATION SIGN}"
    if unit == "1":
        return _signed(f"{value:,.0f}" if value == int(value) else _three(value))
    if unit == "1/s":
        return _signed(_three(value)) + "/s"
    if unit in SPANS:
        return _prefixed(value, unit)
    return f"{_signed(_three(value))} {unit}"


def span(low: float, high: float, unit: Unit) -> str:
    """Return two ends of an interval, the unit once where both share it: `1.20–1.40 ms`."""
    first, last = text(low, unit), text(high, unit)
    tails = {"ratio": "\N{MULTIPLICATION SIGN}", "1/s": "/s"}
    tail = tails.get(unit, last[last.rfind(" ") :] if " " in last else "")
    between = " to " if low < 0 or unit == "points" else "\N{EN DASH}"  # a dash beside a sign reads badly
    return f"{first.removesuffix(tail)}{between}{last}"


def duration(seconds: float) -> str:
    """Return a long time in words that add up: `3 min 20 s`, `2 h 05 min`; a short one as `text` does."""
    if seconds < 120:
        return text(seconds, "s")
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def parse_duration(words: str, what: str = "the duration") -> float:
    """Return seconds for `90s`, `20m`, `1h30m`, `1.5 h`.

    Raises:
        BadParameter: no number with a unit, or not more than zero.
    """
    return _parsed(words, what, SECONDS, "90s, 20m or 1h30m")


def parse_size(words: str, what: str = "the size") -> int:
    """Return bytes for `4GiB`, `500 MB`, `1.5GB`; `kB` is 1,000 bytes and `KiB` is 1,024.

    Raises:
        BadParameter: no number with a unit, or not more than zero.
    """
    return round(_parsed(words, what, BYTES, "4GiB, 500MB or 64KiB"))


def _parsed(words: str, what: str, units: dict[str, float] | dict[str, int], such_as: str) -> float:
    fix = f"write a number with its unit, such as {such_as}"
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)", words)
    if not parts or re.sub(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)|\s", "", words):
        raise BadParameter(f"{what} is {words!r}, which is no number with a unit", fix=fix)
    total = 0.0
    for number, unit in parts:
        if unit.lower() not in units:
            raise BadParameter(
                f"{what} is {words!r}, and {unit!r} is no unit of it; known: {', '.join(units)}", fix=fix
            )
        total += float(number) * units[unit.lower()]
    if total <= 0:
        raise BadParameter(f"{what} is {words!r}, which is nothing", fix=f"write more, such as {such_as}")
    return total


def _prefixed(value: float, unit: Unit) -> str:
    if value == 0:
        return f"0 {unit}"
    if unit == "s" and abs(value) >= 120:
        return MINUS * (value < 0) + duration(abs(value))
    lowest, highest = SPANS[unit]
    rounded = float(f"{value:.2e}")  # first: 999.96 becomes 1,000 and takes the next prefix
    step = min(max(math.floor(math.log10(abs(rounded)) / 3), lowest), highest)
    scaled = rounded / 1000.0**step
    whole = unit == "B" and step == 0  # there is no tenth of a byte to show
    return f"{_signed(f'{value:.0f}' if whole else _three(scaled))} {PREFIXES[step]}{unit}"


def _three(value: float) -> str:
    """Write three significant digits, without an exponent where a reader can do without."""
    if value == 0:
        return "0"
    rounded = float(f"{value:.2e}")
    if abs(rounded) < 1e-4:
        return f"{rounded:.2e}"
    return f"{rounded:,.{max(0, 2 - math.floor(math.log10(abs(rounded))))}f}"


def _signed(digits: str) -> str:
    """Use a real minus sign, and none at all on a number that rounds to nothing."""
    bare = digits.lstrip("+-")
    if not bare.strip("0.,"):
        return bare
    return MINUS + bare if digits.startswith("-") else digits
