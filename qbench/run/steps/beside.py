"""A deployment's outputs beside those of its float form on the same engine: measured, judged, or void."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from qbench.cases import Case
from qbench.formats.answers import Answer
from qbench.formats.state import state_alone
from qbench.measure.verdict import drowned
from qbench.quality.collapse import Collapse
from qbench.quality.compare import Assessed, assess, broken, readings
from qbench.quality.judge import single
from qbench.records import OutputQuality, Verdict, Withheld
from qbench.run.protocol import StepRequest
from qbench.run.steps.kept import kept
from qbench.run.steps.session import Opened

DIVERGENCES = ("kl_divergence", "sqnr")


@dataclass(frozen=True, slots=True)
class Beside:
    """What is known of all outputs beside float's."""

    outputs: tuple[OutputQuality, ...] = ()
    withheld: tuple[Withheld, ...] = ()
    collapses: tuple[Collapse, ...] = ()  # what is wrong beyond any limit
    bad: int = 0  # examples of which some output holds NaN or infinity where float has a number


def beside_float(opened: Opened, found: Sequence[Answer], request: StepRequest) -> Beside:
    """Compare all outputs with float's on the same engine; without float's, say why and look for NaN alone.

    Raises:
        BadParameter: the user reads an output as a kind that it cannot be, or names one that is not there.
        BadFile: float's answers are gone.
    """
    names = [spec.name for spec in opened.artifact.outputs]
    if request.baseline is None:
        for name, values in zip(names, found, strict=True):
            readings(name, values, opened.task.kinds().get(name), {})  # what cannot be is told at once
        itself = isinstance(request.step.subject, Case) and request.step.subject.role == "fp32"
        reason = "this is the float baseline itself" if itself else "its float baseline was not scored"
        withheld = tuple(Withheld(name, reason) for name in DIVERGENCES)
        return Beside(withheld=withheld, bad=max((broken(None, one) for one in found), default=0))
    wanted = kept(request.baseline.answers)
    given = list(zip(names, found, strict=True))
    if opened.escalated is not None and len(given) == len(wanted) + 1:  # says which network answered
        given.pop(opened.escalated)
    if len(given) != len(wanted):
        reason = f"{len(given)} outputs cannot be compared with float's {len(wanted)}"
        return Beside(withheld=tuple(Withheld(name, reason) for name in DIVERGENCES))
    bad = max((broken(w, g) for w, (_, g) in zip(wanted, given, strict=True)), default=0)
    if bad:
        return Beside(bad=bad)
    assessed = assess(
        [name for name, _ in given],
        wanted,
        [one for _, one in given],
        kinds=_carried(opened) | dict(opened.task.kinds()),
        inputs=opened.all_inputs(),
    )
    if opened.task.undecided:
        return _without_judgement(assessed, opened.task.undecided)
    return Beside(assessed.outputs, (), assessed.collapses)


def _carried(opened: Opened) -> dict[str, str]:
    """Return which outputs are the next call's state: how a user reads none of them."""
    return dict.fromkeys(state_alone(opened.artifact.carried, opened.artifact.outputs), "state")


def _without_judgement(assessed: Assessed, reason: str) -> Beside:
    """Keep what was measured of answers that mean nothing; the outputs must still be float's own."""
    collapses = []
    for output in assessed.outputs:
        noise = single(output, "sqnr")
        if noise is not None and (verdict := drowned(noise)):
            collapses.append(Collapse(output.output, f"output {output.output!r}: {verdict.text}"))
    mute = tuple(
        replace(one, decides="", withheld=(*one.withheld, Withheld("correct", reason)))
        for one in assessed.outputs
    )
    return Beside(mute, (), tuple(collapses))


def collapse_of(beside: Beside) -> Verdict | None:
    """Return the verdict on outputs that have collapsed, all of them named."""
    if not beside.collapses:
        return None
    return Verdict("collapsed", "; ".join(one.text for one in beside.collapses))


def first_of(found: Sequence[Answer]) -> np.ndarray | None:
    """Return the first output, or None where its examples differ in shape: no task scores such."""
    return found[0] if found and isinstance(found[0], np.ndarray) else None
