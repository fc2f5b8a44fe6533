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
    SessionRounds,
    SuiteName,
    Thoroughness,
    app,
    console,
    say,
)
from qbench.cli.planning import has_cells, plan_of, selection_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qbench.gate.noise import Floor
    from qbench.gate.trials import Trial
    from qbench.run.plan import Plan
    from qbench.store import Run

SLOW_DOWNS = (0.02, 0.03, 0.05, 0.10, 0.20)

Sessions = Annotated[int, typer.Option("--sessions", min=1, help="Sessions, one after the other.")]


@app.command()
def aa(
    rounds: SessionRounds = 0,
    sessions: Sessions = 3,
    suite: SuiteName = "vision",
    hw: Hardware = "cpu",
    profile: Thoroughness = "gate",
    model: Models = None,
    backend: Backends = None,
    out: Out = Path("results"),
) -> None:
    """Measure float against itself: what this machine's noise is, metric by metric."""
    from qbench.gate.noise import FILE, floors_of, with_known, write_floors
    from qbench.gate.tell import tell_floors
    from qbench.run.host import host_name
    from qbench.run.twins import twins_of

    plan = twins_of(plan_of(suite, hw, profile, selection_of(model, None, backend)), rounds=rounds)
    runs: list[Run] = []
    written = out / host_name() / FILE
    floors: tuple[Floor, ...] = ()
    for run in _sessions(plan, out, sessions):
        runs.append(run)
        floors = with_known(floors_of(runs), written)
        write_floors(floors, written)  # a session that ended is never lost
    tell_floors(floors, console())
    say(f"results  {runs[-1].path}\nfloors   {written}")


@app.command()
def power(
    results: Annotated[
        list[Path] | None, typer.Argument(help="Results or power.json of before; none: measure now.")
    ] = None,
    rounds: SessionRounds = 0,
    sessions: Sessions = 10,
    suite: SuiteName = "vision",
    hw: Hardware = "cpu",
    profile: Thoroughness = "gate",
    model: Models = None,
    backend: Backends = None,
    out: Out = Path("results"),
    ledger: Annotated[
        Path | None,
        typer.Option("--ledger", help="Keep every trial here; measured ones: OUT/HOST/power.json."),
    ] = None,
) -> None:
    """Put slow-downs of 2 to 20 % into real sessions, quiet and beside a busy core: which are found?

    What was judged is kept, a few figures a round, and joins what earlier sessions left there.
    """
    from qbench.errors import BadFile, BadParameter
    from qbench.gate.ledger import FILE, joined, read_trials, write_trials
    from qbench.gate.power import power as judged
    from qbench.gate.tell import tell_power
    from qbench.gate.trials import trials_of
    from qbench.run.host import host_name

    if results and (rounds or model or backend):
        raise BadParameter(
            "--rounds, --model and --backend choose what is measured, and results were given instead",
            fix="leave them out, or leave the files out",
        )
    kept = ledger or (None if results else out / host_name() / FILE)
    known = read_trials(kept) if kept and kept.exists() else ()  # a torn one costs nothing yet
    trials = joined(known, _trials_in(results or []))
    if not results:
        base = plan_of(suite, hw, profile, selection_of(model, None, backend))
        for run in _power_sessions(base, rounds, out, sessions):
            trials = joined(trials, trials_of([run]))
            if kept:
                write_trials(trials, kept)  # a session that ended is never lost
    if not trials:
        named = ", ".join(map(str, results or [out]))
        raise BadFile(f"no float file is measured against itself in {named}", fix="run `qbench power`")
    tell_power(judged(trials), console())
    if kept:
        if results:
            write_trials(trials, kept)
        say(f"ledger   {kept}")


def _trials_in(paths: list[Path]) -> tuple[Trial, ...]:
    """Return the trials of results, folders of them, and ledgers."""
    from qbench.gate.ledger import joined, read_trials
    from qbench.gate.trials import trials_of
    from qbench.store import read_runs, results_files

    kept: tuple[Trial, ...] = ()
    for path in paths:
        if path.suffix == ".json":
            kept = joined(kept, read_trials(path))
    raw = (file for path in paths if path.suffix != ".json" for file in results_files(path))
    return joined(kept, trials_of(read_runs(raw)))


def _power_sessions(base: Plan, rounds: int, out: Path, sessions: int) -> Iterator[Run]:
    """Measure quiet sessions, and as many beside a process that loads a core.

    Raises:
        BadParameter: so few rounds that the test could fail none of a night's comparisons.
    """
    from qbench.errors import BadParameter
    from qbench.gate.detect import least_rounds
    from qbench.run.neighbour import busy_neighbour
    from qbench.run.twins import twins_of

    quiet = twins_of(base, SLOW_DOWNS, rounds, "power-quiet")
    night = sum(case.role == "fp32" for case in quiet.cells)
    if quiet.profile.rounds < (needed := least_rounds(night)):
        raise BadParameter(
            f"{quiet.profile.rounds} rounds can find no slow-down among the {night} comparisons of a night",
            fix=f"give --rounds {needed} or more, or leave it out",
        )
    yield from _sessions(quiet, out, sessions)
    with busy_neighbour():
        yield from _sessions(twins_of(base, SLOW_DOWNS, rounds, "power-beside-a-busy-core"), out, sessions)


def _sessions(plan: Plan, out: Path, count: int) -> Iterator[Run]:
    """Measure the plan so many times; every session starts its own processes."""
    from qbench.progress import progress
    from qbench.run.protocol import Limits
    from qbench.run.session import execute

    has_cells(plan)
    command = shlex.join(["qbench", *sys.argv[1:]])
    for number in range(1, count + 1):
        if count > 1:
            console().print(f"session {number} of {count}", highlight=False)
        with progress(plan, console()) as watcher:
            finished = execute(plan, out, watcher, Limits(), command=command, resume=False)
        if finished.tally.failed:
            raise typer.Exit(SOMETHING_FAILED)  # what ended is on disk; half a session is judged by nobody
        yield finished.run


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
    say(f"results  {run.path}\nlimits   {written}")
