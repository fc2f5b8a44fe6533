"""Apple silicon and Jetson boards, through zeus, which knows their sensors.

Source:
    zeus-ml 0.11, zeus.device.get_soc(): total energy in millijoules by subsystem; on a Jetson it adds up the
    board's INA3221 sensors every tenth of a second, on Apple silicon it reads IOReport's counters.
"""

from __future__ import annotations

import platform
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from qbench.errors import NotAvailable
from qbench.meters.base import METERS, EnergyMeter, Provenance

JETSON = Path("/etc/nv_tegra_release")
FIX = "pip install zeus-ml (on macOS: zeus-ml[apple])"


@METERS.register("zeus")
class Zeus(EnergyMeter):
    """The whole board of a Jetson, or processor, memory and accelerators of Apple silicon."""

    about: ClassVar[str] = "Apple silicon's and Jetson's own sensors, read by zeus"
    provenance: Provenance = "rail meter"
    period_s = 0.1

    def __init__(self, soc: Any) -> None:
        """Ask once, to see what the board tells."""
        self._soc = soc
        self.domain = "board" if hasattr(self._ask(), "total_energy_mj") else "package"
        if self.domain == "package":  # Apple silicon: counters of the processor's own
            self.provenance = "hardware counter"
        self.read()

    @classmethod
    def absent(cls, device: str) -> str | None:  # noqa: ARG003 - processor and accelerator share one board
        """Return that this is no such board, or that zeus is missing."""
        apple = sys.platform == "darwin" and platform.machine() == "arm64"
        if not (apple or JETSON.exists()):
            return "this is neither Apple silicon nor a Jetson"
        return None if find_spec("zeus") else f"zeus is not installed: {FIX}"

    @classmethod
    def open(cls, device: str) -> Zeus:  # noqa: ARG003
        """Open the board's sensors; see EnergyMeter.open."""
        try:
            from zeus.device import get_soc

            return cls(get_soc())
        except Exception as error:  # zeus raises errors of its own, and of the system's drivers
            raise NotAvailable(f"zeus cannot read this board: {error}", fix=FIX) from error

    def read(self) -> tuple[float, float]:
        """Return the joules since whenever; see EnergyMeter.read."""
        told = self._ask()
        total = getattr(told, "total_energy_mj", None)
        if total is None:
            parts = [getattr(told, f"{name}_mj", None) for name in ("cpu_total", "dram", "gpu", "ane")]
            total = sum(part for part in parts if part is not None) if parts[0] is not None else None
        if total is None:
            raise NotAvailable(
                "this board tells no total energy", fix="name a meter of your own, with --meter"
            )
        return time.monotonic(), float(total) * 1e-3

    def _ask(self) -> Any:
        try:
            return self._soc.get_total_energy_consumption()
        except Exception as error:
            raise NotAvailable(
                f"the board's sensors stopped answering: {error}", fix="measure again"
            ) from error
