"""The command line. Nothing heavy is imported at the top: `qbench --help` must answer at once."""

from __future__ import annotations

import sys

import typer

from qbench.cli import commands, noise  # noqa: F401 - each adds its commands to the app
from qbench.cli.options import INTERRUPTED, SOMETHING_FAILED, WRONG_USAGE, app, console


def main() -> None:
    """Run the command line; an error of the user's ends in its message, all ends in one of EXIT_CODES."""
    from qbench.errors import NoAnswer, OutOfRoom, QbenchError

    try:
        code = app(standalone_mode=False)  # without its own error handling, typer returns the exit code
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        sys.exit(code)
    except QbenchError as error:
        from rich.markup import escape

        told = console(stderr=True)
        what = f"[bold red]{type(error).__name__}[/]: {escape(error.problem)}"
        said = f"{what}\n  [bold]fix:[/] {escape(error.fix)}"
        told.print(said, highlight=False, soft_wrap=True)  # a path or a command in it can be copied whole
        sys.exit(SOMETHING_FAILED if isinstance(error, OutOfRoom | NoAnswer) else WRONG_USAGE)
    except (KeyboardInterrupt, typer.Abort):
        resumable = len(sys.argv) > 1 and sys.argv[1] in ("run", "try")
        further = "go on with --resume" if resumable else "sessions that ended are kept"
        console(stderr=True).print(f"stopped; everything that had ended is on disk: {further}")
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
