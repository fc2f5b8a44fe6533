"""Witnesses of a noisy minute: what the operating system says of a window, for free."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path

from qbench.records import Measurement


@dataclass(frozen=True, slots=True)
class Witness:
    """The counters at one moment; a window's figures are the differences between two."""

    involuntary_switches: int
    steal_s: float | None

    @staticmethod
    def now() -> Witness:
        """Read the counters."""
        return Witness(resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw, _steal_s())

    def since(self, start: Witness) -> tuple[Measurement, ...]:
        """Return what happened between `start` and this moment."""
        switches = self.involuntary_switches - start.involuntary_switches
        found = [Measurement("involuntary_switches", (switches,))]
        if self.steal_s is not None and start.steal_s is not None:
            found.append(Measurement("steal", (max(0.0, self.steal_s - start.steal_s),)))
        found.append(Measurement("load_average", (os.getloadavg()[0],)))
        return tuple(found)


def _steal_s() -> float | None:
    """Return the processor seconds that the hypervisor gave to others since boot, all cores added up."""
    try:
        fields = Path("/proc/stat").read_text().splitlines()[0].split()
        return int(fields[8]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return None
