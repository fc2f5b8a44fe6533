"""What a step is told: where its data lies, what its baseline said, how long it may take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from qbench.cases import ArtifactSpec, Case, DataSpec, Explained, Step, key
from qbench.records import Measured, Outcome, find
from qbench.run.plan import Plan
from qbench.run.protocol import Baseline, Limits, StepRequest, Timing
from qbench.run.steps.kept import answers_file


class Briefing:
    """What is known so far of a plan, as the steps to come need it."""

    def __init__(self, plan: Plan, limits: Limits, session: str, known: Mapping[str, Outcome]) -> None:
        """Read `known` when a step is asked for: it grows with every outcome, by step key."""
        self._plan, self._limits, self._session, self._known = plan, limits, session, known
        self._metered = frozenset(plan.metered)

    def request(self, step: Step) -> StepRequest:
        """Return what the step is told; those before it have ended."""
        profile = self._plan.profile
        case = step.subject if step.kind == "score" and isinstance(step.subject, Case) else None
        return StepRequest(
            step,
            self._data_ids(step),
            self._baseline(case) if case else None,
            Timing(profile.window_s, profile.warmup_cap_s),
            self._limits,
            self._session,
            metered=step.subject in self._metered,
            twin=self._twin(case) if case else "",
        )

    def _data_ids(self, step: Step) -> tuple[tuple[str, str], ...]:
        subject = step.subject
        if isinstance(subject, Case):
            wanted: list[DataSpec] = [subject.evaluation]
        elif isinstance(subject, ArtifactSpec):
            wanted = [spec for hop in subject.way for spec in hop.data]
        elif isinstance(subject, Explained):
            wanted = [subject.selection, *(spec for hop in subject.artifact.way for spec in hop.data)]
        else:
            wanted = []
        return tuple((key(spec), fact(self._known[Step("data", spec).key], "data id")) for spec in wanted)

    def _baseline(self, case: Case) -> Baseline | None:
        """Return what the float form of the same model said on the same engine, device and examples."""
        if case.role == "fp32":
            return None
        for other in self._plan.cells:
            scored = self._known.get(Step("score", other).key)
            if _same_place(case, other) and other.role == "fp32" and isinstance(scored, Measured):
                correct = find(scored, "correct")
                accuracy = sum(correct.samples) / len(correct.samples) if correct else None
                return Baseline(str(answers_file(other, fact(scored, "data id"))), accuracy)
        return None

    def _twin(self, case: Case) -> str:
        """Return where the answers of the same file on this host's own processor, all of it, are; "": none.

        They hold the same examples first: an emulated device takes fewer of the same split, from its start.
        """
        unlike = case.deployment.reached == "emulated" or case.deployment.isa
        for other in self._plan.cells if unlike else ():
            own, there = case.deployment, other.deployment
            same = (own.artifact, own.backend, "") == (there.artifact, there.backend, there.isa)
            examples = replace(other.evaluation, count=case.evaluation.count) == case.evaluation
            scored = self._known.get(Step("score", other).key)
            if same and examples and there.reached == "native" and isinstance(scored, Measured):
                return str(answers_file(other, fact(scored, "data id")))
        return ""


def _same_place(case: Case, other: Case) -> bool:
    """Tell whether the two differ in nothing but the file."""
    return case.evaluation == other.evaluation and case.deployment.same_but_for_technique(other.deployment)


def fact(outcome: Outcome, what: str) -> str:
    """Return what an outcome's evidence found of `what`; nothing where it has no such evidence."""
    found: Iterator[str] = (e.found for e in getattr(outcome, "evidence", ()) if e.what == what)
    return next(found, "")
