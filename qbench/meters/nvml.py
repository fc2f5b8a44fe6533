"""NVIDIA devices: the driver's total-energy counter, or its sampled power where there is no counter.

Source:
    NVML API reference: nvmlDeviceGetTotalEnergyConsumption (millijoules since the driver was loaded, Volta
    and newer), nvmlDeviceGetPowerUsage (milliwatts). Yang et al. 2023, "Part-time Power Measurements",
    arXiv:2312.02741: readings change every 20 to 100 ms, and some devices' power sees only a part of it.
"""

from __future__ import annotations

import os
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from qbench.errors import NotAvailable
from qbench.meters.base import METERS, EnergyMeter, Provenance

DRIVER = Path("/dev/nvidiactl")
FIX = "look at `nvidia-smi -q -d POWER`: it must show a power draw"


def _library() -> Any:
    import pynvml

    pynvml.nvmlInit()
    return pynvml


def _absent(device: str) -> str | None:
    if not device.startswith("cuda"):
        return "it measures NVIDIA devices"
    if not DRIVER.exists():
        return f"there is no {DRIVER}"
    return None if find_spec("pynvml") else "the package nvidia-ml-py is not installed"


def _handle(nvml: Any, device: str) -> Any:
    """Return the board that CUDA calls by this number.

    The driver counts boards along the bus and knows nothing of CUDA_VISIBLE_DEVICES; CUDA counts those that
    it may see, the fastest first unless CUDA_DEVICE_ORDER=PCI_BUS_ID (CUDA C++ programming guide,
    environment variables).

    Raises:
        NotAvailable: which board it is cannot be told.
    """
    index = int(device.partition(":")[2] or 0)
    seen = [word.strip() for word in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if word.strip()]
    named = seen[index] if index < len(seen) else str(index)
    if not named.isdigit():
        return nvml.nvmlDeviceGetHandleByUUID(named)
    boards = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
    alike = len({nvml.nvmlDeviceGetName(board) for board in boards}) == 1
    if not int(named) < len(boards):
        raise NotAvailable(f"the driver shows {len(boards)} boards, and none is number {named}", fix=FIX)
    if not alike and os.environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        raise NotAvailable(
            f"{len(boards)} boards of several kinds are here, and which one CUDA calls {named} is not told",
            fix="set CUDA_DEVICE_ORDER=PCI_BUS_ID",
        )
    return boards[int(named)]


@METERS.register("nvml")
class NvmlEnergy(EnergyMeter):
    """The driver's counter of the whole board."""

    about: ClassVar[str] = "the NVIDIA driver's total-energy counter, whole board"
    provenance: Provenance = "hardware counter"
    period_s = 0.1

    def __init__(self, nvml: Any, device: str) -> None:
        """Ask once: an older device has no such counter."""
        self.domain = "board"
        self._nvml, self._device = nvml, _handle(nvml, device)
        self.read()

    @classmethod
    def absent(cls, device: str) -> str | None:
        """Return why there is no driver to ask."""
        return _absent(device)

    @classmethod
    def open(cls, device: str) -> EnergyMeter:
        """Open the counter; where the device has none, its power is sampled instead.

        Raises:
            NotAvailable: neither answers.
        """
        nvml = _library()
        try:
            return cls(nvml, device)
        except NotAvailable:
            return NvmlPower(nvml, device)

    def read(self) -> tuple[float, float]:
        """Return the joules since the driver was loaded; see EnergyMeter.read."""
        try:
            return time.monotonic(), self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._device) * 1e-3
        except self._nvml.NVMLError as error:
            raise NotAvailable(f"the driver does not tell the energy: {error}", fix=FIX) from error


class NvmlPower(NvmlEnergy):
    """The driver's power, sampled in a thread and added up."""

    about: ClassVar[str] = "the NVIDIA driver's power reading, sampled and added up"
    provenance: Provenance = "sampled power"

    def __init__(self, nvml: Any, device: str) -> None:
        """Begin to sample, at half the period of the readings."""
        self.domain = "board"
        self._nvml, self._device = nvml, _handle(nvml, device)
        self._joules, self._problem = 0.0, ""
        self._last = (time.monotonic(), self._watts())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def read(self) -> tuple[float, float]:
        """Return the joules since sampling began; see EnergyMeter.read."""
        if self._problem:
            raise NotAvailable(f"the driver stopped telling the power: {self._problem}", fix=FIX)
        return time.monotonic(), self._joules

    def close(self) -> None:
        """End the sampling."""
        self._stop.set()
        self._thread.join(timeout=1)

    def _watts(self) -> float:
        try:
            return float(self._nvml.nvmlDeviceGetPowerUsage(self._device)) * 1e-3
        except self._nvml.NVMLError as error:
            raise NotAvailable(f"the driver does not tell the power: {error}", fix=FIX) from error

    def _sample(self) -> None:
        while not self._stop.wait(self.period_s / 2):
            try:
                now = (time.monotonic(), self._watts())
            except Exception as error:  # a thread that ended without a word would leave a counter that stands
                self._problem = error.problem if isinstance(error, NotAvailable) else repr(error)
                return
            self._joules += (now[0] - self._last[0]) * (now[1] + self._last[1]) / 2
            self._last = now
