"""Is qbench's latency the engine's? Held against a bare loop and OpenVINO's own benchmark_app, on one file.

    python benchmarks/against_others.py [--model resnet18-224] [--rounds 10]

Every figure is the tenth percentile of a fresh single-threaded process; the processes take turns, in a new
order each round, and ratios are taken inside a round. Target: the interval of qbench over each other lies
within 0.97 to 1.03.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from qbench.cases import Case, Step, key
from qbench.formats import cache
from qbench.hardware import load_profiles
from qbench.profile import PROFILES
from qbench.records import Measured, find
from qbench.run.launch import ask_fresh
from qbench.run.plan import Selection, make_plan
from qbench.run.protocol import StepRequest, Timing
from qbench.run.targets import reach
from qbench.stats import interval_of
from qbench.suite_file import load_suite

WINDOW_S = 3.0
BARE = """
import json, sys, time
import numpy as np
path, engine, window = sys.argv[1], sys.argv[2], float(sys.argv[3])
feed = dict(np.load(sys.argv[4]))
if engine == "onnxruntime":
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    call = lambda: session.run(None, feed)
else:
    import openvino
    settings = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": "1",
                "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    request = compiled.create_infer_request()
    call = lambda: request.infer(feed, share_inputs=True, share_outputs=True)
for _ in range(20):
    call()
samples, end = [], time.perf_counter() + window
while time.perf_counter() < end:
    start = time.perf_counter_ns()
    call()
    samples.append(time.perf_counter_ns() - start)
print(json.dumps(float(np.quantile(samples, 0.1)) * 1e-9))
"""


def main() -> None:
    """Measure and print one line a pair."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resnet18-224")
    parser.add_argument("--rounds", type=int, default=10)
    asked = parser.parse_args()
    order = random.Random(0)
    for engine in ("onnxruntime", "openvino"):
        case, request = prepared(asked.model, engine)
        path = str(next(cache.folder_of(case.deployment.artifact).glob("model.*")))
        feed = Path(path).with_name("benchmark.npz")
        inputs(case, request, feed)
        ways: dict[str, Callable[[int], float]] = {
            "qbench": partial(ours, case, request),
            "bare loop": partial(bare, path, engine, feed),
        }
        if engine == "openvino":
            ways["benchmark_app"] = partial(app, path)
        found: dict[str, list[float]] = {name: [] for name in ways}
        for k in range(asked.rounds):
            turn = list(ways)
            order.shuffle(turn)
            for name in turn:
                found[name].append(ways[name](k))
        for name in list(ways)[1:]:
            ratios = [mine / other for mine, other in zip(found["qbench"], found[name], strict=True)]
            between = interval_of(ratios)
            ends = f"{between.low:.3f} to {between.high:.3f}" if between else "one round"
            print(
                f"{asked.model} on {engine}: qbench over {name} {np.median(ratios):.3f} ({ends}), "
                f"qbench {np.median(found['qbench']) * 1e3:.3f} ms"
            )


def prepared(model: str, engine: str) -> tuple[Case, StepRequest]:
    """Plan the float cell in the gate's profile (one thread), and make its examples and its file."""
    suite = load_suite("vision")
    reached = reach(load_profiles("cpu"), [engine])
    plan = make_plan(
        suite, replace(PROFILES["gate"], priority=3), reached, Selection((model,), ("fp32",), (engine,))
    )
    case = next(c for c in plan.cells if c.scenario.batch == 1 and c.deployment.threads == 1)
    data = ask_fresh(StepRequest(Step("data", case.evaluation))).result
    assert isinstance(data, Measured), data
    data_id = next(e.found for e in data.evidence if e.what == "data id")
    made = ask_fresh(StepRequest(Step("prepare", case.deployment.artifact))).result
    assert isinstance(made, Measured), made
    ids = ((key(case.evaluation), data_id),)
    return case, StepRequest(Step("time", case), ids, timing=Timing(WINDOW_S, 2.0))


def inputs(case: Case, request: StepRequest, feed: Path) -> None:
    """Write the batch that qbench times, for the others."""
    from qbench.run.choose import task_of
    from qbench.tasks.base import batch_of, fetch

    examples = fetch(dict(request.data_ids)[key(case.evaluation)])
    np.savez(feed, **batch_of(task_of(case.evaluation.task), examples, 0, 1, whole=False))


def ours(case: Case, request: StepRequest, number: int) -> float:
    """Return qbench's figure: its own timing step in a fresh interpreter."""
    step = Step("time", case, number)
    result = ask_fresh(StepRequest(step, request.data_ids, timing=request.timing)).result
    assert isinstance(result, Measured), result
    latency = find(result, "latency")
    assert latency is not None, result
    return float(np.quantile(latency.samples, 0.1))


def bare(path: str, engine: str, feed: Path, _: int) -> float:
    """Return the figure of a loop around the engine's own call."""
    command = [sys.executable, "-c", BARE, path, engine, str(WINDOW_S), str(feed)]
    return float(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


def app(path: str, _: int) -> float:
    """Return what benchmark_app says of the file's tenth percentile."""
    words = f"-d CPU -api sync -hint none -nstreams 1 -nthreads 1 -infer_precision f32 -t {WINDOW_S:.0f}"
    more = "-latency_percentile 10 -shape [1,3,224,224]"
    program = str(Path(sys.executable).with_name("benchmark_app"))
    command = [program, "-m", path, *words.split(), *more.split()]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(re.search(r"10 percentile:\s+([\d.]+) ms", said)[1]) * 1e-3  # type: ignore[index]


if __name__ == "__main__":
    main()
