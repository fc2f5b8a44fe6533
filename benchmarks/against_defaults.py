"""Our best int8 file beside what three other quantizers give by default, network by network.

    python benchmarks/against_defaults.py --environment FOLDER [--models resnet-glyphs mobilenet-glyphs]
        [--rounds 8] [--threads 1] [--out FILE.json]

All start from the same float ONNX file and the same 256 calibration examples (seed 0), and every product
runs on onnxruntime's CPU provider here, with as many threads. The others are given the file, the examples
one at a time, and no option, except that neural-compressor would look at 100 of the examples and is told
their number. Ours is the best of POOL on at most 2,000 selection examples (ties: the smallest); the test
examples are met once, when it is chosen.

Latency is at batch 1: in every round all files take turns in a new order, each in a fresh process, and
ratios are taken inside a round. Ours is surely dominated by another where that is at least as good in
accuracy, latency and size and better in one, at the wrong ends of all intervals; it is not dominated where
it is surely better in one; whatever lies between cannot be told. Under six rounds the range stands in for
the latency's interval and promises no coverage; after one, latency decides nothing.

FOLDER holds neural-compressor's virtual environment, made where it is missing: it wants an older numpy.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import venv
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from qbench.backends.base import BACKENDS, Placement
from qbench.backends.onnxruntime import IN_FLOAT, LOW_BIT
from qbench.cases import DataSpec
from qbench.formats.artifact import Artifact
from qbench.formats.edges import export, onnx_files, to_onnx
from qbench.machine import machine
from qbench.models.base import MODELS
from qbench.quant.onnx_layers import quietly
from qbench.run.choose import task_of
from qbench.stats import Interval, interval_of, paired
from qbench.strategies.base import STRATEGIES, Calibration
from qbench.tasks.base import Examples, Task, batch_of

NETWORKS = [f"{kind}-{data}" for data in ("glyphs", "cifar10") for kind in ("resnet", "mobilenet", "vit")]
DATA = (("calibration", 256, 0), ("selection", 2_000, None), ("test", 10_000, None))  # at most; drawn by seed
BATCH = 50  # examples at a time when answers are asked for
WARMUP_S, WINDOW_S = 0.5, 1.0
SMALL = {"lean": True}  # as the others store them
# no minmax: per channel with a free zero point it is neural-compressor's own default, and would be theirs
POOL = {f"static_int8 {x}": ("static_int8", SMALL | {"observer": x}) for x in ("mse", "percentile")}
POOL |= {"ptq nearest": ("ptq", SMALL), "ptq bias_correction": ("ptq", SMALL | {"bias_correction": True})}
PACKAGES = (
    "neural-compressor==2.6", "onnxruntime==1.19.2", "onnx==1.16.2", "numpy==1.26.4",
    "setuptools<81", "six",  # it imports pkg_resources and six without asking for them
)  # fmt: skip
VERSIONS = """
import importlib.metadata, json
print(json.dumps(sorted({f"{one.name}=={one.version}" for one in importlib.metadata.distributions()})))
"""
READ = """
import sys
import numpy as np
source, data, target = sys.argv[1:]
kept = dict(np.load(data))
examples = [{name: a[i : i + 1] for name, a in kept.items()} for i in range(len(next(iter(kept.values()))))]
"""
OTHERS = {
    "nncf": """
sys.modules["openvino_telemetry"] = None
import nncf, onnx
onnx.save(nncf.quantize(onnx.load(source), nncf.Dataset(examples)), target)
""",
    "onnxruntime": """
from onnxruntime.quantization import CalibrationDataReader, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
class Reader(CalibrationDataReader):
    left = iter(examples)
    def get_next(self):
        return next(self.left, None)
quant_pre_process(source, source + ".ready")
quantize_static(source + ".ready", target, Reader())
""",
    "neural-compressor": """
from neural_compressor.config import PostTrainingQuantConfig
from neural_compressor.quantization import fit
class Loader:
    batch_size = 1
    def __iter__(self):
        return ((example, 0) for example in examples)
config = PostTrainingQuantConfig(calibration_sampling_size=[len(examples)])
fit(source, config, calib_dataloader=Loader()).save(target)
""",
}
TIMER = """
import json, sys, time
import numpy as np, onnxruntime
path, feed, threads, *seconds = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads, options.inter_op_num_threads = int(threads), 1
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
feed = dict(np.load(feed))
for window in seconds:
    samples, end = [], time.perf_counter() + float(window)
    while time.perf_counter() < end:
        start = time.perf_counter_ns()
        session.run(None, feed)
        samples.append(time.perf_counter_ns() - start)
print(json.dumps([float(np.median(samples)) * 1e-9, len(samples)]))
"""


@dataclass
class File:
    """One ONNX file and all that was measured of it."""

    name: str
    path: Path
    size_bytes: int
    kernels: dict[str, int]  # products and convolutions that ran, by kind
    right: np.ndarray  # per test example
    windows: list[tuple[float, int]] = field(default_factory=list)  # by round: median in seconds, calls


def main() -> None:
    """Measure network by network, print a table for each, and keep the raw numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--environment", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=NETWORKS)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    warnings.simplefilter("ignore", FutureWarning)  # of torch.onnx.export, which pickles a deprecated class
    python = environment(asked.environment)
    both = {"qbench": sys.executable, "neural-compressor": python}
    found = {name: json.loads(asked_of(one, VERSIONS)) for name, one in both.items()}
    kept = {
        name: vars(asked)[name] for name in ("models", "rounds", "threads")
    }  # and no folder of this machine
    kept |= {"versions": found, "processor": machine().processor}
    kept["networks"] = networks = []
    for model in asked.models:
        with tempfile.TemporaryDirectory() as folder, quietly():
            networks.append(compared(model, Path(folder), python, asked.rounds, asked.threads))
        if asked.out:  # after each network: a long run that is stopped keeps what it has
            asked.out.write_text(json.dumps(kept, indent=1, default=str) + "\n")


def environment(folder: Path) -> str:
    """Return the interpreter of neural-compressor's environment; make it where it is missing."""
    python = folder.absolute() / "bin" / "python"
    if not any(folder.glob("lib/*/site-packages/neural_compressor")):
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    return str(python)


def asked_of(python: str, code: str, *words: object, cwd: Path | None = None) -> str:
    """Return what a fresh interpreter prints; its last line is the error where it fails."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [python, "-c", code, *map(str, words)]
    done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:  # 1: an exception; else it was stopped, and the last that it said is not why
        raise RuntimeError(done.stderr if done.returncode == 1 else f"exit status {done.returncode}")
    return done.stdout


def compared(model: str, folder: Path, python: str, rounds: int, threads: int) -> dict[str, Any]:
    """Make every file of one network, measure, print, and return the raw numbers."""
    choice, task = MODELS[model].task, task_of(MODELS[model].task)
    specs = [DataSpec(choice, split, min(most, task.sizes()[split]), seed) for split, most, seed in DATA]
    calibrating, selecting, testing = map(task.examples, specs)
    source = to_onnx(export(MODELS[model].load(), folder), folder)
    inputs, feed = batch_of(task, calibrating, 0, len(calibrating)), folder / "one.npz"
    np.savez(folder / "calibration.npz", **inputs)
    np.savez(feed, **batch_of(task, testing, 0, 1))
    pool, given = {}, Calibration(calibrating.data_id, inputs)
    for name, (technique, parameters) in POOL.items():
        (folder / name).mkdir()
        pool[name] = STRATEGIES[technique](**parameters).apply(source, given, folder / name)
    tried = [measured(name, made, task, selecting) for name, made in pool.items()]
    best = max(tried, key=lambda file: (file.right.sum(), -file.size_bytes)).name
    both, refused = {"float": source, f"ours: {best}": pool[best]}, {}
    files = [measured(name, file, task, testing) for name, file in both.items()]
    for name in OTHERS:
        made = folder / name / "model.onnx"
        made.parent.mkdir()
        words = (READ + OTHERS[name], source.path, folder / "calibration.npz", made)
        try:
            asked_of(python if name == "neural-compressor" else sys.executable, *words, cwd=made.parent)
            files.append(measured(name, replace(source, path=made), task, testing))
        except Exception as error:  # whatever it says of a file that it cannot take, or that cannot be run
            refused[name] = (str(error).strip() or repr(error)).splitlines()[-1]
    load = time_all(files, feed, rounds, threads)
    pairs = [pair(files[1], file) for file in files[2:]]
    print(f"\n{model}: {len(testing):,} test examples, {threads} thread(s), {rounds} rounds")
    show(files, refused, pairs)
    told = {"pool": [raw(file) for file in tried], "files": [raw(file, files[0]) for file in files]}
    told |= {"data": [some.data_id for some in (calibrating, selecting, testing)], "load_by_round": load}
    return told | {"model": model, "refused": refused, "pairs": pairs}


def measured(name: str, artifact: Artifact, task: Task, examples: Examples) -> File:
    """Return a file with its size, the kernels that ran, and for each example whether its answer is right."""
    session = BACKENDS["onnxruntime"]().load(artifact, Placement())
    proof = session.prove(batch_of(task, examples, 0, 1))
    ran = [(each.what.split()[1], each.found) for each in proof.evidence]
    kernels = {kind: int(count) for kind, count in ran if kind in LOW_BIT | IN_FLOAT}
    starts = range(0, len(examples), BATCH)
    outputs = [session.run(batch_of(task, examples, start, BATCH))[0] for start in starts]
    (correct, *_), _ = task.score(np.concatenate(outputs), examples)
    size_bytes = sum(path.stat().st_size for path in onnx_files(artifact.path))
    return File(name, artifact.path, size_bytes, kernels, np.asarray(correct.samples, dtype=bool))


def time_all(files: Sequence[File], feed: Path, rounds: int, threads: int) -> list[float]:
    """Time every file once a round, each in a fresh process; return the machine's load after each round."""
    order, load = random.Random(0), []
    for _ in range(rounds):
        for file in order.sample(files, len(files)):
            said = asked_of(sys.executable, TIMER, file.path, feed, threads, WARMUP_S, WINDOW_S)
            file.windows.append(json.loads(said))
        load.append(os.getloadavg()[0])
    return load


def ratios(file: File, base: File) -> tuple[float, Interval | None]:
    """Return the latency of one file over another's inside the rounds: the median, and its interval."""
    found = [one / other for (one, _), (other, _) in zip(file.windows, base.windows, strict=True)]
    return float(np.median(found)), interval_of(found)


def standing(gains: Sequence[tuple[float, float]]) -> str:
    """Say whether one is dominated, from the intervals of what the other is better by, in each respect."""
    if any(high < 0 for _, high in gains) or all(high <= 0 for _, high in gains):
        return "not dominated"
    surely = all(low >= 0 for low, _ in gains) and any(low > 0 for low, _ in gains)
    return "surely dominated" if surely else "cannot be told"


def pair(mine: File, other: File) -> dict[str, Any]:
    """Return another's file against ours: differences with their intervals, and the verdict both ways."""
    accuracy, (latency, between) = paired(mine.right, other.right), ratios(other, mine)
    low, high = (between.low, between.high) if between else (0.0, math.inf)
    smaller = float(mine.size_bytes - other.size_bytes)
    gains = [(accuracy.interval.low, accuracy.interval.high), (1 - high, 1 - low), (smaller, smaller)]
    values = (accuracy.difference, 1 - latency, smaller)
    told = {"other": other.name, "accuracy": asdict(accuracy), "latency_over_ours": latency}
    told |= {"latency_interval": between and asdict(between)}
    told |= {"size_over_ours": other.size_bytes / mine.size_bytes}
    for name, turn in (("ours", 1), ("theirs", -1)):
        told[name] = standing([tuple(sorted((turn * low, turn * high))) for low, high in gains])
        told[f"{name}_alone"] = standing([(turn * value,) * 2 for value in values]).removeprefix("surely ")
    return told


def raw(file: File, base: File | None = None) -> dict[str, Any]:
    """Return the raw numbers of a file; its answers as counts, beside those of float where it is given."""
    digest = hashlib.sha256(file.path.read_bytes()).hexdigest()
    counts = {"right": int(file.right.sum()), "of": len(file.right)}
    against = {"against_float": asdict(paired(base.right, file.right))} if base else {}
    return vars(file) | {"path": file.path.name, "sha256": digest} | counts | against


def show(files: Sequence[File], refused: dict[str, str], pairs: list[dict[str, Any]]) -> None:
    """Print one network's table and verdicts."""
    print(f"{'file':<30}{'accuracy':>9}{'bytes':>12}{'ms':>9}   of float's latency")
    for file in files:
        took_ms, part = 1e3 * np.median([took_s for took_s, _ in file.windows]), ends(*ratios(file, files[0]))
        accuracy = f"{100 * file.right.mean():.2f} %"
        print(f"{file.name:<30}{accuracy:>9}{file.size_bytes:>12,}{took_ms:>9.3f}   {part}")
        low, full = ([f"{k} {n}" for k, n in file.kernels.items() if k in s] for s in (LOW_BIT, IN_FLOAT))
        print(f"    in int8: {', '.join(low) or 'nothing'}; in float: {', '.join(full) or 'nothing'}")
    for name, error in refused.items():
        print(f"{name:<30}no file: {error[:60]}")
    for one in pairs:
        name, found, between = one["other"], one["accuracy"], one["latency_interval"]
        points = [100 * x for x in (found["difference"], found["interval"]["low"], found["interval"]["high"])]
        latency = ends(one["latency_over_ours"], between and Interval(**between))
        print("{} against ours: accuracy {:+.2f} ({:+.2f} to {:+.2f}) points,".format(name, *points))
        print(f"    bytes x {one['size_over_ours']:.3f}, latency x {latency}")
        for who in ("ours", "theirs"):
            print(f"    {who}: {one[who]} (by the values alone: {one[who + '_alone']})", flush=True)


def ends(value: float, between: Interval | None) -> str:
    """Return a ratio and what is known of it, in words."""
    kind = ", range" if between and between.kind == "range" else ""
    return f"{value:.3f}" + (f" ({between.low:.3f} to {between.high:.3f}{kind})" if between else "")


if __name__ == "__main__":
    main()
