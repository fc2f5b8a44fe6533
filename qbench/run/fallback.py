"""A technique that waits for others: it is prepared, scored and timed only if none of those holds its limit.

Decided while a run goes, by what has been scored, and so by the same rules after `--resume`: nothing is kept
but the outcomes themselves.
"""

from __future__ import annotations

from collections.abc import Mapping

from qbench.cases import Case, Explained, Step
from qbench.metrics import ACCURACY_LIMIT
from qbench.quality.judge import how_bad, judge
from qbench.records import Measured, Outcome, find
from qbench.run.plan import Plan
from qbench.stats import paired, verdict

WITHOUT_LABELS = 1 + ACCURACY_LIMIT  # of float's first answers: no more may have changed than may be lost


class Fallbacks:
    """Which cells of a plan are needed, as far as can be told now."""

    def __init__(self, plan: Plan, known: Mapping[str, Outcome]) -> None:
        """Read `known` when asked: it grows with every outcome, by step key."""
        self._plan, self._known = plan, known

    def waits(self, step: Step) -> bool:
        """Tell whether a step is of nothing but cells that wait for others; those are decided by then."""
        cells = self._cells_of(step)
        return bool(cells) and all(case.after for case in cells)

    def not_needed(self, step: Step) -> str | None:
        """Return why a step that waits is left out; None where it is to be done."""
        reasons = [self._reason(case) for case in self._cells_of(step)]
        return reasons[0] if reasons and all(reasons) else None

    def settled(self) -> list[tuple[Case, str | None]]:
        """Return every cell that waits, with the reason why it is not needed; None where it is."""
        return [(case, self._reason(case)) for case in self._plan.cells if case.after]

    def _cells_of(self, step: Step) -> list[Case]:
        subject = step.subject
        if isinstance(subject, Case):
            return [subject]
        if isinstance(subject, Explained):
            subject = subject.artifact
        return [case for case in self._plan.cells if case.deployment.artifact == subject]

    def _reason(self, case: Case) -> str | None:
        for other in self._plan.cells if case.after else ():
            if other.technique in case.after and _same_place(case, other):
                scored = self._known.get(Step("score", other).key)
                if holds(scored, self._baseline(other)):
                    within = f"{other.technique} is within its limit by its best estimate"
                    return f"not needed: {within} on {other.deployment.backend}"
        return None

    def _baseline(self, case: Case) -> Outcome | None:
        for other in self._plan.cells:
            if other.role == "fp32" and _same_place(case, other):
                return self._known.get(Step("score", other).key)
        return None


def _same_place(case: Case, other: Case) -> bool:
    """Tell whether the two are one model on one engine of one device, scored on the same examples."""
    own, there = case.deployment, other.deployment
    where = (own.artifact.model, own.backend, own.hardware, own.device, own.isa, case.evaluation)
    return where == (
        there.artifact.model, there.backend, there.hardware, there.device, there.isa, other.evaluation
    )  # fmt: skip


def holds(scored: Outcome | None, base: Outcome | None) -> bool:
    """Tell whether a technique's answers are good enough that nothing else has to be tried.

    It was scored, it has not collapsed, and what decides does not fail: labels where there are some, else
    what the outputs' quality rests on. What too few examples leave open holds if its best estimate does; what
    nothing can judge, nothing can improve.
    """
    if not isinstance(scored, Measured) or any(found.kind == "collapsed" for found in scored.verdicts):
        return False
    own, float_ones = find(scored, "correct"), find(base, "correct") if base else None
    if not own and scored.outputs:
        judgement = judge(scored.outputs)
        near = judgement.outcome == "inconclusive" and how_bad(scored.outputs) <= 1
        return near or judgement.outcome in ("pass", "unjudged")
    if own and float_ones and len(own.samples) == len(float_ones.samples):
        return verdict(paired(float_ones.samples, own.samples).interval, ACCURACY_LIMIT) != "fail"
    answers, wanted = find(scored, "prediction"), find(base, "prediction") if base else None
    if answers and wanted and len(answers.samples) == len(wanted.samples):
        same = sum(one == two for one, two in zip(answers.samples, wanted.samples, strict=True))
        return same / len(answers.samples) >= WITHOUT_LABELS
    return True  # nothing judges it: nothing can be improved either
