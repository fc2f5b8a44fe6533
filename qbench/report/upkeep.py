"""What energy means in money, carbon and battery life: from metered joules only, with sourced factors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from qbench.errors import QbenchError
from qbench.hardware import load_profiles
from qbench.report.figures import Absent, Figure, Value
from qbench.report.join import Joined
from qbench.report.ratio import seconds_per_example
from qbench.units import Unit

J_PER_KWH = 3.6e6
MILLION = 1e6


@dataclass(frozen=True, slots=True)
class Factor:
    """What one kilowatt-hour costs or emits, and who says so."""

    per_kwh: float
    unit: Unit
    source: str

    @property
    def per_million_joules(self) -> float:
        """Return what a million joules cost or emit: what a million examples of one joule do."""
        return self.per_kwh * MILLION / J_PER_KWH


PRICE = Factor(
    0.1271,
    "USD",
    "U.S. Energy Information Administration, average retail price, United States, April 2024",
)
CARBON = Factor(
    436.0,
    "g",
    "Ember, Global Electricity Review 2023: world average of 2022, grams of CO2 equivalent",
)


def upkeep(entry: Joined, energy: Value) -> dict[str, Value]:
    """Return cost and carbon of a million examples, and examples a battery charge."""
    return {
        "cost_per_million": _scaled(energy, PRICE.unit, lambda joules: joules * PRICE.per_million_joules),
        "carbon_per_million": _scaled(energy, CARBON.unit, lambda joules: joules * CARBON.per_million_joules),
        "examples_per_charge": _per_charge(entry, energy),
    }


def estimated(entry: Joined, own: Mapping[str, Value]) -> Value:
    """Return the profile's power times the time of an example: latency in joules, and no measurement.

    It is shown among a cell's details under its own name; nothing is ranked, plotted or derived from it.
    """
    busy = seconds_per_example(entry, own)
    if isinstance(busy, Absent):
        return busy
    power = _fact(entry, "power")
    if isinstance(power, Absent):
        return power
    speed = own[entry.timed]
    lines = speed.lines if isinstance(speed, Figure) else ()
    return Figure(power * busy, "J", 1, "estimate from a power figure", lines, "single")


def _per_charge(entry: Joined, energy: Value) -> Value:
    if isinstance(energy, Absent):
        return energy
    battery = _fact(entry, "battery")
    if isinstance(battery, Absent):
        return battery
    return _scaled(energy, "1", lambda joules: battery / joules)


def _fact(entry: Joined, what: str) -> float | Absent:
    """Return a figure that the cell's hardware profile names."""
    name = entry.case.deployment.hardware if entry.case else ""
    try:
        facts = load_profiles(name)[0].fact if name else []
    except (QbenchError, IndexError):
        return Absent(f"there is no hardware profile {name!r} here to name a {what}")
    found = next((fact.value for fact in facts if fact.what == what), None)
    return Absent(f"this hardware profile names no {what}") if found is None else found


def _scaled(energy: Value, unit: Unit, turn: Callable[[float], float]) -> Value:
    """Return the figure in other units; its interval is turned with it, end by end."""
    if isinstance(energy, Absent):
        return energy
    if energy.value <= 0:
        return Absent("the meter saw no energy")
    ends: list[float] = sorted(turn(end) for end in (energy.low, energy.high) if end is not None and end > 0)
    low, high = (ends[0], ends[-1]) if len(ends) > 1 else (None, None)
    turned = replace(energy, value=turn(energy.value), unit=unit, low=low, high=high)
    return turned if low is not None else replace(turned, interval="single")
