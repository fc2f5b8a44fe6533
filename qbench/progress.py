"""How a run goes, while it goes: a bar on a terminal, a line a phase in a log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from qbench.cases import ArtifactSpec, Case, DataSpec, Explained, Step
from qbench.folders import tell, told
from qbench.reasons import fix_of, reason_of
from qbench.records import DROPPED, Outcome
from qbench.show import if_needed, minutes

if TYPE_CHECKING:
    from rich.console import Console

    from qbench.run.plan import Plan


PHASES = {
    "data": "examples",
    "prepare": "preparing",
    "score": "checking and scoring",
    "explain": "explaining",
    "count": "counting instructions",
    "deploy": "loading",
    "energy": "measuring energy",
}
FEW = 6  # techniques that cannot run, told when a run begins
LONG = ("prepare", "explain")  # steps that say how far they are
WEIGHTS = {
    "anchor": 0.4,
    "prepare": 3.0,
    "data": 2.0,
    "score": 1.0,
    "explain": 40.0,
    "count": 3.5,
    "deploy": 1.0,
    "energy": 16.0,
}  # s, about


class Progress:
    """Tells a terminal how a run goes; a log gets a line a phase instead of a bar."""

    def __init__(self, console: Console, plan: Plan) -> None:
        """Show nothing yet."""
        from rich.progress import (
            BarColumn,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bar

        self._told, self._profile, self._phase = console, plan.profile, ""
        self.bar = Bar(
            _description()("{task.description}", markup=False),
            BarColumn(bar_width=10),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("about"),
            TimeRemainingColumn(compact=True, elapsed_when_finished=False),
            TextColumn("left"),
            console=console,
            transient=True,
            refresh_per_second=2,  # every refresh takes a core from what is timed
            disable=not console.is_terminal,
        )
        self._task = self.bar.add_task("starting", total=None, long=False)

    def planned(self, steps: list[Step]) -> None:
        """Set the bar's length: steps weighed by about how long they take."""
        self.bar.update(self._task, total=sum(self._weight(step) for step in steps))

    def started(self, step: Step) -> None:
        """Name the step that runs now."""
        phase = PHASES.get(step.kind) or f"round {step.round + 1} of {self._profile.rounds}"
        if phase != self._phase and not self._told.is_terminal:
            self._told.print(phase, highlight=False)
        self._phase = phase
        long = step.kind in LONG
        if long:
            tell("")
        self.bar.update(self._task, description=f"{phase:<20} {_what(step):<26.26}", long=long)

    def ended(self, step: Step, outcome: Outcome) -> None:
        """Move the bar; say at once what failed."""
        self.bar.advance(self._task, self._weight(step))
        if outcome.kind == "failed":
            from rich.markup import escape

            word = "[yellow]failed as expected[/]" if outcome.expected else "[red]failed[/]"
            fix = fix_of(outcome.error)
            said = f"{step.kind} {_what(step)}: {reason_of(outcome.error)}" + (
                f"\n  fix: {fix}" if fix else ""
            )
            self._told.print(
                word, escape(said), highlight=False, soft_wrap=True
            )  # `[cpu]` is a word, no colour

    def _weight(self, step: Step) -> float:
        if step.kind == "time":
            return self._profile.window_s + 0.5
        subject = step.subject
        emulated = isinstance(subject, Case) and subject.deployment.reached == "emulated"
        return 8.0 if step.kind == "score" and emulated else WEIGHTS.get(step.kind, 0.0)


def _description() -> Any:
    """Return the column that names the step; of a long one, what it says of itself."""
    from rich.progress import Task, TextColumn
    from rich.text import Text

    class Description(TextColumn):
        """`preparing            training: 40%, loss 0.12`."""

        def render(self, task: Task) -> Text:
            said = told() if task.fields["long"] else ""
            return Text(f"{task.description[:20]} {said:<26.26}") if said else super().render(task)

    return Description


def _what(step: Step) -> str:
    """Return what a step is about, short."""
    subject = step.subject
    if isinstance(subject, Case):
        return f"{subject.technique}, {subject.deployment.backend}"
    if isinstance(subject, Explained):
        return subject.technique
    if isinstance(subject, ArtifactSpec):
        return " > ".join(hop.use.name for hop in subject.way[1:] if hop.kind == "technique") or "float"
    return subject.split if isinstance(subject, DataSpec) else "anchor"


def nowhere(plan: Plan) -> list[tuple[str, str]]:
    """Return the techniques that have no cell in this run, each with the first reason why, a few of them.

    A mistake in a chain would otherwise look like a run that measured it.
    """
    told = {cell.technique for cell in plan.cells}
    found: dict[str, str] = {}
    for skip in plan.skips:
        case = skip.case
        if case.technique not in told and case.variant_of is None and DROPPED not in skip.reason:
            found.setdefault(case.technique, skip.reason)
    return list(found.items())[:FEW]


@contextmanager
def progress(plan: Plan, console: Console) -> Iterator[Progress]:
    """Show a run's progress while it lasts."""
    console.print(
        f"[bold]{plan.suite.name}[/], profile {plan.profile.name}: {len(plan.cells)} cells, "
        f"{len(plan.skips)} skipped, about {minutes(plan.estimate_s)}{if_needed(plan)}",
        highlight=False,
    )
    for technique, reason in nowhere(plan):
        said = f"nothing of {technique} can run: {reason}"
        console.print(said, highlight=False, markup=False, soft_wrap=True)
    shown = Progress(console, plan)
    with shown.bar:
        yield shown
