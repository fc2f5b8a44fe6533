"""What the harness itself costs. Targets: a forked step 0.1 s, 10 % of a quick run, parent below 300 MB."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qbench.backends.base import BACKENDS
from qbench.run.launch import Worker
from qbench.run.protocol import ProbeRequest
from qbench.store import read_runs, results_files


@pytest.mark.parametrize("preload", [("onnxruntime",), ("openvino",), ("torch_eager",)], ids=lambda p: p[0])
def test_a_forked_step(benchmark, preload):
    """From asking to the reply of a child that does next to nothing (the fake engine's probe)."""
    assert preload[0] in BACKENDS
    with Worker(preload) as worker:
        worker.ask(ProbeRequest("fake"))
        benchmark.pedantic(worker.ask, args=(ProbeRequest("fake"),), rounds=30)


def peak_bytes(pid):
    """The life-time peak of one process, without its children."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


@pytest.mark.parametrize("suite", ["smoke", "vision"])
def test_a_quick_run(benchmark, tmp_path, suite):
    """The wall of a quick run with everything to prepare, and the share of it that is the harness's own."""
    found = {}

    def run():
        command = [sys.executable, "-m", "qbench", "run", "--suite", suite, "--hw", "cpu"]
        where = ["--out", str(tmp_path / "results"), "--reports", str(tmp_path / "reports")]
        environment = {**os.environ, "QBENCH_CACHE": str(tmp_path / "cache")}
        process = subprocess.Popen([*command, *where], env=environment, stdout=subprocess.DEVNULL)
        while process.poll() is None:
            found["parent_peak_bytes"] = max(found.get("parent_peak_bytes", 0), peak_bytes(process.pid))
            time.sleep(0.2)
        assert process.returncode == 0

    benchmark.pedantic(run, rounds=1)
    (result,) = read_runs(results_files(tmp_path / "results"))
    busy_s = sum(record.busy_s for record in result.records)
    found["harness_share"] = 1 - busy_s / benchmark.stats.stats.mean
    benchmark.extra_info.update(found)
