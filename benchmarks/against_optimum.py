"""From typing the command to the result of one cell: qbench beside optimum-benchmark, on this machine.

    python benchmarks/against_optimum.py --environment FOLDER [--rounds 5]

Both time ResNet-18 at 224x224 on eager torch, batch 1, all cores, with random weights; optimum-benchmark
tracks latency and memory, qbench what it always does (the reference check, scores, size, load, memory, a
page). The two take turns. qbench goes first in each round, and the other is asked for as many timed calls
as it made. qbench runs twice: from an empty cache, where it builds, exports and proves the file first, and
again with that file kept, as the other always starts: with its weights on disk.

FOLDER holds the other's virtual environment, which is made where it is missing: it does not import beside
the transformers that this project uses. Target: less than half of the other's time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import numpy as np

from qbench.stats import interval_of
from qbench.store import read_runs, results_files

EMPTY, KEPT = "qbench (empty cache)", "qbench (file kept)"
HERE = Path(__file__).parent
PACKAGES = ("torch==2.13.0", "transformers<5", "optimum-benchmark==0.6.0")
MODEL = """
import sys
from transformers import ResNetConfig, ResNetForImageClassification
shape = ResNetConfig(layer_type="basic", hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2])
ResNetForImageClassification(shape).save_pretrained(sys.argv[1])
"""
CONFIG = """
defaults:
  - benchmark
  - scenario: inference
  - launcher: process
  - backend: pytorch
  - _self_
name: one_cell
launcher:
  start_method: spawn
backend:
  device: cpu
  task: image-classification
  library: transformers
  model_type: resnet
  model: {model}
scenario:
  memory: true
  latency: true
  duration: 0
  iterations: {calls}
  input_shapes: {{batch_size: 1, num_channels: 3, height: 224, width: 224}}
hydra:
  run: {{dir: {out}}}
  job: {{chdir: true}}
"""


def main() -> None:
    """Measure in turn, and print both times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--environment", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    python = environment(asked.environment)
    found: dict[str, list[float]] = {EMPTY: [], KEPT: [], "optimum-benchmark": []}
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        subprocess.run([python, "-c", MODEL, str(model)], check=True, env=offline(), capture_output=True)
        for number in range(asked.rounds):
            place = Path(folder) / str(number)
            place.mkdir()
            for name in (EMPTY, KEPT):
                took_s, calls = ours(place, name)
                found[name].append(took_s)
            took_s, made = other(python, model, place, calls)
            found["optimum-benchmark"].append(took_s)
            told = ", ".join(f"{name} {times[-1]:.1f} s" for name, times in found.items())
            print(f"round {number + 1}: {told}; {calls} and {made} timed calls", flush=True)
    theirs = found["optimum-benchmark"]
    for name in (EMPTY, KEPT):
        ratios = [a / b for a, b in zip(found[name], theirs, strict=True)]
        between = interval_of(ratios)
        ends = f"{between.low:.2f} to {between.high:.2f}" if between else "one round"
        print(
            f"{name} {np.median(found[name]):.1f} s, optimum-benchmark {np.median(theirs):.1f} s: "
            f"{np.median(ratios):.2f} of it ({ends}; target below 0.5)"
        )


def environment(folder: Path) -> str:
    """Return the interpreter of the other's environment; make it where it is missing."""
    python = folder.absolute() / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    return str(python)


def ours(place: Path, name: str) -> tuple[float, int]:
    """Return the seconds that qbench took, and how many calls it timed."""
    words = [
        sys.executable, "-m", "qbench", "run", "--suite", str(HERE / "one_cell.toml"), "--profile", "quick",
        "--rounds", "2", "--out", str(place / name), "--reports", str(place / "reports"),
    ]  # fmt: skip
    env = os.environ | {"QBENCH_CACHE": str(place / "cache"), "PYTHONPATH": str(HERE.parent)}
    took_s = timed(words, env)
    (run,) = read_runs(results_files(place / name))
    timings = [record.outcome for record in run.records if record.step.kind == "time"]
    return took_s, sum(len(m.samples) for o in timings for m in o.measurements if m.metric == "latency")


def other(python: str, model: Path, place: Path, calls: int) -> tuple[float, int]:
    """Return the seconds that optimum-benchmark took, and how many calls it timed."""
    out = place / "other"
    (place / "one_cell.yaml").write_text(CONFIG.format(model=model, calls=calls, out=out))
    program = str(Path(python).with_name("optimum-benchmark"))
    took_s = timed([program, "--config-dir", str(place), "--config-name", "one_cell"], offline())
    report = json.loads((out / "benchmark_report.json").read_text())
    return took_s, len(report["forward"]["latency"]["values"])


def timed(words: list[str], env: dict[str, str]) -> float:
    """Return how long a command took; it must succeed."""
    start = time.perf_counter()
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    took_s = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return took_s


def offline() -> dict[str, str]:
    """Return an environment in which nothing is asked of a hub."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
        "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1",
    }  # fmt: skip


if __name__ == "__main__":
    main()
