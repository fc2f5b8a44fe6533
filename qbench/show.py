"""What the terminal shows besides results: the plan and the lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qbench.cases import Case
from qbench.errors import UnknownName
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
        batch = _asked(case) + (", only if needed" if case.after else "")
        place = _place(case)
        table.add_row(_short(case), place, case.technique, " > ".join(hops) or "as it is", batch)
    told.print(table)
    if plan.skips:
        told.print(f"\n[bold]{len(plan.skips)} skipped[/]", highlight=False)
        skipped = _table("model", "engine", "technique", "why")
        for skip in plan.skips:
            skipped.add_row(_short(skip.case), _place(skip.case), skip.case.technique, skip.reason)
        told.print(skipped)
    if plan.missing and plan.narrowed:  # who asks for one engine does not ask for all that is elsewhere
        told.print(
            f"\n{len(plan.missing)} devices are not here: `qbench list hardware` says why", highlight=False
        )
    elif plan.missing:
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
        f"[bold]{minutes(plan.estimate_s)}[/]" + if_needed(plan),
        highlight=False,
    )


def if_needed(plan: Plan) -> str:
    """Return how much longer it takes if what waits for others is needed; "" where nothing waits."""
    return f", and {minutes(plan.if_needed_s)} more if they are needed" if plan.if_needed_s else ""


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
    from qbench.suite_file import load_suite
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
    capped = f", {placed.isa}" if placed.isa else ""
    return f"{batch}, {placed.threads} thr{streams}{capped}"


def _short(case: Case) -> str:
    return case.deployment.artifact.model.name.rsplit("/", 1)[-1]


def minutes(time_s: float) -> str:
    """Return how long, as a person would say it."""
    return f"{time_s:.0f} s" if time_s < 100 else f"{time_s / 60:.1f} min"
