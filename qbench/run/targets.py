"""Where cells can run: the hardware profiles that are here or attached, and why the others are not."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from qbench.backends.base import BACKENDS, Probe
from qbench.hardware import HardwareProfile, in_front, standing
from qbench.machine import machine
from qbench.run.choose import at
from qbench.run.probe import probe_all, probe_on


@dataclass(frozen=True, slots=True)
class Target:
    """A device in reach: its profile, what each engine there can do, and the commands that lead to it."""

    hardware: HardwareProfile
    probes: dict[str, Probe]
    prefix: tuple[str, ...] = ()  # in front of the worker; empty: this very machine
    counter: tuple[str, ...] = ()  # the same with every instruction counted; `{out}` is where the counts go

    @property
    def reached(self) -> Literal["native", "emulated"]:
        """Tell whether what runs there runs on silicon."""
        return "emulated" if self.hardware.emulated else "native"


def _identity(prefix: tuple[str, ...], told: str) -> str:
    """Return what changes when the device does: the manifest beside its command, or what was told of it."""
    manifest = Path(prefix[0]).parent / "device.json"
    return manifest.read_text() if manifest.is_file() else told


@dataclass(frozen=True, slots=True)
class Missing:
    """A hardware profile that is neither here nor attached, and why."""

    hardware: HardwareProfile
    reason: str


@dataclass(frozen=True, slots=True)
class Reached:
    """What `--hw` comes to on this machine."""

    targets: tuple[Target, ...]
    missing: tuple[Missing, ...] = field(default=())


def reach(hardware: list[HardwareProfile], backends: list[str]) -> Reached:
    """Ask what is here, emulated devices last; of `backends`, engines are probed where the device is.

    Raises:
        UnknownName: a profile names an engine that no plug-in registered.
    """
    here = machine()
    targets, missing = [], []
    for profile in hardware:
        for name in profile.backends:
            with at(f"hardware profile {profile.name}: backends"):
                BACKENDS[name]
        found = standing(profile, here)
        wanted = [name for name in backends if name in profile.backends]
        if found.kind == "missing":
            missing.append(Missing(profile, found.reason))
        elif profile.prefix:
            prefix = tuple(in_front(profile.prefix))
            probes = probe_on(prefix, wanted, _identity(prefix, found.reason))
            targets.append(Target(profile, probes, prefix, tuple(in_front(profile.counter))))
        else:
            targets.append(Target(profile, probe_all(wanted)))
    targets.sort(key=lambda target: target.reached == "emulated")  # stable: what has a speed comes first
    return Reached(tuple(targets), tuple(missing))
