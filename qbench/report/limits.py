"""What a device can do, from a run of the suite `probe`: sustained products per format, and bytes copied."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from qbench.cases import COPY, Anchor, Case, Float, State
from qbench.errors import BadFile
from qbench.records import find
from qbench.report.join import Joined, join
from qbench.stats import median
from qbench.store import Run

FILE = "peaks.json"
COPIED_BYTES = 2 * (1 << 27)  # of the copying kernel: what is read and what is written (measure/anchor.py)
PROBE = "probe"  # the suite's name


@dataclass(frozen=True, slots=True)
class Peak:
    """What one engine sustained in one number format, all threads that the profile gives."""

    engine: str
    hardware: str
    threads: int
    format: str  # fp32, bf16, fp16, int8, int4
    macs_per_s: float
    technique: str

    @property
    def key(self) -> tuple[str, str, int, str]:
        """Return what it is the peak of."""
        return self.engine, self.hardware, self.threads, self.format


@dataclass(frozen=True, slots=True)
class Limits:
    """All that was found on one host."""

    host: str
    session: str
    copy_bytes_per_s: float | None
    peaks: tuple[Peak, ...]

    def of(self, engine: str, hardware: str, threads: int, number_format: str) -> Peak | None:
        """Return what this engine can sustain there, or None where it was not measured."""
        wanted = (engine, hardware, threads, number_format)
        return next((peak for peak in self.peaks if peak.key == wanted), None)


def format_of(state: State) -> str:
    """Return the number format that a state's products are meant to run in."""
    if isinstance(state, Float):
        return state.dtype
    scheme = state.scheme
    if scheme.activation_bits is None or scheme.activation_bits > 8:
        return "fp32"  # narrow weights alone are restored before every product
    return "int4" if scheme.weight_bits <= 4 else "int8"


def limits_of(run: Run) -> Limits:
    """Return the limits that a run of the suite `probe` shows: the best of each engine and format."""
    found: dict[tuple[str, str, int, str], Peak] = {}
    for entry in join(run):
        peak = _peak(entry)
        if peak is not None and (peak.key not in found or found[peak.key].macs_per_s < peak.macs_per_s):
            found[peak.key] = peak
    copies = [
        median(measured.samples)
        for record, _ in run.latest().values()
        if isinstance(record.step.subject, Anchor)
        and record.step.subject.kernel == COPY
        and (measured := find(record.outcome, "anchor"))
    ]
    rate = COPIED_BYTES / median(copies) if copies else None
    return Limits(run.session.host, run.session.id, rate, tuple(found.values()))


def _peak(entry: Joined) -> Peak | None:
    case = entry.case
    if case is None or entry.prepare is None:
        return None
    macs, rounds = find(entry.prepare.record.outcome, "model_macs"), entry.speed()
    if macs is None or not rounds:
        return None
    seconds = median([median(measurement.samples) for measurement, _ in rounds.values()])
    rate = macs.samples[0] * case.scenario.batch / seconds
    placed = case.deployment
    return Peak(placed.backend, placed.hardware, placed.threads, _format(case), rate, case.technique)


def _format(case: Case) -> str:
    return format_of(case.deployment.artifact.state)


def joined(new: Limits, before: Limits | None) -> Limits:
    """Return the new limits, with what an earlier probe of this host measured and this one did not."""
    if before is None or before.host != new.host:
        return new
    again = {peak.key for peak in new.peaks}
    kept = tuple(peak for peak in before.peaks if peak.key not in again)
    return replace(new, peaks=(*new.peaks, *kept))


def write_limits(limits: Limits, path: Path) -> None:
    """Write them beside this host's results, all at once or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(asdict(limits), indent=1) + "\n")
    os.replace(temporary, path)


def read_limits(path: Path) -> Limits:
    """Return what `qbench probe` wrote.

    Raises:
        BadFile: it is missing, or was written by something else.
    """
    try:
        raw = json.loads(path.read_text())
        return Limits(**{**raw, "peaks": tuple(Peak(**peak) for peak in raw["peaks"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        problem = f"{path} holds no limits of a device: {error}"
        raise BadFile(problem, fix="run `qbench probe`, which writes them") from error


def limits_beside(path: Path, host: str) -> Limits | None:
    """Return the limits that lie beside a results file, where they are of the same host."""
    try:
        found = read_limits(path.parent / FILE)
    except BadFile:
        return None
    return found if found.host == host else None


def ordered(peaks: Sequence[Peak]) -> list[Peak]:
    """Return them engine by engine, formats from wide to narrow."""
    formats = ("fp32", "bf16", "fp16", "int8", "int4")
    return sorted(peaks, key=lambda peak: (peak.engine, formats.index(peak.format)))
