"""Running a plan: every step in a process of its own, every result a line on disk the moment it is there."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from qbench.backends.base import BACKENDS
from qbench.cases import ArtifactSpec, Case, DataSpec, Explained, Step
from qbench.folders import without_folders
from qbench.formats import cache
from qbench.records import Evidence, Failed, Measured, Outcome, Record, Skipped
from qbench.run import agenda
from qbench.run.briefing import Briefing, fact
from qbench.run.fallback import Fallbacks
from qbench.run.host import now_utc
from qbench.run.launch import Workers, ask_counting, ask_fresh
from qbench.run.plan import Plan
from qbench.run.protocol import Limits, Reply, StepRequest
from qbench.run.steps.kept import answers_file
from qbench.run.way import makers
from qbench.store import Store
from qbench.tasks.base import folder_of

# What a fork server has imported before the first child: what its steps need, and nothing more.
DATA = ("numpy",)
EXPECTED = "expected to collapse"
FORKED = (
    "data",
    "prepare",
    "score",
    "time",
    "anchor",
    "energy",
)  # the others have an interpreter of their own


class Watcher(Protocol):
    """Who is told how a run goes: the progress bar, or nobody."""

    def planned(self, steps: list[Step]) -> None:
        """Say which steps there will be."""

    def started(self, step: Step) -> None:
        """Say which step runs now."""

    def ended(self, step: Step, outcome: Outcome) -> None:
        """Say how it ended."""


@dataclass
class Tally:
    """What a run adds up to."""

    steps: int = 0
    failed: list[Record] = field(default_factory=list)
    collapsed: list[Step] = field(default_factory=list)  # those that the suite does not expect
    busy_s: float = 0.0  # inside the children: preparing, scoring, timing
    wall_s: float = 0.0


class Executor:
    """One run of one plan into one store."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        session: str,
        workers: Workers,
        watcher: Watcher,
        limits: Limits,
        *,
        seed: int = 0,
    ) -> None:
        """Start nothing yet."""
        self._plan, self._store, self._session = plan, store, session
        self._workers, self._watcher, self._limits = workers, watcher, limits
        self._order = random.Random(seed)
        self._outcomes: dict[str, Outcome] = {}
        self._briefing = Briefing(plan, limits, session, self._outcomes)
        self._fallbacks = Fallbacks(plan, self._outcomes)
        self._makers = makers(case.deployment.artifact for case in plan.cells)
        self.tally = Tally()

    def run(self, earlier: dict[str, Outcome]) -> Tally:
        """Do all steps that are not done; `earlier` are the outcomes of a resumed run, by step key."""
        start = time.perf_counter()
        self._outcomes |= earlier
        first = agenda.once(self._plan)
        rounds = [
            agenda.one_round(self._plan, number, self._order) for number in range(self._plan.profile.rounds)
        ]
        metered = agenda.energy(self._plan, self._order)
        self._watcher.planned([*first, *(step for steps in rounds for step in steps), *metered])
        self._known_before(earlier)
        self._warm_servers()
        for step in first:
            if step.kind == "prepare":  # the cost of quantizing is a figure: nothing may import beside it
                self._workers.wait_until_ready()
            self._do(step)
        self._workers.wait_until_ready()  # nor beside what is timed
        for number, steps in enumerate(rounds):
            if number and self._plan.profile.fresh_servers:
                self._workers.restart(list(dict.fromkeys(self._preload(step) for step in steps)))
            if self._nothing_to_time(steps):
                continue
            for step in steps:
                self._do(step)
        for step in metered:
            self._do(step)
        self.tally.wall_s = time.perf_counter() - start
        return self.tally

    def _known_before(self, earlier: dict[str, Outcome]) -> None:
        """Write what the plan says, so that no cell can vanish: that it runs, or why not."""
        for step, outcome in agenda.known(self._plan):
            if isinstance(outcome, Skipped):
                outcome = Skipped(without_folders(outcome.reason))
            if step.key not in earlier:
                self._write(Record(step, outcome, self._session, now_utc(), 0.0))

    def _settle(self) -> None:
        """Write which cells are not needed, once; a run that was stopped before may have said otherwise."""
        for case, reason in self._fallbacks.settled():
            step, outcome = Step("plan", case), Skipped(reason) if reason else Measured(())
            if self._outcomes.get(step.key) != outcome:
                self._write(Record(step, outcome, self._session, now_utc(), 0.0))

    # --- doing one ---------------------------------------------------------------------------------

    def _do(self, step: Step) -> None:
        if self._fallbacks.waits(step):
            self._settle()
            if left_out := self._fallbacks.not_needed(step):
                self._watcher.ended(step, Skipped(left_out))
                return
        if self._finished(step):
            self._judge(step, self._outcomes[step.key])  # a resumed run ends as one that was never stopped
            self._watcher.ended(step, self._outcomes[step.key])
            return
        if self._pointless(step):
            self._watcher.ended(step, self._outcomes.get(step.key, Skipped("a step before it failed")))
            return
        self._watcher.started(step)
        started, start = now_utc(), time.perf_counter()
        reply = self._ask(step, self._briefing.request(step))
        assert isinstance(reply.result, (Measured, Failed))
        outcome = self._with_expectation(step, reply.result)
        if isinstance(outcome, Failed):
            words = {name: without_folders(getattr(outcome, name)) for name in ("error", "traceback")}
            outcome = replace(outcome, **words)  # type: ignore[arg-type]
        took_s, log = time.perf_counter() - start, without_folders(reply.log)
        self._write(Record(step, outcome, self._session, started, took_s, reply.busy_s, log))
        self.tally.steps += 1
        self.tally.busy_s += reply.busy_s
        self._watcher.ended(step, outcome)

    def _ask(self, step: Step, request: StepRequest) -> Reply:
        """Have it done where its case lives: in a fork of a server, or in an interpreter of its own."""
        target = self._plan.target(step.subject) if isinstance(step.subject, Case) else None
        prefix = target.prefix if target else ()
        if step.kind == "count" and target:
            return ask_counting(request, target.counter)
        capped = _cap(step)
        if step.kind == "deploy" or capped:
            return ask_fresh(request, prefix, capped)
        return self._workers.get(self._preload(step), prefix).ask(request)

    def _write(self, record: Record) -> None:
        self._store.append(record)
        self._outcomes[record.step.key] = record.outcome
        if isinstance(record.outcome, Failed) and not record.outcome.expected:
            self.tally.failed.append(record)
        self._judge(record.step, record.outcome)

    def _judge(self, step: Step, outcome: Outcome) -> None:
        if _collapsed(outcome) and not fact(outcome, EXPECTED):
            self.tally.collapsed.append(step)

    def _with_expectation(self, step: Step, outcome: Measured | Failed) -> Measured | Failed:
        """Keep the suite's reason beside what it expects; the verdict or the failure stays as it is."""
        if not isinstance(step.subject, Case):
            return outcome
        if isinstance(outcome, Failed):
            return replace(outcome, expected=self._plan.expected(step.subject, outcome.stage) or "")
        if not _collapsed(outcome):
            return outcome
        reason = self._plan.expected(step.subject)
        return (
            replace(outcome, evidence=(*outcome.evidence, Evidence(EXPECTED, reason))) if reason else outcome
        )

    def _finished(self, step: Step) -> bool:
        """Tell whether the step has a result and what it made is still there."""
        outcome = self._outcomes.get(step.key)
        if not isinstance(outcome, Measured):
            return False
        if isinstance(step.subject, DataSpec):
            return (folder_of(fact(outcome, "data id")) / "examples.json").is_file()
        if isinstance(step.subject, ArtifactSpec):
            return cache.holds(step.subject)
        if step.kind == "score" and isinstance(step.subject, Case) and step.subject.role == "fp32":
            return answers_file(step.subject, fact(outcome, "data id")).is_file()
        return True

    def _nothing_to_time(self, steps: list[Step]) -> bool:
        """Tell whether a round has cells, and none of them is left: its anchors would stand for nothing."""
        timed = [step for step in steps if step.kind == "time"]
        return bool(timed) and all(self._pointless(step) for step in timed)

    def _without_source(self, step: Step) -> bool:
        """Tell whether this is a technique's step, and the user's own network failed on every engine.

        A suite has other networks, and says of each cell what became of it.
        """
        subject = step.subject
        if isinstance(subject, DataSpec | Explained) or not isinstance(subject, ArtifactSpec | Case):
            return False
        spec = subject if isinstance(subject, ArtifactSpec) else subject.deployment.artifact
        if not spec.users_own:
            return False
        floats = [
            case
            for case in self._plan.cells
            if case.role == "fp32" and case.deployment.artifact.model == spec.model
        ]
        own = spec in [case.deployment.artifact for case in floats]
        return bool(floats) and not own and all(self._broke(case) for case in floats)

    def _broke(self, case: Case) -> bool:
        steps = Step("prepare", case.deployment.artifact), Step("score", case)
        return any(isinstance(self._outcomes.get(step.key), Failed) for step in steps)

    def _pointless(self, step: Step) -> bool:
        """Tell whether something before it failed, or a verdict or its state forbids to time it."""
        if self._without_source(step):
            return True
        if isinstance(step.subject, ArtifactSpec):
            return any(not self._ok(Step("data", spec)) for hop in step.subject.way for spec in hop.data)
        if isinstance(step.subject, Explained):
            before = Step("data", step.subject.selection), Step("prepare", step.subject.artifact)
            return not all(self._ok(one) for one in before)
        if not isinstance(step.subject, Case):
            return False
        case = step.subject
        ready = self._ok(Step("data", case.evaluation)) and self._ok(
            Step("prepare", case.deployment.artifact)
        )
        if step.kind == "score" or not ready:
            return not ready
        scored = self._outcomes.get(Step("score", case).key)
        if step.kind == "count":
            return not isinstance(scored, Measured)
        if not isinstance(scored, Measured) or any(w.metric == "latency" for w in scored.withheld):
            return True
        if case.deployment.artifact.state.kind == "fake_quant":  # whatever its score says
            return True
        broke = (self._outcomes.get(Step(step.kind, case, number).key) for number in range(step.round))
        return any(isinstance(outcome, Failed) for outcome in broke)  # once will do

    def _ok(self, step: Step) -> bool:
        return isinstance(self._outcomes.get(step.key), Measured)

    def _preload(self, step: Step) -> tuple[str, ...]:
        if isinstance(step.subject, Case):
            return (step.subject.deployment.backend,)
        return self._makers if step.kind in ("prepare", "explain") else DATA

    def _warm_servers(self) -> None:
        """Start every fork server that will be needed; they import while the first steps run."""
        steps = [step for step in agenda.once(self._plan) if step.kind in FORKED and not self._finished(step)]
        for step in steps:
            if not (isinstance(step.subject, Case) and step.subject.deployment.reached == "emulated"):
                self._workers.get(self._preload(step))  # an emulated one would import beside what is measured


def _cap(step: Step) -> Mapping[str, str]:
    """Return the environment that caps this step's vector instructions; nothing where they are not capped."""
    isa = step.subject.deployment.isa if isinstance(step.subject, Case) else ""
    assert isinstance(step.subject, Case) or not isa
    return BACKENDS[step.subject.deployment.backend].caps[isa] if isa else {}  # type: ignore[union-attr]


def _collapsed(outcome: Outcome) -> bool:
    return isinstance(outcome, Measured) and any(verdict.kind == "collapsed" for verdict in outcome.verdicts)
