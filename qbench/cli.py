"""The command line: parse, plan, execute, summarise. Flags select and limit; everything else is suite data.

Nothing heavy is imported at the top: `qbench --help` must answer at once.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from qbench.run.plan import Plan, Selection
    from qbench.run.protocol import Limits
    from qbench.store import Run
    from qbench.suite import Suite

MEASURED, SOMETHING_FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130

app = typer.Typer(
    help="Which quantization technique to ship on which hardware, what it gains, what it loses, how sure.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SuiteName = Annotated[str, typer.Option("--suite", "-s", help="A suite's name, or a path to a .toml file.")]
Hardware = Annotated[
    str, typer.Option("--hw", help="`all`, or names with commas: `cpu,cuda,arm`, or profiles.")
]
Thoroughness = Annotated[str, typer.Option("--profile", "-p", help="quick, standard, gate or rigorous.")]
Models = Annotated[list[str] | None, typer.Option("--model", "-m", help="Only this model; may be repeated.")]
Techniques = Annotated[list[str] | None, typer.Option("--technique", "-t", help="Only this one, and float.")]
Backends = Annotated[
    list[str] | None, typer.Option("--backend", "-b", help="Only this engine; may be repeated.")
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Where results go.")]
Pages = Annotated[Path, typer.Option("--reports", help="Where the page goes.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where the last run of this suite stopped.")]
TimeLimit = Annotated[str, typer.Option("--time-limit", help="What one step may take: `10m`.")]
Budget = Annotated[
    str, typer.Option("--budget", help="Drop cells by the suite's ranking to end within: `20m`.")
]
Data = Annotated[
    list[str] | None, typer.Option("--data", help="Where a data set lies: `cifar10=PATH`; may be repeated.")
]
MemoryLimit = Annotated[str, typer.Option("--memory-limit", help="What one step may hold: `8GiB`.")]


@app.command()
def run(
    suite: SuiteName = "vision",
    hw: Hardware = "all",
    profile: Thoroughness = "quick",
    model: Models = None,
    technique: Techniques = None,
    backend: Backends = None,
    out: Out = Path("results"),
    reports: Pages = Path("reports"),
    budget: Budget = "",
    data: Data = None,
    resume: Resume = False,
    time_limit: TimeLimit = "10m",
    memory_limit: MemoryLimit = "8GiB",
) -> None:
    """Measure a suite: prepare, check, score and time every cell; then write the page."""
    _find_data(data)
    plan = _plan(suite, hw, profile, _selection(model, technique, backend, budget))
    _execute(plan, out, reports, _limits(time_limit, memory_limit), resume=resume)


@app.command("try")
def try_model(
    model: Annotated[str, typer.Argument(help="Your float ONNX file.")],
    inputs: Annotated[Path, typer.Option("--inputs", "-i", help="An .npz file, one array per input.")],
    hw: Hardware = "all",
    profile: Thoroughness = "quick",
    technique: Techniques = None,
    backend: Backends = None,
    out: Out = Path("results"),
    reports: Pages = Path("reports"),
    resume: Resume = False,
    time_limit: TimeLimit = "10m",
    memory_limit: MemoryLimit = "8GiB",
) -> None:
    """Measure your own model: agreement with its float form, latency, size, memory."""
    from qbench.run.own_model import own_suite

    suite = own_suite(model, inputs)
    plan = _plan(suite, hw, profile, _selection(None, technique, backend))
    _execute(plan, out, reports, _limits(time_limit, memory_limit), resume=resume)


@app.command()
def plan(
    suite: SuiteName = "vision",
    hw: Hardware = "all",
    profile: Thoroughness = "quick",
    model: Models = None,
    technique: Techniques = None,
    backend: Backends = None,
    budget: Budget = "",
    data: Data = None,
) -> None:
    """Show what a run would do, what it would skip and why, and how long it would take."""
    from qbench.show import show_plan

    _find_data(data)
    show_plan(_plan(suite, hw, profile, _selection(model, technique, backend, budget)), console())


@app.command("list")
def list_plugins(
    what: Annotated[str, typer.Argument(help="One kind only: techniques, backends, models, ...")] = "all",
) -> None:
    """Show suites, models, techniques, engines, tasks, data sets, hardware and metrics."""
    from qbench.show import show_list

    show_list(what, console())


@app.command()
def doctor() -> None:
    """Say what this machine and this installation can do, and what is missing and why."""
    from qbench.doctor import examine

    raise typer.Exit(SOMETHING_FAILED if examine(console()) else MEASURED)


@app.command()
def report(
    results: Annotated[list[Path] | None, typer.Argument(help="Results files or folders.")] = None,
    reports: Pages = Path("reports"),
) -> None:
    """Write the page again from results on disk: the newest run of each suite."""
    from qbench.errors import BadFile
    from qbench.report.writers import print_summary
    from qbench.store import read_runs, results_files

    files = [file for path in results or [Path("results")] for file in results_files(path)]
    newest = {run.session.suite: run for run in read_runs(files) if run.records}
    if not newest:
        where = ", ".join(str(path) for path in results or [Path("results")])
        raise BadFile(f"there are no results in {where}", fix="run `qbench run --suite vision` first")
    for found in newest.values():
        print_summary(found, console())
        _write_page(found, reports)


@app.command()
def compare(
    before: Annotated[
        str,
        typer.Argument(help="A results file, FILE:SESSION, or a suite's name (SUITE~1: one run earlier)."),
    ],
    after: Annotated[str, typer.Argument(help="The run to hold against it.")],
    out: Annotated[Path, typer.Option("--results", help="Where runs of a suite are looked for.")] = Path(
        "results"
    ),
) -> None:
    """Hold two runs against each other: what got better, what got worse, what cannot be told."""
    from qbench.report.sessions import run_named
    from qbench.report.versus import print_versus

    print_versus(run_named(before, out), run_named(after, out), console())


def main() -> None:
    """Run the command line; every error of the user's ends in its message and exit code 2."""
    from qbench.errors import OutOfRoom, QbenchError

    try:
        code = app(standalone_mode=False)  # without its own error handling, typer returns the exit code
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        sys.exit(code)
    except QbenchError as error:
        from rich.markup import escape

        told = console(stderr=True)
        told.print(f"[bold red]{type(error).__name__}[/]: {escape(error.problem)}", highlight=False)
        told.print(f"  [bold]fix:[/] {escape(error.fix)}", highlight=False)
        sys.exit(SOMETHING_FAILED if isinstance(error, OutOfRoom) else WRONG_USAGE)
    except (KeyboardInterrupt, typer.Abort):
        console(stderr=True).print("stopped; everything that had ended is on disk: go on with --resume")
        sys.exit(INTERRUPTED)
    except Exception as error:
        _usage_error(error)


def _usage_error(error: Exception) -> None:
    """Show what the parser says of a wrong flag; anything else is a bug and keeps its traceback."""
    show, code = getattr(error, "show", None), getattr(error, "exit_code", None)
    if show is None or code is None:
        raise error
    show()
    sys.exit(WRONG_USAGE)


def console(*, stderr: bool = False) -> Console:
    """Return the terminal; where output is piped it is as wide as a table needs."""
    from rich.console import Console

    return Console(stderr=stderr, width=None if sys.stdout.isatty() else 120)


def _selection(
    model: list[str] | None, technique: list[str] | None, backend: list[str] | None, budget: str = ""
) -> Selection:
    from qbench.run.plan import Selection
    from qbench.units import parse_duration

    budget_s = parse_duration(budget, "--budget") if budget else None
    return Selection(tuple(model or ()), tuple(technique or ()), tuple(backend or ()), budget_s)


def _find_data(named: list[str] | None) -> None:
    """Tell this process and its workers where data sets lie.

    Raises:
        BadParameter: the option is not NAME=PATH, or names no data set that is read from files.
    """
    if named:
        from qbench.run.choose import place_data

        for one in named:
            place_data(one)


def _limits(time_limit: str, memory_limit: str) -> Limits:
    from qbench.run.protocol import Limits
    from qbench.units import parse_duration, parse_size

    return Limits(parse_duration(time_limit, "--time-limit"), int(parse_size(memory_limit, "--memory-limit")))


def _plan(suite: str | Suite, hw: str, profile: str, selection: Selection) -> Plan:
    from qbench.hardware import load_profiles
    from qbench.profile import profile_named
    from qbench.run.plan import check_names, make_plan
    from qbench.run.targets import reach
    from qbench.suite import load_suite

    loaded = load_suite(suite) if isinstance(suite, str) else suite
    check_names(loaded)  # before anything is asked of an engine
    thorough = profile_named(profile)
    wanted = [name for name in loaded.backends if not selection.backends or name in selection.backends]
    return make_plan(loaded, thorough, reach(load_profiles(hw), wanted), selection)


def _execute(plan: Plan, out: Path, reports: Path, limits: Limits, *, resume: bool) -> None:
    from qbench.report.writers import print_summary
    from qbench.run.session import execute
    from qbench.show import progress

    told = console()
    _can_write(reports)
    with progress(plan, told) as watcher:
        command = shlex.join(["qbench", *sys.argv[1:]])
        finished = execute(plan, out, watcher, limits, command=command, resume=resume)
    print_summary(finished.run, told)
    _write_page(finished.run, reports)
    bad = finished.tally.failed or finished.tally.collapsed
    raise typer.Exit(SOMETHING_FAILED if bad else MEASURED)


def _can_write(reports: Path) -> None:
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


def _write_page(found: Run, reports: Path) -> None:
    from qbench.report.page import write_report

    suite = found.session.suite
    written = write_report(found, reports / suite)
    console().print(f"results  {found.path}\nreport   {written['index.html']}", highlight=False)
