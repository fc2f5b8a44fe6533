"""The words of the command line: options that commands share, exit codes, and the terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

MEASURED, SOMETHING_FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130
EXIT_CODES = """Exit codes:

0: it did what was asked. `try` answered: a technique or float is recommended, whatever single ones did.

1: it could not. `try`: nothing can be recommended, or the network itself does not run. `run`, `aa`, \
`power`, `probe`: something failed or collapsed that the suite does not expect. `doctor`: a problem. \
Or a full disk.

2: it did not begin: a wrong option or name, or a file that qbench cannot take. The message has the fix.

130: interrupted; what had ended is on disk.
"""

app = typer.Typer(
    help="Which quantization technique to ship on which hardware, what it gains, what it loses, how sure.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SuiteName = Annotated[str, typer.Option("--suite", "-s", help="A suite's name, or a path to a .toml file.")]
Hardware = Annotated[
    str, typer.Option("--hw", help="`all`, or names with commas: `cpu,cuda,arm`, or profiles.")
]
Thoroughness = Annotated[
    str, typer.Option("--profile", "-p", help="brief, quick, standard, gate or rigorous.")
]
Models = Annotated[list[str] | None, typer.Option("--model", "-m", help="Only this model; may be repeated.")]
Techniques = Annotated[list[str] | None, typer.Option("--technique", "-t", help="Only this one, and float.")]
Backends = Annotated[
    list[str] | None, typer.Option("--backend", "-b", help="Only this engine; may be repeated.")
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Where results go.")]
Pages = Annotated[Path, typer.Option("--reports", help="Where the page goes.")]
Rounds = Annotated[
    int, typer.Option("--rounds", min=0, help="Rounds instead of the profile's; more of them with --resume.")
]
SessionRounds = Annotated[int, typer.Option("--rounds", min=0, help="Rounds instead of the profile's.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where the last run of this suite stopped.")]
TimeLimit = Annotated[str, typer.Option("--time-limit", help="What one step may take: `10m`.")]
Budget = Annotated[
    str, typer.Option("--budget", help="Drop cells by the suite's ranking to end within: `20m`.")
]
Data = Annotated[
    list[str] | None, typer.Option("--data", help="Where a data set lies: `cifar10=PATH`; may be repeated.")
]
Energy = Annotated[bool, typer.Option("--energy", help="Measure energy in a quick run too.")]
Explain = Annotated[
    bool, typer.Option("--explain", help="Trace each technique's loss to the network's layers.")
]
Meter = Annotated[
    str, typer.Option("--meter", help="A command that prints seconds and watts, line by line: your meter.")
]
OutputKinds = Annotated[
    list[str] | None,
    typer.Option(
        "--output-kind",
        help="How an output is judged, where it is not as recognised: NAME=KIND, KIND being scores, "
        "probabilities, sigmoid, boxes, map, embedding, text, labels or values; may be repeated.",
    ),
]
State = Annotated[
    list[str] | None,
    typer.Option("--state", help="What a recurrent network is handed on: INPUT=OUTPUT; may be repeated."),
]
MemoryLimit = Annotated[str, typer.Option("--memory-limit", help="What one step may hold: `8GiB`.")]


def console(*, stderr: bool = False) -> Console:
    """Return the terminal; where output is piped it is as wide as a table needs."""
    from rich.console import Console

    return Console(stderr=stderr, width=None if sys.stdout.isatty() else 120)


def say(words: str) -> None:
    """Print lines as they are: however long a path is, it stands on one line and can be copied."""
    console().print(words, highlight=False, markup=False, soft_wrap=True)


def _version(asked: bool) -> None:  # noqa: FBT001 - typer hands it over so
    if asked:
        from qbench import __version__

        console().print(f"qbench {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _about(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Say nothing more: the help above is the program's."""
