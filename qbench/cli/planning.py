"""From words on the command line to a plan, and from a plan to results and a page."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from qbench.cli.options import MEASURED, SOMETHING_FAILED, console

if TYPE_CHECKING:
    from qbench.report.recommend import Recommendation
    from qbench.run.plan import Plan, Selection
    from qbench.run.protocol import Limits
    from qbench.run.session import Finished
    from qbench.store import Run
    from qbench.suite import Suite


def selection_of(
    model: list[str] | None,
    technique: list[str] | None,
    backend: list[str] | None,
    budget: str = "",
    *,
    energy: bool = False,
    explain: bool = False,
) -> Selection:
    """Return what the command line narrows a suite down to.

    Raises:
        BadParameter: a budget that is no duration.
    """
    from qbench.run.plan import Selection
    from qbench.units import parse_duration

    budget_s = parse_duration(budget, "--budget") if budget else None
    names = (tuple(model or ()), tuple(technique or ()), tuple(backend or ()))
    return Selection(*names, budget_s, energy, explain)


def use_meter(command: str) -> None:
    """Tell this process and its workers which command measures power."""
    if command:
        import os

        from qbench.meters.external import VARIABLE

        os.environ[VARIABLE] = command


def find_data(named: list[str] | None) -> None:
    """Tell this process and its workers where data sets lie.

    Raises:
        BadParameter: the option is not NAME=PATH, or names no data set that is read from files.
    """
    if named:
        from qbench.run.choose import place_data

        for one in named:
            place_data(one)


def limits_of(time_limit: str, memory_limit: str) -> Limits:
    """Return what one step may take.

    Raises:
        BadParameter: no duration, or no size.
    """
    from qbench.run.protocol import Limits
    from qbench.units import parse_duration, parse_size

    return Limits(parse_duration(time_limit, "--time-limit"), int(parse_size(memory_limit, "--memory-limit")))


def plan_of(suite: str | Suite, hw: str, profile: str, selection: Selection, rounds: int = 0) -> Plan:
    """Read the suite and the hardware profiles, ask the engines, and plan; see `make_plan`.

    `rounds` other than 0 replaces the profile's number.
    """
    from qbench.hardware import load_profiles
    from qbench.profile import profile_named
    from qbench.run.plan import check_names, make_plan
    from qbench.run.targets import reach
    from qbench.suite_file import load_suite

    loaded = load_suite(suite) if isinstance(suite, str) else suite
    check_names(loaded)  # before anything is asked of an engine
    thorough = profile_named(profile)
    thorough = replace(thorough, rounds=rounds or thorough.rounds)
    wanted = [name for name in loaded.backends if not selection.backends or name in selection.backends]
    return make_plan(loaded, thorough, reach(load_profiles(hw), wanted), selection)


def execute_plan(plan: Plan, out: Path, reports: Path, limits: Limits, *, resume: bool) -> None:
    """Run the plan, print its summary, write its page; exits with 1 where something failed unexpectedly."""
    finished = _executed(plan, out, reports, limits, resume=resume)
    show_run(finished.run, reports)
    bad = finished.tally.failed or finished.tally.collapsed
    raise typer.Exit(SOMETHING_FAILED if bad else MEASURED)


def answer_with(plan: Plan, out: Path, reports: Path, limits: Limits, *, resume: bool) -> None:
    """Run the plan of a user's own network and show its verdict; exits with 1 where there is none.

    One technique of many that fails or collapses is a finding, and no failure of the run.

    Raises:
        NoAnswer: the float network itself ran on no engine: there is nothing to compare with.
    """
    finished = _executed(plan, out, reports, limits, resume=resume)
    advice = [found for found in show_run(finished.run, reports) if found.here]
    answered = bool(advice) and all(found.kind != "nothing" for found in advice)
    raise typer.Exit(MEASURED if answered else SOMETHING_FAILED)


def _executed(plan: Plan, out: Path, reports: Path, limits: Limits, *, resume: bool) -> Finished:
    from qbench.progress import progress
    from qbench.run.session import execute

    told = console()
    has_cells(plan)
    can_write(reports)
    with progress(plan, told) as watcher:
        command = shlex.join(["qbench", *sys.argv[1:]])
        return execute(plan, out, watcher, limits, command=command, resume=resume)


def has_cells(plan: Plan) -> None:
    """Refuse a plan that measures nothing: its page would replace one that says something.

    Raises:
        BadSuite: every cell is skipped, or every device that was asked for is elsewhere.
    """
    from qbench.errors import BadSuite

    if plan.cells:
        return
    reasons = [one.reason for one in plan.skips] + [f"{m.hardware.name}: {m.reason}" for m in plan.missing]
    told = "; ".join(list(dict.fromkeys(reasons))[:3])
    raise BadSuite(
        f"nothing of suite {plan.suite.name} can be measured here: {told}",
        fix="see every reason with `qbench plan` and the same options, and what is here with "
        "`qbench list hardware`",
    )


def can_write(reports: Path) -> None:
    """Find out before anything is measured that the page has nowhere to go."""
    import tempfile

    from qbench.errors import CannotWrite

    try:
        reports.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=reports):
            return
    except OSError as error:
        raise CannotWrite(
            f"the page cannot be written to {reports}: {error.strerror or error}",
            fix="choose another folder with --reports DIR, or make this one writable",
        ) from error


def show_run(found: Run, reports: Path) -> tuple[Recommendation, ...]:
    """Hand over what a run recommends, print its summary, write its page, and say where all of it is.

    Raises:
        NoAnswer: it was of a user's own network, which ran on no engine: nothing is written.
    """
    from qbench.cli.delivery import deliver, refuse_without_source
    from qbench.report.page import write_report
    from qbench.report.recommend import recommend
    from qbench.report.select import select
    from qbench.report.summary import print_summary

    suite = found.session.suite + ("-narrowed" if found.session.narrowed else "")
    cells = select(found)
    refuse_without_source(cells)
    deliveries = deliver(found, cells, reports / suite)
    print_summary(found, console(), deliveries)
    written = write_report(found, reports / suite, deliveries)
    console().print(f"results  {found.path}", highlight=False, soft_wrap=True)
    console().print(f"report   {written['index.html']}", highlight=False, soft_wrap=True)
    return recommend(cells)
