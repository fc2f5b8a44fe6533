"""From a plan to a results file: begin a session or take up the last one, run, and say what became of it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from qbench.cases import Case
from qbench.errors import CannotWrite, NotAvailable, UnknownName
from qbench.folders import cache_folder, without_folders
from qbench.run.executor import Executor, Tally, Watcher
from qbench.run.host import host_name, new_session, now_utc
from qbench.run.launch import workers
from qbench.run.plan import Plan
from qbench.run.protocol import Limits
from qbench.store import Run, Store, read_runs, results_files

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """What a run left behind."""

    tally: Tally
    run: Run  # read back from disk: what is shown is what was stored


def execute(
    plan: Plan, out: Path, watcher: Watcher, limits: Limits, *, command: str, resume: bool
) -> Finished:
    """Run the plan into `<out>/<host>/<date>-<suite>.jsonl`, or go on where the last session of it stopped.

    Raises:
        CannotWrite: the results or the cache folder cannot be written; found before anything is loaded.
        UnknownName: `resume` without a session of this suite and profile on this host.
        NotAvailable: another run is measuring on this machine.
    """
    earlier = last_run(out, plan) if resume else None
    path = earlier.path if earlier else out / host_name() / f"{now_utc()[:10]}-{plan.suite.name}.jsonl"
    with device_lock(), Store(path) as store, workers() as servers:
        typed = without_folders(command)
        name, profile = plan.suite.name, plan.profile.name
        session = earlier.session if earlier else new_session(name, profile, typed, plan.narrowed)
        if not earlier:
            store.append(session)
        executor = Executor(plan, store, session.id, servers, watcher, limits, seed=int(session.id, 16))
        outcomes = {key: record.outcome for key, (record, _) in earlier.latest().items()} if earlier else {}
        tally = executor.run(outcomes)
    return Finished(tally, next(run for run in read_runs([path]) if run.session.id == session.id))


def last_run(out: Path, plan: Plan) -> Run:
    """Return the newest session of this suite and profile that was begun on this host.

    Raises:
        UnknownName: there is none, or the newest was made by another machine, other libraries or other code,
            or is a run of other cells.
    """
    wanted = (plan.suite.name, plan.profile.name, host_name())
    runs = [
        run
        for run in read_runs(results_files(out / host_name()))
        if (run.session.suite, run.session.profile, run.session.host) == wanted
    ]
    if not runs:
        raise UnknownName(
            f"nothing to resume: {out} holds no {plan.profile.name} run of {plan.suite.name} on this host",
            fix="leave --resume out, or name the folder with --out",
        )
    newest, now = runs[-1].session, new_session(*wanted[:2], "")
    for what in ("facts", "versions", "commit"):
        then, today = getattr(newest, what), getattr(now, what)
        if then != today:
            raise UnknownName(
                f"the last {plan.profile.name} run of {plan.suite.name} has other {what} than there are now: "
                f"{_what_differs(then, today)}",
                fix="leave --resume out: results of two states are not mixed in one run",
            )
    if _other_cells(runs[-1], {*plan.cells, *(skip.case for skip in plan.skips)}):
        raise UnknownName(
            f"the last {plan.profile.name} run of {plan.suite.name} was one of other cells "
            f"(narrowed to {newest.narrowed or 'nothing: the whole suite'})",
            fix="give --resume with the options of that run, or leave it out: rounds taken at other times "
            "are no rounds of one run",
        )
    return runs[-1]


def _what_differs(then: str | Pairs, today: str | Pairs) -> str:
    """Return the first thing that is not as it was, with both of its values."""
    if isinstance(then, str) or isinstance(today, str):
        return f"{then}, and {today} now"
    before, now = dict(then), dict(today)
    name = next(name for name in (*before, *now) if before.get(name) != now.get(name))
    return f"{name} {before.get(name, 'unknown')}, and {now.get(name, 'unknown')} now"


def _other_cells(run: Run, wanted: set[Case]) -> bool:
    """Tell whether the run was one of other cells; one that ended while it wrote its plan may lack some."""
    steps = [record.step for record in run.records]
    planned = {step.subject for step in steps if step.kind == "plan" and isinstance(step.subject, Case)}
    begun = any(step.kind != "plan" for step in steps)
    return bool(planned - wanted) or (begun and bool(wanted - planned))


@contextmanager
def device_lock() -> Iterator[None]:
    """Hold this machine's measuring lock: two runs at once would time each other.

    Raises:
        NotAvailable: another run holds it.
        CannotWrite: the cache folder cannot be written.
    """
    path = cache_folder() / "measuring.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise CannotWrite(
            f"the cache folder {path.parent} cannot be written: {error.strerror or error}",
            fix="set QBENCH_CACHE to a folder that can be written",
        ) from error
    try:
        _take(descriptor)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise NotAvailable(
            f"another qbench run (process {os.read(descriptor, 20).decode() or 'unknown'}) is measuring here",
            fix="wait for it: two runs at once would time each other",
        ) from error
    with suppress(OSError):  # on a full disk the lock holds as well; the number is a courtesy to the other
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
