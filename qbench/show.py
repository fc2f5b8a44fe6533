"""What the terminal shows besides results: the plan, the lists, and the progress of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from qbench.cases import ArtifactSpec, Case, DataSpec, Step
from qbench.errors import UnknownName
from qbench.records import Outcome
from qbench.registry import Registry, did_you_mean

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from qbench.run.plan import Plan


NARROW = 100  # columns of a terminal


def show_plan(plan: Plan, told: Console) -> None:
    """Print cells, skips with their reasons, and the estimate."""
    told.print(
        f"[bold]{plan.suite.name}[/], profile {plan.profile.name}: {plan.suite.about}", highlight=False
    )
    table = _table("model", "engine", "technique", "way", "batch")
    if told.width < NARROW:
        table.columns[3].max_width = 20  # its words are long, and would push the last column off the screen
    for case in plan.cells:
        hops = [str(hop) for hop in case.deployment.artifact.way[1:]]
        batch = _asked(case)
        place = _place(case)
        table.add_row(_short(case), place, case.technique, " > ".join(hops) or "as it is", batch)
    told.print(table)
    if plan.skips:
        told.print(f"\n[bold]{len(plan.skips)} skipped[/]", highlight=False)
        skipped = _table("model", "engine", "technique", "why")
        for skip in plan.skips:
            skipped.add_row(_short(skip.case), _place(skip.case), skip.case.technique, skip.reason)
        told.print(skipped)
    if plan.missing:
        told.print(f"\n[bold]{len(plan.missing)} devices are not here[/]", highlight=False)
        missing = _table("hardware", "why")
        for one in plan.missing:
            missing.add_row(one.hardware.name, one.reason)
        told.print(missing)
    if plan.left_out:
        told.print(
            f"\n{plan.left_out} cells that the suite ranks lower are left to a longer profile",
            highlight=False,
        )
    profile = plan.profile
    told.print(
        f"\n{len(plan.cells)} cells, {profile.rounds} rounds of {profile.window_s:g} s: about "
        f"[bold]{_minutes(plan.estimate_s)}[/]",
        highlight=False,
    )


def show_list(what: str, told: Console) -> None:
    """Print one kind of thing, or all kinds.

    Raises:
        UnknownName: there is no such kind.
    """
    kinds = {
        "suites": _suites, "models": _models, "techniques": _techniques, "backends": _backends,
        "tasks": _tasks, "data": _data, "hardware": _hardware, "profiles": _profiles, "metrics": _metrics,
    }  # fmt: skip
    what = {"hw": "hardware", "engines": "backends"}.get(what, what)
    if what not in ("all", *kinds):
        raise UnknownName(f"qbench has no list of {what!r}", fix=did_you_mean(what, ["all", *kinds]))
    for name, table in kinds.items():
        if what in ("all", name):
            told.print(f"\n[bold]{name}[/]")
            told.print(table())


def _suites() -> Table:
    from qbench.suite import load_suite
    from qbench.toml_file import names_of

    table = _table("name", "what it asks", "file")
    for name, path in sorted(names_of("suites").items()):
        table.add_row(name, load_suite(name).about, str(path))
    return table


def _models() -> Table:
    from qbench.models.base import MODELS

    return _plugins(MODELS, lambda model: str(model.task))


def _techniques() -> Table:
    from dataclasses import fields

    from qbench.strategies.base import STRATEGIES

    return _plugins(STRATEGIES, lambda kind: ", ".join(f"{f.name}={f.default}" for f in fields(kind)) or "-")


def _backends() -> Table:
    from qbench.backends.base import BACKENDS

    return _plugins(BACKENDS, lambda kind: "runs " + ", ".join(sorted(kind.runs)))


def _tasks() -> Table:
    from dataclasses import fields

    from qbench.tasks.base import TASKS

    return _plugins(TASKS, lambda kind: ", ".join(f"{f.name}={f.default}" for f in fields(kind)) or "-")


def _data() -> Table:
    from qbench.data.base import DATASETS

    table = _table("name", "what it is", "test items")
    for name in DATASETS:
        table.add_row(name, DATASETS[name].origin, f"{DATASETS[name].sizes['test']:,}")
    return table


def _hardware() -> Table:
    from rich.markup import escape

    from qbench.hardware import load_profiles, standing
    from qbench.machine import machine

    here = machine()
    table = _table("name", "what it is", "usable from here")
    rows = [(profile, standing(profile, here)) for profile in load_profiles("all")]
    for profile, stands in sorted(rows, key=lambda row: ("here", "attached", "missing").index(row[1].kind)):
        lines = [f"{stands.kind}: {stands.reason}" if stands.reason else stands.kind]
        if stands.kind == "here":
            lines += _engines(profile.backends, profile.device)
        elif stands.kind == "attached":
            lines += profile.backends  # asked over there, when a run starts
        table.add_row(profile.name, escape(profile.title), escape("\n".join(lines)))
    return table


def _engines(names: list[str], device: str) -> list[str]:
    """Return a line an engine: what it can do on this machine's device, or why it cannot."""
    from qbench.backends.base import BACKENDS
    from qbench.run.probe import probe_all

    probes = probe_all([name for name in names if name in BACKENDS])
    answers = {name: probe.on(device) for name, probe in probes.items()}
    lines = [f"{name}: {answer.absent or ', '.join(answer.abilities)}" for name, answer in answers.items()]
    return lines + [f"{name}: no such plug-in is installed" for name in names if name not in answers]


def _profiles() -> Table:
    from qbench.profile import PROFILES

    table = _table("name", "rounds", "window", "scored at most", "threads")
    for profile in PROFILES.values():
        scored = "all" if profile.max_scored > 100_000 else f"{profile.max_scored:,}"
        threads = "one" if profile.one_thread else "all"
        table.add_row(profile.name, str(profile.rounds), f"{profile.window_s:g} s", scored, threads)
    return table


def _metrics() -> Table:
    from qbench.metrics import CATALOGUE

    table = _table("name", "unit", "better", "what it means")
    for metric in CATALOGUE.values():
        table.add_row(metric.name, metric.unit, metric.better, metric.means)
    return table


def _plugins(registry: Registry[Any], detail: Callable[[Any], str]) -> Table:
    table = _table("name", "what it is", "details")
    for name in registry:
        table.add_row(name, registry[name].about, detail(registry[name]))
    for name, reason in sorted(registry.failures.items()):
        table.add_row(name, "[red]cannot be loaded[/]", reason)
    return table


def _table(*heads: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for head in heads:
        table.add_column(head, overflow="fold")
    return table


def _place(case: Case) -> str:
    """Return engine and device."""
    placed = case.deployment
    return f"{placed.backend} {placed.hardware or placed.device}"


def _asked(case: Case) -> str:
    """Return the scenario in a few words."""
    name, batch, placed = case.scenario.name, case.scenario.batch, case.deployment
    if name in ("scored", "counted"):
        return f"{name} only"
    streams = f", {placed.streams} streams" if name == "saturated" else ""
    return f"{batch}, {placed.threads} thr{streams}"


def _short(case: Case) -> str:
    return case.deployment.artifact.model.name.rsplit("/", 1)[-1]


def _minutes(time_s: float) -> str:
    return f"{time_s:.0f} s" if time_s < 100 else f"{time_s / 60:.1f} min"


# --- progress -------------------------------------------------------------------------------------


PHASES = {
    "data": "examples",
    "prepare": "preparing",
    "score": "checking and scoring",
    "count": "counting instructions",
    "deploy": "loading",
    "energy": "measuring energy",
}
WEIGHTS = {
    "anchor": 0.4,
    "prepare": 3.0,
    "data": 2.0,
    "score": 1.0,
    "count": 3.5,
    "deploy": 1.0,
    "energy": 16.0,
}  # s, about


class Progress:
    """Tells a terminal how a run goes; a log gets a line a phase instead of a bar."""

    def __init__(self, told: Console, plan: Plan) -> None:
        """Show nothing yet."""
        from rich.progress import (
            BarColumn,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bar

        self._told, self._profile, self._phase = told, plan.profile, ""
        self.bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=10),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("about"),
            TimeRemainingColumn(compact=True, elapsed_when_finished=False),
            TextColumn("left"),
            console=told,
            transient=True,
            refresh_per_second=2,  # every refresh takes a core from what is timed
            disable=not told.is_terminal,
        )
        self._task = self.bar.add_task("starting", total=None)
        self._failed = 0

    def planned(self, steps: list[Step]) -> None:
        """Set the bar's length: steps weighed by about how long they take."""
        self.bar.update(self._task, total=sum(self._weight(step) for step in steps))

    def started(self, step: Step) -> None:
        """Name the step that runs now."""
        phase = PHASES.get(step.kind) or f"round {step.round + 1} of {self._profile.rounds}"
        if phase != self._phase and not self._told.is_terminal:
            self._told.print(phase, highlight=False)
        self._phase = phase
        self.bar.update(self._task, description=f"{phase:<20} {_what(step):<26.26}")

    def ended(self, step: Step, outcome: Outcome) -> None:
        """Move the bar; say at once what failed."""
        self.bar.advance(self._task, self._weight(step))
        if outcome.kind == "failed":
            word = "[yellow]failed as expected[/]" if outcome.expected else "[red]failed[/]"
            self._told.print(word, f"{step.kind} {_what(step)}: {outcome.error}", highlight=False)

    def _weight(self, step: Step) -> float:
        if step.kind == "time":
            return self._profile.window_s + 0.5
        subject = step.subject
        emulated = isinstance(subject, Case) and subject.deployment.reached == "emulated"
        return 8.0 if step.kind == "score" and emulated else WEIGHTS.get(step.kind, 0.0)


def _what(step: Step) -> str:
    """Return what a step is about, short."""
    subject = step.subject
    if isinstance(subject, Case):
        return f"{subject.technique}, {subject.deployment.backend}"
    if isinstance(subject, ArtifactSpec):
        return " > ".join(hop.use.name for hop in subject.way[1:] if hop.kind == "technique") or "float"
    return subject.split if isinstance(subject, DataSpec) else "anchor"


@contextmanager
def progress(plan: Plan, told: Console) -> Iterator[Progress]:
    """Show a run's progress while it lasts."""
    told.print(
        f"[bold]{plan.suite.name}[/], profile {plan.profile.name}: {len(plan.cells)} cells, "
        f"{len(plan.skips)} skipped, about {_minutes(plan.estimate_s)}",
        highlight=False,
    )
    shown = Progress(told, plan)
    with shown.bar:
        yield shown
