"""How long a person waits before anything is measured. Targets: help 0.3 s, plan 1.5 s (15 s cold)."""

import os
import subprocess
import sys

QBENCH = (sys.executable, "-m", "qbench")


def call(*words, cache=None):
    environment = {**os.environ, **({"QBENCH_CACHE": str(cache)} if cache else {})}
    subprocess.run([*QBENCH, *words], check=True, capture_output=True, env=environment)


def test_help(benchmark):
    benchmark.pedantic(call, args=("--help",), rounds=7, warmup_rounds=1)


def test_plan_with_the_probe_cached(benchmark, tmp_path):
    call("plan", "--suite", "vision", cache=tmp_path)
    benchmark.pedantic(call, args=("plan", "--suite", "vision"), kwargs={"cache": tmp_path}, rounds=5)


def test_plan_cold(benchmark, tmp_path):
    folders = iter(tmp_path / str(number) for number in range(9))
    benchmark.pedantic(lambda: call("plan", "--suite", "vision", cache=next(folders)), rounds=3)
