"""Witnesses of a noisy minute: what the operating system says of a window, for free."""

from __future__ import annotations

import os
import re
import resource
import time
from dataclasses import dataclass
from pathlib import Path

from qbench.records import Measurement

ROOT = Path("/")
SENSORS = ("k10temp", "zenpower", "coretemp", "cpu_thermal")  # drivers of processors' own sensors


@dataclass(frozen=True, slots=True)
class Witness:
    """The counters and sensors at one moment; a window's figures come from two of them.

    None: this system does not tell. What is not told is left out of the record, and never a 0.
    """

    involuntary_switches: int
    steal_s: float | None
    frequency_hz: float | None = None
    temperature_c: float | None = None
    waited_s: float | None = None  # of this process's threads, for a processor, added up since each began
    moment_s: float | None = None  # on a clock that only goes on

    @staticmethod
    def now(root: Path = ROOT) -> Witness:
        """Read them; `root` is where the system's files lie."""
        switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        return Witness(
            switches,
            _steal_s(root),
            _frequency_hz(root),
            _temperature_c(root),
            _waited_s(root),
            time.monotonic(),
        )

    def since(self, start: Witness) -> tuple[Measurement, ...]:
        """Return what happened between `start` and this moment, and the sensors before and after."""
        found = [Measurement("load_average", (os.getloadavg()[0],))]
        switches = self.involuntary_switches - start.involuntary_switches
        if switches >= 0:
            found.append(Measurement("involuntary_switches", (switches,)))
        for metric, then, now in (
            ("steal", start.steal_s, self.steal_s),
            ("processor_wait", start.waited_s, self.waited_s),
            ("watched", start.moment_s, self.moment_s),
        ):
            if then is not None and now is not None and now >= then:
                found.append(Measurement(metric, (now - then,)))
        for metric, before, after in (
            ("cpu_frequency", start.frequency_hz, self.frequency_hz),
            ("temperature", start.temperature_c, self.temperature_c),
        ):
            if before is not None and after is not None:
                found.append(Measurement(metric, (before, after)))
        return tuple(found)


def _steal_s(root: Path) -> float | None:
    """Return the processor seconds that the hypervisor gave to others since boot, all cores added up."""
    fields = _text(root / "proc/stat").partition("\n")[0].split()
    return int(fields[8]) / os.sysconf("SC_CLK_TCK") if len(fields) > 8 else None


def _waited_s(root: Path) -> float | None:
    """Return how long this process's threads were ready to run and had no processor, all added up.

    Source:
        Linux, Documentation/scheduler/sched-stats.rst: the second number of /proc/PID/schedstat.
    """
    told = [_text(path).split() for path in root.glob("proc/self/task/[0-9]*/schedstat")]
    waits = [int(fields[1]) for fields in told if len(fields) == 3]
    return sum(waits) / 1e9 if waits else None


def _frequency_hz(root: Path) -> float | None:
    """Return the mean frequency of the cores now: as the governor says, else as the processor's list does."""
    cores = root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq")
    governed = [_text(path) for path in cores]
    found = [float(text) * 1e3 for text in governed if text.strip().isdigit()]
    if not found:
        listed = re.findall(r"^cpu MHz\s*:\s*([\d.]+)", _text(root / "proc/cpuinfo"), re.MULTILINE)
        found = [float(text) * 1e6 for text in listed]
    return sum(found) / len(found) if found else None


def _temperature_c(root: Path) -> float | None:
    """Return the hottest sensor that says it is a processor's."""
    hottest = None
    for zone in root.glob("sys/class/thermal/thermal_zone*"):
        kind, value = _text(zone / "type").strip(), _text(zone / "temp").strip()
        if re.search(r"x86_pkg|cpu|soc|core", kind, re.IGNORECASE) and re.fullmatch(r"-?\d+", value):
            hottest = max(int(value) / 1000, hottest if hottest is not None else -300.0)
    for sensor in root.glob("sys/class/hwmon/hwmon*"):  # AMD's processors have no thermal zone
        if _text(sensor / "name").strip() in SENSORS:
            values = [_text(path).strip() for path in sensor.glob("temp[0-9]*_input")]
            told = [int(value) / 1000 for value in values if re.fullmatch(r"-?\d+", value)]
            hottest = max([*told, *([hottest] if hottest is not None else [])], default=None)
    return hottest


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
