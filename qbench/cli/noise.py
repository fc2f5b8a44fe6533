"""The commands that measure this machine instead of a network: its noise, and what a detector finds in it."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qbench.cli.options import (
    SOMETHING_FAILED,
    Backends,
    Hardware,
    Models,
    Out,
    Rounds,
    SuiteName,
    Thoroughness,
    app,
    console,
)
from qbench.cli.planning import has_cells, plan_of, selection_of

if TYPE_CHECKING:
    from qbench.run.plan import Plan
    from qbench.store import Run

SLOW_DOWNS = (0.02, 0.03, 0.05, 0.10, 0.20)

Sessions = Annotated[int, typer.Option("--sessions", min=1, help="Sessions, one after the other.")]


@app.command()
def aa(
    rounds: Rounds = 0,
    sessions: Sessions = 1,
    suite: SuiteName = "vision",
    hw: Hardware = "cpu",
    profile: Thoroughness = "gate",
    model: Models = None,
    backend: Backends = None,
    out: Out = Path("results"),
) -> None:
    """Measure float against itself: what this machine's noise is, metric by metric."""
    from qbench.gate.noise import FILE, floors_of, write_floors
    from qbench.gate.tell import tell_floors
    from qbench.run.twins import twins_of

    plan = twins_of(plan_of(suite, hw, profile, selection_of(model, None, backend)), rounds=rounds)
    runs = _sessions(plan, out, sessions)
    floors = floors_of(runs)
    written = runs[-1].path.parent / FILE
    write_floors(floors, written)
    tell_floors(floors, console())
    console().print(f"results  {runs[-1].path}\nfloors   {written}", highlight=False)


@app.command()
def power(
    results: Annotated[
        list[Path] | None, typer.Argument(help="Sessions measured before; none: measure them now.")
    ] = None,
    rounds: Rounds = 0,
    sessions: Sessions = 10,
    suite: SuiteName = "vision",
    hw: Hardware = "cpu",
    profile: Thoroughness = "gate",
    model: Models = None,
    backend: Backends = None,
    out: Out = Path("results"),
) -> None:
    """Put slow-downs of 2 to 20 % into real sessions, quiet and beside a busy core: which are found?"""
    from qbench.errors import BadFile
    from qbench.gate.power import power as judged
    from qbench.gate.tell import tell_power
    from qbench.gate.trials import trials_of
    from qbench.store import read_runs, results_files

    runs = read_runs(file for path in results or () for file in results_files(path))
    if not results:
        from qbench.run.neighbour import busy_neighbour
        from qbench.run.twins import twins_of

        base = plan_of(suite, hw, profile, selection_of(model, None, backend))
        runs = _sessions(twins_of(base, SLOW_DOWNS, rounds, "power-quiet"), out, sessions)
        with busy_neighbour():
            runs += _sessions(twins_of(base, SLOW_DOWNS, rounds, "power-beside-a-busy-core"), out, sessions)
    trials = trials_of(runs)
    if not trials:
        named = ", ".join(map(str, results or [out]))
        raise BadFile(f"no float file is measured against itself in {named}", fix="run `qbench power`")
    tell_power(judged(trials), console())


def _sessions(plan: Plan, out: Path, count: int) -> list[Run]:
    """Measure the plan so many times; every session starts its own processes."""
    from qbench.run.protocol import Limits
    from qbench.run.session import execute
    from qbench.show import progress

    has_cells(plan)
    command, runs = shlex.join(["qbench", *sys.argv[1:]]), []
    for number in range(1, count + 1):
        if count > 1:
            console().print(f"session {number} of {count}", highlight=False)
        with progress(plan, console()) as watcher:
            finished = execute(plan, out, watcher, Limits(), command=command, resume=False)
        if finished.tally.failed:
            raise typer.Exit(SOMETHING_FAILED)  # what ended is on disk; half a session is judged by nobody
        runs.append(finished.run)
    return runs


@app.command()
def probe(
    hw: Hardware = "cpu",
    profile: Thoroughness = "quick",
    backend: Backends = None,
    out: Out = Path("results"),
) -> None:
    """Measure what this device can sustain: products per number format and engine, and bytes copied."""
    from dataclasses import replace

    from qbench.cases import COPY
    from qbench.gate.tell import tell_limits
    from qbench.report.limits import FILE, PROBE, joined, limits_beside, limits_of, write_limits

    plan = plan_of(PROBE, hw, profile, selection_of(None, None, backend))
    (run,) = _sessions(replace(plan, kernels=(*plan.kernels, COPY)), out, 1)
    limits = joined(limits_of(run), limits_beside(run.path, run.session.host))
    written = run.path.parent / FILE
    write_limits(limits, written)
    tell_limits(limits, console())
    console().print(f"results  {run.path}\nlimits   {written}", highlight=False)
