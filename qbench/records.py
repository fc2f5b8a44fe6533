"""What was measured: the line that a result is. Frozen, standard library only, SI units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from qbench.cases import Step

FORMAT_VERSION = 5
DROPPED = "dropped to stay within"  # how the reason of a skip begins that is not of this machine
BUDGET, OWN_TIME = "--budget", "the time that try gives itself,"  # whose time it is; how long follows
OWN_TIME_S = 120.0  # of `try`, where no profile is asked for: what is ranked last is left out
# History of the format:
#   1  first version
#   2  a deployment names its streams, its hardware profile and how it is reached; hardware that is not here
#      has a line of its own; instructions are counted
#   3  a scenario may be slowed down on purpose; processor frequency and temperature are witnesses; a failure
#      that the suite expects carries its reason; energy has steps of its own; a session says what its suite
#      was narrowed down to; a deployment's vector instructions may be capped
#   4  a hop names what it learns from and what it chooses by; bits may be the widest of several
#   5  a score says of every output how it meets float's, each with measurements of its own;
#      an engine may be told options beside the file, and a technique may wait for others;
#      a source that is a file names the examples about which it was asked what it answers


@dataclass(frozen=True, slots=True)
class Measurement:
    """Raw samples of one metric in SI units, in the order taken; warm-up is kept apart, never averaged in."""

    metric: str  # a key of metrics.CATALOGUE, which owns unit, direction and meaning
    samples: tuple[float, ...]
    warmup: tuple[float, ...] = ()
    group: int = 1  # calls per sample: more than one where a call is too short for the clock


@dataclass(frozen=True, slots=True)
class Withheld:
    """A number that would mislead, or that nothing here can measure, and why."""

    metric: str
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judgement on a measured cell: what is wrong with it and what to do next."""

    kind: Literal["collapsed", "unstable", "not_steady", "saturates", "caution"]
    text: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """One fact that a proof rests on, in the engine's own words."""

    what: str
    found: str


@dataclass(frozen=True, slots=True)
class OutputQuality:
    """How one output, or a part of it whose values have a range of their own, meets the float network's.

    `decides` names the measurement, one sample an example, that the judgement of this output rests on.
    """

    output: str  # its name in the file
    output_kind: str  # how its values are read: class scores, probabilities, boxes, ... (qbench.quality)
    decides: str  # a metric; "": nothing can judge this output, and `withheld` has the reason
    measurements: tuple[Measurement, ...] = ()
    withheld: tuple[Withheld, ...] = ()
    part: str = ""  # "channels 4 to 6 of axis 1"; "": all of it
    recognised: bool = True  # from shape, range and values; False: the user said so


@dataclass(frozen=True, slots=True)
class Measured:
    """The step ended and these are its numbers."""

    measurements: tuple[Measurement, ...]
    withheld: tuple[Withheld, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    outputs: tuple[OutputQuality, ...] = ()  # of a score: every output beside float's, none left out
    kind: Literal["measured"] = "measured"


@dataclass(frozen=True, slots=True)
class Skipped:
    """Known before anything started: this cannot run here, and why."""

    reason: str
    kind: Literal["skipped"] = "skipped"


@dataclass(frozen=True, slots=True)
class Failed:
    """It broke: at which stage, with what words, and what had been measured by then."""

    stage: str
    error: str
    traceback: str = ""
    measurements: tuple[Measurement, ...] = ()
    expected: str = ""  # the suite's reason, where it knows of this failure
    kind: Literal["failed"] = "failed"


Outcome = Measured | Skipped | Failed


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a results file."""

    step: Step
    outcome: Outcome
    session: str
    started_utc: str
    wall_s: float
    busy_s: float = 0.0  # inside the child; the rest of the wall is the harness's own
    log: str = ""  # the last lines that the engine wrote, where the step failed
    kind: Literal["record"] = "record"
    format: int = FORMAT_VERSION


@dataclass(frozen=True, slots=True)
class Session:
    """The first line of a run: who measured, on what, with which code."""

    id: str
    suite: str
    profile: str
    host: str
    facts: tuple[tuple[str, str], ...]  # processor, memory, kernel, governor, ...
    versions: tuple[tuple[str, str], ...]
    commit: str
    dirty: bool
    started_utc: str
    command: str
    narrowed: str = ""  # what the command line left of the suite; "": all of it
    kind: Literal["session"] = "session"
    format: int = FORMAT_VERSION


Line = Record | Session


def find(outcome: Outcome, metric: str) -> Measurement | None:
    """Return the outcome's measurement of this metric, or None where it has none."""
    measurements: tuple[Any, ...] = () if isinstance(outcome, Skipped) else outcome.measurements
    return next((m for m in measurements if m.metric == metric), None)
