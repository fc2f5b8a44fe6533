"""One voice in a process of its own: `python -m qbench.referee MODULE:CLASS MODEL FOLDER`.

FOLDER has the calls, `call-0.npz` and so on, each with the inputs of one call; the answers are written beside
them one by one, so that whoever stops this process keeps those that are finished.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

from qbench.referee.calls import REASON, answer_file, call_files, read_arrays, write_answer


def main() -> None:
    """Answer all calls, or write why there is no answer and leave with code 3."""
    name, model, folder = sys.argv[1:]
    os.chdir(folder)  # a library that writes beside itself does it where it is thrown away
    try:
        _answer(name, Path(model), Path(folder))
    except BaseException as error:  # whatever it is: it is no answer, and the reason is kept
        (Path(folder) / REASON).write_text(f"{type(error).__name__}: {error}")
        sys.exit(3)


def _answer(name: str, model: Path, folder: Path) -> None:
    module, _, kind = name.partition(":")
    voice: Any = getattr(importlib.import_module(module), kind)()
    answering = voice.open(model)
    for number, path in enumerate(call_files(folder)):
        write_answer(answer_file(folder, number), answering(read_arrays(path)))


if __name__ == "__main__":
    main()
