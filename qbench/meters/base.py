"""What an energy meter is: a counter of joules, with where it counts and how far it can be trusted."""

from __future__ import annotations

import abc
from typing import ClassVar, Literal, get_args

from qbench.registry import Registry

METERS: Registry[type[EnergyMeter]] = Registry("meter", "qbench.meters")

Provenance = Literal["wall meter", "rail meter", "hardware counter", "sampled power"]
TRUST: tuple[Provenance, ...] = get_args(Provenance)  # best first


class EnergyMeter(abc.ABC):
    """An open meter. What it says is a running total of joules, read whenever somebody asks."""

    about: ClassVar[str]
    provenance: Provenance
    domain: str  # what it measures: package, dram, gpu, board, wall
    period_s: float  # how often its reading changes
    wraps_j: float | None = None  # where the total begins anew

    @classmethod
    @abc.abstractmethod
    def absent(cls, device: str) -> str | None:
        """Return why this meter cannot measure the device (`cpu`, `cuda`) here, or None where it can.

        Asked often and in any process: it imports nothing heavy and starts nothing.
        """

    @classmethod
    @abc.abstractmethod
    def open(cls, device: str) -> EnergyMeter:
        """Start it.

        Raises:
            NotAvailable: it does not answer, and why.
        """

    @abc.abstractmethod
    def read(self) -> tuple[float, float]:
        """Return seconds on the monotonic clock and joules since whenever.

        Raises:
            NotAvailable: it went away while it was read.
        """

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Let it go."""


def best_meter(device: str) -> type[EnergyMeter] | None:
    """Return the most trustworthy meter that can measure this device here, or None."""
    here = [METERS[name] for name in METERS if METERS[name].absent(device) is None]
    return min(here, key=lambda meter: TRUST.index(meter.provenance), default=None)


def why_unavailable(device: str = "cpu") -> str:
    """Return the reason that stands in the place of joules in a run that measures no energy."""
    meter = best_meter(device)
    if meter is not None:
        return f"not asked for: a {meter.provenance} is here; run with --energy, or --profile standard"
    reasons = [f"{name}: {reason}" for name in METERS if (reason := METERS[name].absent(device)) is not None]
    return "unavailable: no meter here measures this device (" + "; ".join(reasons) + ")"
