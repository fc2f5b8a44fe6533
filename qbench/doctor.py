"""`qbench doctor`: what is here, what is missing or broken, and how to mend it."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from importlib.metadata import distributions
from typing import TYPE_CHECKING

from qbench.folders import cache_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

LOW_DISK_BYTES = 2 << 30  # the rendered test images and the artifacts of a standard run take about half of it


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, how it is, and for a problem how to mend it."""

    level: str  # ok, note, problem
    what: str
    found: str
    fix: str = ""


def examine(told: Console) -> int:
    """Print every finding; return how many are problems."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for head in ("", "what", "found"):
        table.add_column(head, overflow="fold")
    problems = 0
    marks = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "problem": "[red]problem[/]"}
    for finding in findings():
        problems += finding.level == "problem"
        fix = f"\n[bold]fix:[/] {escape(finding.fix)}" if finding.fix else ""
        table.add_row(marks[finding.level], finding.what, escape(finding.found) + fix)
    told.print(table)
    told.print(
        f"\n{problems} problem{'s' * (problems != 1)}" if problems else "\nready to measure", highlight=False
    )
    return problems


def findings() -> Iterator[Finding]:
    """Look at the machine, the libraries, the engines, the plug-ins and the folders."""
    yield from _machine()
    yield from _engines()
    yield from _plugins()
    yield from _weights()
    yield from _folders()


def _machine() -> Iterator[Finding]:
    from qbench.meters.base import best_meter, why_unavailable
    from qbench.run.host import clock_reading_ns, host_facts, versions

    facts = dict(host_facts())
    for name in ("processor", "instruction sets", "cores usable", "system", "python"):
        if name in facts:
            yield Finding("ok", name, facts[name])
    yield Finding("ok", "clock", f"{facts['clock']}; a reading takes {clock_reading_ns():.0f} ns")
    load = os.getloadavg()[0]
    busy = load > 0.5 * (os.cpu_count() or 1)
    yield Finding(
        "note" if busy else "ok", "load average", f"{load:.2f}",
        "close other programs before measuring: a busy neighbour moves every ratio" if busy else "",
    )  # fmt: skip
    meter = best_meter("cpu")
    yield Finding("ok" if meter else "note", "energy", meter.about if meter else why_unavailable())
    yield Finding("ok", "versions", ", ".join(f"{name} {version}" for name, version in versions()))


def _engines() -> Iterator[Finding]:
    from qbench.hardware import load_profiles, standing
    from qbench.machine import machine
    from qbench.run.probe import probe_all

    names = {(d.metadata["Name"] or "").lower() for d in distributions()}
    twice = {"onnxruntime", "onnxruntime-gpu"}
    if twice <= names:
        yield Finding(
            "problem", "onnxruntime", "installed twice: onnxruntime and onnxruntime-gpu share one folder",
            "pip uninstall onnxruntime onnxruntime-gpu, then install one of them again",
        )  # fmt: skip
    here = machine()
    for profile in [profile for profile in load_profiles("all") if standing(profile, here).kind == "here"]:
        for backend, probe in probe_all(profile.backends, again=True).items():
            answer = probe.on(profile.device)
            what = f"{backend} {probe.version} on {profile.name}"
            broken = probe.absent is not None
            level = "problem" if broken else "note" if answer.absent else "ok"
            fix = probe.fix if broken else ""
            yield Finding(level, what, answer.absent or f"can do {', '.join(answer.abilities)}", fix)


def _plugins() -> Iterator[Finding]:
    from qbench.backends.base import BACKENDS
    from qbench.data.base import DATASETS
    from qbench.models.base import MODELS
    from qbench.strategies.base import STRATEGIES
    from qbench.tasks.base import TASKS

    for registry in (STRATEGIES, BACKENDS, TASKS, MODELS, DATASETS):
        names = list(registry)
        yield Finding("ok", f"{registry.kind} plug-ins", ", ".join(names))
        for name, reason in sorted(registry.failures.items()):
            yield Finding("problem", f"{registry.kind} {name}", reason, "repair or remove that file")


def _weights() -> Iterator[Finding]:
    from qbench.errors import QbenchError
    from qbench.models.base import MODELS

    for name in MODELS:
        try:
            yield Finding("ok", f"weights of {name}", f"content {MODELS[name].content()}")
        except QbenchError as error:
            yield Finding("problem", f"weights of {name}", error.problem, error.fix)


def _folders() -> Iterator[Finding]:
    cache = cache_folder()
    parent = next(folder for folder in (cache, *cache.parents) if folder.exists())
    if not os.access(parent, os.W_OK):
        yield Finding(
            "problem", "cache", f"{cache} cannot be written", "set QBENCH_CACHE to a folder that can"
        )
        return
    free = shutil.disk_usage(parent).free
    low = free < LOW_DISK_BYTES
    yield Finding(
        "problem" if low else "ok", "cache", f"{cache}, {free / 1e9:.1f} GB free",
        "make room, or set QBENCH_CACHE to a folder on another disk" if low else "",
    )  # fmt: skip
