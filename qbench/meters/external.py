"""A meter of your own: a command that prints a time and watts, line by line, as bench and USB meters can.

    QBENCH_METER='python my_meter.py' qbench run --energy

A line is `<seconds> <watts>`, written out at once (flushed). The seconds may begin anywhere, and must run
as fast as this machine's; anything after the two is passed over. What comes between two lines is the mean of
both (the trapezoidal rule). The command is split as a shell would, started once a window, killed after it.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import threading
import time
from statistics import median
from typing import ClassVar

from qbench.errors import NotAvailable
from qbench.meters.base import METERS, EnergyMeter, Provenance

VARIABLE = "QBENCH_METER"
FIRST_S = 10.0  # to print its first lines
FIRST_LINES = 3  # from whose spacing its period is known
CLOCK_S, CLOCK_SHARE = 0.25, 0.02  # what its clock may differ from ours by: lines come late, quartz drifts
FIX = "run the command by hand: it must print lines of seconds and watts, such as `12.50 3.41`, and go on"


@METERS.register("external")
class External(EnergyMeter):
    """The command's watts, integrated in a thread of our own."""

    about: ClassVar[str] = (
        f"a command that prints seconds and watts, named by {VARIABLE}: a bench or USB meter"
    )
    provenance: Provenance = "wall meter"

    def __init__(self, command: str) -> None:
        """Start it and wait for its first lines."""
        self.domain = os.environ.get("QBENCH_METER_DOMAIN", "wall")
        self.period_s = 0.0
        self._command, self._joules, self._lines = command, 0.0, 0
        self._last: tuple[float, float] | None = None  # its own seconds, watts
        self._began: tuple[float, float] | None = None  # its own seconds, ours
        self._problem = ""
        self._spacing: list[float] = []
        self._enough = threading.Event()
        try:
            self._process = subprocess.Popen(
                shlex.split(command), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
            )
        except (OSError, ValueError) as error:
            raise NotAvailable(f"the meter {command!r} cannot be started: {error}", fix=FIX) from error
        self._reader = threading.Thread(target=self._follow, daemon=True)
        self._reader.start()
        if not self._enough.wait(FIRST_S) or self._problem:
            self.close()
            said = self._problem or f"it printed {self._lines} lines in {FIRST_S:g} s"
            raise NotAvailable(f"the meter {command!r} does not measure: {said}", fix=FIX)
        self.period_s = median(self._spacing)

    @classmethod
    def absent(cls, device: str) -> str | None:  # noqa: ARG003 - it measures whatever it is clamped to
        """Return that no command is named, where none is."""
        return None if os.environ.get(VARIABLE) else f"{VARIABLE} names no command"

    @classmethod
    def open(cls, device: str) -> External:  # noqa: ARG003
        """Start the command; see EnergyMeter.open."""
        return cls(os.environ.get(VARIABLE, ""))

    def read(self) -> tuple[float, float]:
        """Return the joules so far; the seconds are ours, so that they pair with the calls.

        Raises:
            NotAvailable: the command has ended, or printed something else.
        """
        if self._problem:
            raise NotAvailable(f"the meter {self._command!r} failed: {self._problem}", fix=FIX)
        now_s = time.monotonic()
        if self._began and self._last:
            theirs_s, ours_s = self._last[0] - self._began[0], now_s - self._began[1]
            if abs(theirs_s - ours_s) > CLOCK_S + 3 * self.period_s + CLOCK_SHARE * ours_s:
                raise NotAvailable(
                    f"the meter {self._command!r} counted {theirs_s:.3g} s while {ours_s:.3g} s went by here",
                    fix=f"{FIX}; the first number is seconds, and each line is flushed",
                )
        return now_s, self._joules

    def close(self) -> None:
        """End the command."""
        self._process.kill()
        self._process.wait()
        self._reader.join(timeout=1)
        if self._process.stdout:
            self._process.stdout.close()

    def _follow(self) -> None:
        """Integrate line by line until the command ends."""
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError):  # closed while it was read
            for line in self._process.stdout:
                if not self._take(line):
                    break
        if not self._problem:
            code = self._process.poll()
            self._problem = "it ended" + ("" if code is None else f" with exit code {code}")
        self._enough.set()

    def _take(self, line: str) -> bool:
        """Add one line; tell whether the next is wanted."""
        try:
            now_s, watts = (float(word) for word in line.split()[:2])
        except ValueError:
            self._problem = f"it printed {line.strip()!r:.60}, which is no time and watts"
            return False
        if not (0 <= watts < 1e6):
            self._problem = f"it printed {watts} watts"
            return False
        if self._last is not None:
            step_s = now_s - self._last[0]
            if step_s <= 0:
                self._problem = f"its time went from {self._last[0]} to {now_s}"
                return False
            self._joules += step_s * (watts + self._last[1]) / 2
            self._spacing.append(step_s)
        if self._began is None:
            self._began = (now_s, time.monotonic())
        self._last = (now_s, watts)
        self._lines += 1
        if self._lines >= FIRST_LINES:
            self._enough.set()
        return True
