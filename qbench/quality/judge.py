"""Whether the outputs hold, and what that rests on: functions of what was recorded, for search and report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from qbench.metrics import CATALOGUE, HALF_NOISE_DB
from qbench.quality.limits import LIMITS, SHARES, Limit
from qbench.records import Measurement, OutputQuality
from qbench.stats import Interval, mean_interval, share_interval
from qbench.units import Unit, text

Outcome = Literal["pass", "fail", "inconclusive", "unjudged", "incomparable"]
SEVERITY: dict[Outcome, int] = {"unjudged": 0, "pass": 1, "inconclusive": 2, "fail": 3, "incomparable": 4}
NOTHING = "nothing tells how its answers differ from float's"
WIDEST = 0.5  # share of the channels that may have died before plain values do not hold
EVERY_CHANNEL = (
    "sqnr",
    "range_error",
)  # what decides where every channel counts, not only the largest answer
FINE = 0.1  # weight of noise in a single number: it orders what has the same answers


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether the outputs hold, and on what grounds.

    `unjudged`: nothing here can judge, so nothing may be shipped. `incomparable`: a score is missing, or saw
    other examples.
    """

    outcome: Outcome
    text: str
    rests_on: str = ""  # the output, part and figure that decided: "output `second` (scores): ..."
    short: str = ""  # the judgement alone, for where `rests_on` stands beside it


def judge(outputs: Sequence[OutputQuality]) -> Judgement:
    """Judge by the worst of the outputs that can be judged.

    Without one, the judgement is `unjudged`, with the reasons.
    """
    found = [(judge_one(one), how_bad_one(one)) for one in outputs if one.decides]
    if not found:
        reasons = dict.fromkeys(w.reason for one in outputs for w in one.withheld)
        return Judgement("unjudged", "; ".join((NOTHING, *reasons)))
    return max(found, key=lambda pair: (SEVERITY[pair[0].outcome], pair[1]))[0]


def worst(outputs: Sequence[OutputQuality]) -> OutputQuality | None:
    """Return the output that decides; None where none can."""
    able = [one for one in outputs if one.decides]
    return max(able, key=lambda one: (SEVERITY[judge_one(one).outcome], how_bad_one(one)), default=None)


def judge_one(output: OutputQuality) -> Judgement:
    """Judge one output that has a metric to decide by.

    Raises:
        KeyError: it has none, or one without a limit.
    """
    limit, measurement = LIMITS[output.decides], deciding(output)
    value, interval = summary(measurement)
    outcome = _against(limit, value, interval, better=CATALOGUE[output.decides].better)
    words = {
        "pass": "holds; the limit is {passes}",
        "fail": "does not hold; the limit is {fails}, for {reason}",
        "inconclusive": "not proven to hold{open}; it holds from {passes} on, and beyond {fails} not",
    }
    rest, unit = rests_on(output), unit_of(output.decides)
    short = words[outcome].format(
        open=_open_to(interval, output.decides),
        passes=text(limit.passes, unit),
        fails=text(limit.fails, unit),
        reason=limit.reason,
    )
    flaw = _flawed_channels(output)
    if flaw and outcome != "fail":
        rest, outcome, short = f"{named(output)}: {flaw}", "fail", "does not hold"
    return Judgement(outcome, f"{rest}: {short}", rest, short)


def _against(limit: Limit, value: float, interval: Interval | None, *, better: str) -> Outcome:
    low, high = (value, value) if interval is None else (interval.low, interval.high)
    if better == "lower":
        return "pass" if high <= limit.passes else "fail" if low > limit.fails else "inconclusive"
    return "pass" if low >= limit.passes else "fail" if high < limit.fails else "inconclusive"


def _open_to(interval: Interval | None, metric: str) -> str:
    """Return how bad it may be with so many examples."""
    if interval is None:
        return ""
    end = interval.high if CATALOGUE[metric].better == "lower" else interval.low
    return f": so many examples leave {text(end, unit_of(metric))} possible"


def _flawed_channels(output: OutputQuality) -> str:
    """Return what is wrong with single channels, which figures over all of them do not show."""
    dead, least = single(output, "dead_channels"), single(output, "sqnr_worst_channel")
    if output.decides in EVERY_CHANNEL and least is not None and least < HALF_NOISE_DB:
        needed = text(HALF_NOISE_DB, "dB")
        return f"its worst channel stands {text(least, 'dB')} above the noise, at least {needed} are needed"
    if dead and output.decides == "confident_overlap":  # of the channels that float is confident in
        return f"{text(dead, 'share')} of the channels that float is confident in stand still"
    if dead is not None and dead > WIDEST:
        return f"{text(dead, 'share')} of the channels that move in float stand still"
    return ""


def how_bad(outputs: Sequence[OutputQuality]) -> float:
    """Return one number for a search: 0 is float itself, up to 1 holds, and the worst output decides.

    What has the same answers is ordered by its noise. Infinite where nothing can judge.
    """
    return max((how_bad_one(one) for one in outputs if one.decides), default=float("inf"))


def how_bad_one(output: OutputQuality) -> float:
    """Return how far one output is from float in terms of its limit: 1 is the limit, to hold is below."""
    limit = LIMITS[output.decides]
    value, _ = summary(deciding(output))
    if output.decides == "sqnr":
        far = 10 ** ((limit.passes - value) / 20)
    elif output.decides == "range_error":
        far = value / limit.passes
    else:
        far = (1 - value) / (1 - limit.passes)
    noise = single(output, "sqnr_varying")
    fine = 0.0 if noise is None else min(1.0, 10 ** (-noise / 20))
    return far + FINE * fine


# --- the words --------------------------------------------------------------------------------------------


def rests_on(output: OutputQuality) -> str:
    """Return what a judgement of this output rests on: the output, its kind and its figure."""
    measurement = deciding(output)
    value, _ = summary(measurement)
    samples = f"{len(measurement.samples):,} examples"
    if len(measurement.samples) == 1:
        samples = "all examples"
    shown = text(value, unit_of(output.decides))
    return f"{named(output)}: " + LIMITS[output.decides].says.format(value=shown, n=samples)


def named(output: OutputQuality) -> str:
    """Return the output's name with its part and its kind."""
    part = f", {output.part}" if output.part else ""
    return f"output `{output.output}`{part} ({output.output_kind})"


def unit_of(metric: str) -> Unit:
    """Return how a deciding metric is written: most are shares."""
    if metric in SHARES or metric == "range_error":
        return "share"
    return CATALOGUE[metric].unit


# --- the figures -------------------------------------------------------------------------------------------


def deciding(output: OutputQuality) -> Measurement:
    """Return the measurement that decides.

    Raises:
        KeyError: there is none.
    """
    found = next((m for m in output.measurements if m.metric == output.decides), None)
    if found is None:
        raise KeyError(f"output {output.output!r} has no measurement {output.decides!r}")
    return found


def single(output: OutputQuality, metric: str) -> float | None:
    """Return the mean of a measurement's samples, or None where this output has no such measurement."""
    found = next((m for m in output.measurements if m.metric == metric), None)
    return float(np.mean(found.samples)) if found else None


def summary(measurement: Measurement) -> tuple[float, Interval | None]:
    """Return the mean with its 95 % interval: Wilson's for yes and no, the normal one for all others.

    That of a share is at least one example in n wide on either side: examples that happen to be all alike do
    not make the next one certain. One sample is a figure of all examples and has no interval.
    """
    samples, n = measurement.samples, len(measurement.samples)
    if n == 1:
        return samples[0], None
    if CATALOGUE[measurement.metric].stored == "bits":
        return sum(samples) / n, share_interval(round(sum(samples)), n)
    mean, interval = mean_interval(samples)
    assert interval is not None
    if measurement.metric not in SHARES:  # no example of these is wholly wrong by chance, nor ends at 1
        return mean, interval
    half = max(interval.high - mean, 1 / n)
    return mean, Interval(max(0.0, mean - half), min(1.0, mean + half), "normal95", n)
