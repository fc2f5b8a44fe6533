"""The commands: parse, plan, execute, summarise. Flags select and limit; everything else is suite data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from qbench.cli.options import (
    MEASURED,
    SOMETHING_FAILED,
    Backends,
    Budget,
    Data,
    Energy,
    Explain,
    Hardware,
    MemoryLimit,
    Meter,
    Models,
    Out,
    OutputKinds,
    Pages,
    Resume,
    Rounds,
    State,
    SuiteName,
    Techniques,
    Thoroughness,
    TimeLimit,
    app,
    console,
)  # fmt: skip
from qbench.cli.planning import (
    answer_with,
    execute_plan,
    find_data,
    limits_of,
    plan_of,
    selection_of,
    show_run,
    use_meter,
)


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
    energy: Energy = False,
    explain: Explain = False,
    meter: Meter = "",
    rounds: Rounds = 0,
    resume: Resume = False,
    time_limit: TimeLimit = "10m",
    memory_limit: MemoryLimit = "8GiB",
) -> None:
    """Measure a suite: prepare, check, score and time every cell; then write the page."""
    find_data(data)
    use_meter(meter)
    chosen = selection_of(model, technique, backend, budget, energy=energy, explain=explain)
    plan = plan_of(suite, hw, profile, chosen, rounds)
    execute_plan(plan, out, reports, limits_of(time_limit, memory_limit), resume=resume)


@app.command("try")
def try_model(
    model: Annotated[str, typer.Argument(help="Your float ONNX file.")],
    inputs: Annotated[Path, typer.Option("--inputs", "-i", help="An .npz file, one array per input.")],
    state: State = None,
    output_kind: OutputKinds = None,
    hw: Hardware = "all",
    profile: Thoroughness = "",
    technique: Techniques = None,
    backend: Backends = None,
    out: Out = Path("results"),
    reports: Pages = Path("reports"),
    energy: Energy = False,
    explain: Explain = False,
    meter: Meter = "",
    resume: Resume = False,
    time_limit: TimeLimit = "10m",
    memory_limit: MemoryLimit = "8GiB",
) -> None:
    """Measure your own model: agreement with its float form, latency, size, memory."""
    from qbench.records import OWN_TIME_S
    from qbench.run.own_model import for_network, own_suite
    from qbench.run.vet import vet

    own = own_suite(model, inputs, state or (), output_kind or ())
    asked = [name for name in own.suite.backends if not backend or name in backend]
    vet(own.suite.model[0], asked)
    suite, reasons, usual = for_network(own.suite, model, technique or ())
    if not profile:  # who asks for one has the time
        suite = replace(suite, budget_s=OWN_TIME_S)
    for sentence in (*own.said, *reasons):
        console().print(sentence, highlight=False, markup=False)
    use_meter(meter)
    chosen = selection_of(None, technique, backend, energy=energy, explain=explain)
    plan = plan_of(suite, hw, profile or usual, chosen)
    answer_with(plan, out, reports, limits_of(time_limit, memory_limit), resume=resume)


@app.command()
def requantize(
    model: Annotated[Path, typer.Argument(help="An ONNX file with QuantizeLinear and DequantizeLinear.")],
    to: Annotated[
        str, typer.Option("--to", help="s8s8, u8s8, symmetric, per_tensor, power_of_two, int4 or arm.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")],
) -> None:
    """Write the integers of a quantized file in another form, without its float network or any data."""
    from qbench.run.requantized import requantized

    for words in requantized(model, to, out):
        console().print(words, highlight=False, markup=False, soft_wrap=True)
    console().print(f"written  {out}", highlight=False, soft_wrap=True)


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
    energy: Energy = False,
    explain: Explain = False,
    meter: Meter = "",
) -> None:
    """Show what a run would do, what it would skip and why, and how long it would take."""
    from qbench.show import show_plan

    find_data(data)
    use_meter(meter)
    chosen = selection_of(model, technique, backend, budget, energy=energy, explain=explain)
    show_plan(plan_of(suite, hw, profile, chosen), console())


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
    results: Annotated[
        list[str] | None, typer.Argument(help="Results files, FILE:SESSION, or folders; none: this host's.")
    ] = None,
    reports: Pages = Path("reports"),
) -> None:
    """Write the page again from results on disk: the newest run of each suite, or the session named."""
    from qbench.report.sessions import newest_runs

    for found in newest_runs(results or [str(_own(Path("results")))]):
        show_run(found, reports)


def _own(results: Path) -> Path:
    """Return this host's folder, where it has one: a suite's name means the runs made here."""
    from qbench.run.host import host_name

    own = results / host_name()
    return own if own.is_dir() else results


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

    print_versus(run_named(before, _own(out)), run_named(after, _own(out)), console())
