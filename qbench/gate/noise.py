"""This machine's noise: what two copies of one file differ by, and what that leaves to be seen."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from qbench.errors import BadFile
from qbench.gate.detect import slow_down
from qbench.gate.trials import Kind, single_figures, trials_of
from qbench.store import Run

LEVEL = 0.99  # of a further difference: how surely it stays below the floor
FEWEST = 2  # differences, without which there is no spread
FILE = "floors.json"
FIGURES: tuple[tuple[str, str, Kind], ...] = (
    ("latency, tenth percentile", "latency", "tenth"),
    ("latency, median", "latency", "middle"),
    ("throughput", "throughput", "middle"),
)


@dataclass(frozen=True, slots=True)
class Floor:
    """What unchanged code differs by on this machine, for one metric."""

    metric: str
    floor: float | None  # a ratio: 1.02 is two per cent; None: too few differences
    largest: float | None  # the largest difference that was seen, as a ratio
    differences: int
    sessions: int


def floor_of(differences: Sequence[float]) -> float | None:
    """Return the slow-down below which the next comparison of unchanged code stays with 99 % confidence.

    `differences` are log ratios of copies of one file, one a session and cell. Their mean is known to be
    zero, so their root mean square s estimates the spread with n degrees of freedom, and a further one over s
    is distributed as Student's t: it stays below t(0.99; n) * s, which is wide where there are few.
    None: fewer than two differences have no spread.

    Source:
        Student 1908, Biometrika 6(1); Hahn and Meeker 1991, Statistical Intervals, section 4.2, of which this
        is the case of a known mean.
    """
    from scipy.stats import t

    n = len(differences)
    if n < FEWEST:
        return None
    spread = math.sqrt(sum(value * value for value in differences) / n)
    return math.exp(float(t.ppf(LEVEL, n)) * spread)


def floors_of(runs: Iterable[Run]) -> tuple[Floor, ...]:
    """Return the floor of every metric that these A/A runs measured twice."""
    sessions = tuple(runs)
    pairs = [trial for trial in trials_of(sessions) if not trial.slowed]
    found = {
        name: [
            math.log(slow_down(t.compared(kind=kind)))
            for t in pairs
            if t.metric == metric and (kind == "middle" or t.figure == kind)
        ]
        for name, metric, kind in FIGURES
    }
    found |= {name.replace("_", " "): values for name, values in single_figures(sessions).items()}
    return tuple(
        Floor(
            name,
            floor_of(values),
            math.exp(max(map(abs, values))) if values else None,
            len(values),
            len(sessions),
        )
        for name, values in found.items()
    )


def with_known(floors: Sequence[Floor], path: Path) -> tuple[Floor, ...]:
    """Return these floors, and what the file holds of metrics for which they are too few."""
    try:
        known = {floor.metric: floor for floor in read_floors(path)}
    except BadFile:  # there is none yet, or it is torn: it is written anew
        known = {}
    return tuple(
        known[floor.metric] if floor.floor is None and floor.metric in known else floor for floor in floors
    )


def write_floors(floors: Sequence[Floor], path: Path) -> None:
    """Write them beside this host's results, all at once or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps([asdict(floor) for floor in floors], indent=1) + "\n")
    os.replace(temporary, path)


def read_floors(path: Path) -> tuple[Floor, ...]:
    """Return what `qbench aa` wrote.

    Raises:
        BadFile: it is missing, or was written by something else.
    """
    try:
        return tuple(Floor(**one) for one in json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise BadFile(
            f"{path} holds no floors of this machine: {error}", fix="run `qbench aa`, which writes them"
        ) from error
