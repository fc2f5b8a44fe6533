"""A run as large as a suite for several models: drawn by seed, written and read through the real store."""

from __future__ import annotations

import random
from pathlib import Path

from example_run import Builder, case, correct

from qbench.cases import Anchor, Case, Choice, Hardware
from qbench.records import Failed, Skipped, Verdict, Withheld
from qbench.store import Run

ENGINES = {"onnxruntime": 1.0, "openvino": 0.85, "torch_eager": 6.0, "aot_inductor": 1.3}
TECHNIQUES = {  # gain over fp32, size over fp32, wrong answers of 1,000 beyond those of fp32
    "bf16": (1.5, 0.51, 0), "static int8": (2.6, 0.27, 3), "dynamic int8": (0.6, 0.26, 1),
    "weight only int8": (0.9, 0.29, 0), "weight only int4": (0.85, 0.17, 14), "smoothquant": (2.4, 0.28, 2),
    "prune 50 % + int8": (2.7, 0.25, 31), "mixed precision": (2.0, 0.35, 0), "int8 minmax": (2.6, 0.27, 160),
}  # fmt: skip
MODELS = ("resnet-glyphs", "mobilenet-glyphs", "vit-tiny-glyphs", "wide-mlp")
HERE = "x86-avx512-vnni"


def large_run(folder: Path, models: int = 4, *, labels: bool = False) -> Run:
    """Return a run of so many models on four engines in three scenarios and an emulated device.

    Unless `labels`, only the speed of the last of them is asked for.
    """
    dice, build = random.Random(7), Builder(folder, "standard")
    for name in ("raspberry-pi-5", "jetson-orin", "nvidia-hopper", "apple-m", "intel-npu"):
        build.add("plan", Hardware(name, f"a {name}"), Skipped(f"this machine is no {name}"))
    build.data()
    for number, name in enumerate(MODELS[-models:]):
        _model(build, dice, Choice(name), 10.0 ** -(number + 2), speed_only=name == MODELS[-1] and not labels)
    for k in range(8):
        build.measured("anchor", Anchor("cpu"), k, anchor=(0.002 * (1 + 0.01 * dice.random()),))
    return build.run()


def _model(build: Builder, dice: random.Random, model: Choice, slow: float, *, speed_only: bool) -> None:
    for engine, factor in ENGINES.items():
        for scenario, batch in (("single", 1), ("single", 8), ("saturated", 8)):
            made = {"backend": engine, "model": model, "hardware": HERE, "scenario": scenario, "batch": batch}
            _timed(build, dice, case("fp32", role="fp32", **made), slow * factor, 1.0, speed_only)
            for technique, (gain, _, _) in TECHNIQUES.items():
                role = "float" if technique == "bf16" else "technique"
                cell = case(technique, role=role, **made)
                if engine == "torch_eager" and role == "technique":
                    build.add("plan", cell, Skipped("this engine has no integer kernels for it"))
                    continue
                _timed(build, dice, cell, slow * factor, gain * dice.uniform(0.8, 1.2), speed_only)
    if speed_only:
        return
    for seed in (1, 2):
        scored = case(
            f"static int8, calibration seed {seed}", model=model, hardware=HERE, scenario="scored", seed=seed
        )
        build.prepare(scored, 0.27 * 11.4e6)
        build.score(scored, correct(62 + seed, 1000))
    for technique, cost in (("fp32", 6.0e8), ("static int8", 1.9e8), ("weight only int8", 6.4e8)):
        role = "fp32" if technique == "fp32" else "technique"
        far = {"hardware": "emulated-neoverse-n1", "reached": "emulated", "scenario": "counted"}
        build.emulated(
            case(technique, role=role, model=model, **far), correct(10 + (role != "fp32")), cost, 99
        )


def _timed(
    build: Builder, dice: random.Random, cell: Case, seconds: float, gain: float, speed_only: bool
) -> None:
    _, size, worse = TECHNIQUES.get(cell.technique, (1.0, 1.0, 0))
    single = cell.scenario.name == "single"
    if single and cell.scenario.batch == 1 or cell.scenario.name == "saturated":
        build.prepare(cell, size * 11.4e6, 2.0)
        hidden = (Withheld("correct", "random weights: only its speed is asked for"),) if speed_only else ()
        hot = cell.technique == "int8 minmax" and cell.deployment.backend == "onnxruntime"
        verdicts = (Verdict("saturates", "3 layers add beyond 16 bits on this processor"),) if hot else ()
        build.score(
            cell, correct(60 + worse, 1000, dice.randrange(3)), withheld=hidden, labels=not speed_only,
            verdicts=verdicts,
        )  # fmt: skip
    if cell.technique == "smoothquant" and cell.deployment.backend == "aot_inductor":
        build.add("deploy", cell, Failed("load", "the process was killed by signal 11", "no traceback"))
        return
    build.deploy(cell, 80e6 + 100 * size)
    middles = [seconds / gain * (1 + 0.5 * (k == 3)) * dice.uniform(0.97, 1.03) for k in range(8)]
    if single:
        many = cell.scenario.batch**0.8
        build.time(cell, *(middle * many for middle in middles))
    else:
        build.saturate(cell, *(1.7 / middle for middle in middles))
