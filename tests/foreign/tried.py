"""`qbench try` as a stranger types it, and what it left: exit code, text, cells, verdicts, files."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qbench.cases import Step
from qbench.formats import artifact, cache
from qbench.report.recommend import recommend
from qbench.report.select import select
from qbench.store import read_runs, results_files

CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Tried:
    """One run of the command."""

    code: int
    told: str  # what stood on the terminal
    run: Any  # store.Run; None where nothing was measured
    cells: tuple[Any, ...]  # report.cell.Cell
    verdicts: tuple[Any, ...]  # report.recommend.Recommendation

    def cell(self, technique: str, engine: str) -> Any:
        """Return the cell of this technique on this engine."""
        return next(cell for cell in self.cells if (cell.technique, cell.engine) == (technique, engine))

    def outputs(self, cell: Any) -> tuple[Any, ...]:
        """Return what the run found out about every output of this cell (records.OutputQuality)."""
        wanted = Step("score", cell.case).key
        return next(one.outcome.outputs for one in self.run.records if one.step.key == wanted)

    @property
    def shipped(self) -> Any:
        """Return the cell that is recommended, or None."""
        return next((verdict.ship for verdict in self.verdicts if verdict.ship is not None), None)


# `python -m qbench` with windows of a tenth of a second: only what is told of speed is rough then.
# `try` takes `brief` for a small network and `quick` for any other.
SHORT = """
import dataclasses
from qbench import profile
from qbench.cli import main
for name in ("brief", "quick"):
    profile.PROFILES[name] = dataclasses.replace(profile.PROFILES[name], window_s=0.1, warmup_cap_s=0.2)
main()
"""


def tried(
    model: Path, samples: Path, folder: Path, *more: str, short: bool = False, timeout_s: int = 1800
) -> Tried:
    """Run `qbench try` in this folder, with this process's cache; `short`: where speed is not the point."""
    program = ["-c", SHORT] if short else ["-m", "qbench"]
    command = [sys.executable, *program, "try", str(model), "--inputs", str(samples), *more]
    environment = {**os.environ, "COLUMNS": "120", "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=timeout_s
    )
    files = results_files(folder / "results") if (folder / "results").is_dir() else []
    runs = read_runs(files)
    cells = tuple(select(runs[-1])) if runs else ()
    verdicts = tuple(recommend(cells)) if cells else ()
    return Tried(done.returncode, done.stdout + done.stderr, runs[-1] if runs else None, cells, verdicts)


def file_of(cell: Any) -> Path:
    """Return the file that a cell measured, as it lies in the cache."""
    path = artifact.load(cache.folder_of(cell.artifact)).path
    if path is None:
        raise FileNotFoundError(f"{cell.name} has no file")
    return path
