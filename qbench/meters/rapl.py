"""Intel and AMD processors' own energy counters, as Linux shows them under /sys/class/powercap.

Source:
    Linux kernel documentation, power/powercap/powercap.rst: energy_uj counts microjoules and begins anew
    after max_energy_range_uj. Intel SDM vol. 3B, 15.10 (RAPL): the counters move about every millisecond.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import ClassVar

from qbench.errors import NotAvailable
from qbench.meters.base import METERS, EnergyMeter, Provenance

POWERCAP = Path("/sys/class/powercap")
READ_FIX = "let this user read it: chmod a+r {}, as root, until the next boot"


@METERS.register("rapl")
class Rapl(EnergyMeter):
    """The packages of all sockets, added up."""

    about: ClassVar[str] = "the processor's energy counters (powercap): all packages added up"
    provenance: Provenance = "hardware counter"
    period_s = 0.001
    root: ClassVar[Path] = POWERCAP

    def __init__(self, packages: list[Path]) -> None:
        """Remember the counters; each wraps for itself, so each is unwrapped for itself."""
        self.domain = "package"
        self._packages = packages
        self._ranges = [int((path / "max_energy_range_uj").read_text()) for path in packages]
        self._last = [self._value(path) for path in packages]
        self._total_uj = 0

    @classmethod
    def absent(cls, device: str) -> str | None:
        """Return why the counters are not to be had."""
        if not device.startswith("cpu"):
            return "it measures processors"
        packages = cls._found()
        if not packages:
            return f"nothing under {cls.root}"
        for path in packages:
            try:
                (path / "energy_uj").read_text()
            except OSError as error:
                file = path / "energy_uj"
                return f"{file}: {error.strerror or error}; {READ_FIX.format(file)}"
        return None

    @classmethod
    def open(cls, device: str) -> Rapl:
        """Find the packages; see EnergyMeter.open."""
        if (reason := cls.absent(device)) is not None:
            raise NotAvailable(f"no energy counter: {reason}", fix="run as a user that may read it")
        return cls(cls._found())

    @classmethod
    def _found(cls) -> list[Path]:
        """Return the packages' folders: their parts (core, uncore) are counted in them.

        Client processors show a package twice, as `intel-rapl:0` and `intel-rapl-mmio:0`: it counts once.
        """
        found: dict[str, Path] = {}
        for path in sorted(cls.root.glob("*:*"), key=lambda path: ("mmio" in path.name, path.name)):
            try:
                name = (path / "name").read_text().strip()
            except OSError:
                continue
            if name.startswith("package"):
                found.setdefault(name, path)
        return list(found.values())

    def read(self) -> tuple[float, float]:
        """Return the joules since it was opened. A counter that steps back has wrapped, or it is broken.

        Raises:
            NotAvailable: a counter can no longer be read, or went back from the first half of its range.
        """
        for i, path in enumerate(self._packages):
            now = self._value(path)
            step = now - self._last[i]
            if step < 0:
                if not now < self._ranges[i] / 2 <= self._last[i]:
                    raise NotAvailable(
                        f"{path.name} went back from {self._last[i]} to {now} microjoules",
                        fix="measure again; if it does so again, leave energy out on this machine",
                    )
                step += self._ranges[i]
            self._total_uj += step
            self._last[i] = now
        return time.monotonic(), self._total_uj * 1e-6

    def _value(self, path: Path) -> int:
        try:
            return int((path / "energy_uj").read_text())
        except (OSError, ValueError) as error:
            raise NotAvailable(f"{path.name} can no longer be read: {error}", fix="measure again") from error
