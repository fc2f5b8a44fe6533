"""A whole run on a machine that others keep busy: no figure may look fine. Slow: CI runs it."""

import os
import subprocess
import sys
from contextlib import ExitStack

import pytest

from qbench.report.select import select
from qbench.run.neighbour import busy_neighbour
from qbench.store import read_runs, results_files


@pytest.mark.slow
def test_under_heavy_load_every_timed_cell_is_unstable(tmp_path):
    """Three busy programs a core: whatever the ratios say, the threads waited for most of every window."""
    words = ["-s", "smoke", "-b", "onnxruntime", "-b", "openvino", "-t", "fp32", "-t", "static int8"]
    with ExitStack() as busy:
        for _ in range(3 * len(os.sched_getaffinity(0))):
            busy.enter_context(busy_neighbour())
        done = subprocess.run(
            [sys.executable, "-m", "qbench", "run", *words], cwd=tmp_path, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = read_runs(results_files(tmp_path / "results"))
    cells = [cell for cell in select(run) if cell.rounds]
    assert len(cells) == 4
    for cell in cells:
        assert cell.unstable, f"{cell.technique} on {cell.engine} looks fine"
    assert "unstable" in done.stdout
