"""Are an engine's answers those of the file? Asked before anything of it is counted or timed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qbench.formats import cache
from qbench.formats.answers import WrongOutputs as WrongOutputs
from qbench.formats.artifact import float_state
from qbench.formats.reference import Kept, read_reference
from qbench.records import Measurement, Verdict, Withheld
from qbench.referee.distance import LIMIT, Distance, distance
from qbench.run.protocol import Trace
from qbench.run.steps.asked import BATCH as BATCH
from qbench.run.steps.asked import Pairs, asked, crowd, ranges_of, unlike
from qbench.run.steps.check_integers import NoAnswerLeft, with_simulation
from qbench.run.steps.session import Opened
from qbench.run.steps.what_works import advice


@dataclass(frozen=True, slots=True)
class Checked:
    """What the comparison leaves open: distances that cannot be had, what a user must know, no speed."""

    withheld: tuple[Withheld, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    no_speed: str = ""  # why nothing may be timed; "": it may


def check(opened: Opened, trace: Trace) -> Checked:
    """Compare with what is known of the answers; note the distances, return what is left open.

    Raises:
        WrongOutputs: a distance beyond its limit, or outputs of another shape.
    """
    withheld: list[Withheld] = []
    verdicts: list[Verdict] = []
    no_speed = ""
    for compare in (_with_source, with_simulation):
        found = compare(opened)
        if isinstance(found, Measurement):
            trace.measurements.append(found)
        elif isinstance(found, Verdict):
            verdicts.append(found)
            withheld.append(Withheld("reference_error", found.text))
        elif isinstance(found, NoAnswerLeft):
            withheld.append(found.withheld)
            no_speed = found.withheld.reason
        elif found:
            withheld.append(found)
    return Checked(tuple(withheld), tuple(verdicts), no_speed)


def _with_source(opened: Opened) -> Measurement | Withheld | Verdict:
    """Compare all outputs with what the source says; a technique's product may differ, an engine may not.

    A caution where an engine differs from the readers of another maker alone: which is wrong is not known.
    """
    kept = read_reference(cache.folder_of(opened.case.deployment.artifact))
    if kept is None:
        return Withheld("reference_error", "nobody was asked what the source answers")
    if kept.outputs is None:
        return Withheld("reference_error", kept.told.why_none)
    found = asked(opened, kept)
    ranges = ranges_of(found)
    untouched = not opened.case.deployment.artifact.chain
    if float_state(opened.case.deployment.computes) and untouched:
        for pairs in (*found, crowd(opened, kept)):
            far = _apart(pairs, ranges)
            if not far.meets and kept.told.one_maker not in ("", opened.case.deployment.backend):
                return _unsure(opened, kept, far)
            if not far.meets:
                raise _wrong(opened, kept, far)
    if other := unlike(found):
        return Withheld(
            "reference_error", f"{other} in the source's answers: its length is the network's choice"
        )
    real = [pair for pairs in found for pair in pairs if pair[2].dtype.kind == "f"]
    errors = [_of_range(array, wanted, ranges[name]) for name, array, wanted in real if wanted.size]
    if not errors:
        why = "every output of real numbers is empty" if real else "no output holds real numbers"
        return Withheld("reference_error", why)
    if not np.isfinite(max(errors)):
        return Withheld("reference_error", "outputs hold NaN or infinity")
    return Measurement("reference_error", (max(errors),))


def _of_range(found: np.ndarray, wanted: np.ndarray, span: float) -> float:
    """Return the largest difference over the output's range; infinite where either is not finite."""
    if not (np.isfinite(found).all() and np.isfinite(wanted).all()):
        return float("inf")
    return float(np.abs(found.astype(np.float64) - wanted).max()) / span


def _apart(pairs: Pairs, ranges: dict[str, float]) -> Distance:
    names, found, wanted = zip(*pairs, strict=True) if pairs else ((), (), ())
    return distance(found, wanted, names, [ranges[name] for name in names])


def _wrong(opened: Opened, kept: Kept, far: Distance) -> WrongOutputs:
    """Return what is wrong: who agrees with whom, by how much this engine differs, and from where on."""
    backend, told = opened.case.deployment.backend, kept.told
    operator = next((one.operator for one in told.alone if one.maker == backend), "")
    count = max(stop for _, stop in kept.spans)
    asked_of = f"asked about {count} of your samples" if told.agreed else "asked about fixed inputs"
    agree = f"; {told} agree" if len(told.agreed) > 1 else ""
    agree += f", and only {told.one_maker}'s readers answered" if told.one_maker else ""
    first = f"; it parts from them first in {operator}" if operator else ""
    return WrongOutputs(
        f"{backend} differs from {told} {far.how}, in the same 32-bit float (limit {LIMIT}), "
        f"{asked_of}{agree}{first}",
        fix=advice(opened, kept, _meets, "network"),
    )


def _unsure(opened: Opened, kept: Kept, far: Distance) -> Verdict:
    """Return that two makers contradict each other, and that nobody else could be asked."""
    backend, told = opened.case.deployment.backend, kept.told
    return Verdict(
        "caution",
        f"{backend} differs from {told} {far.how}, in the same 32-bit float (limit {LIMIT}); only "
        f"{told.one_maker}'s readers answered, so which of the two is wrong is not known: compare both with "
        "the framework that the network comes from before you ship either",
    )


def _meets(found: list[np.ndarray], wanted: list[np.ndarray]) -> bool:
    return distance(found, wanted, [""] * len(wanted)).meets
