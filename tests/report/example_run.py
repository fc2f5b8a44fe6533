"""A run made by hand: every number is chosen so that the figures can be worked on paper.

100 examples; fp32 is right on 90. Three rounds; fp32 takes 10 ms a call. See `measured_run` for each cell.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from qbench.cases import (
    Anchor,
    ArtifactSpec,
    Case,
    Choice,
    DataSpec,
    Deployment,
    FakeQuant,
    Float,
    Hop,
    Quantized,
    Scenario,
    Scheme,
    State,
    Step,
)
from qbench.records import (
    Evidence,
    Failed,
    Measured,
    Measurement,
    Outcome,
    OutputQuality,
    Record,
    Session,
    Skipped,
    Verdict,
    Withheld,
)
from qbench.store import Run, Store, read_runs

INT8 = Scheme(8, 8, "per_channel")
TEST = DataSpec(Choice("digits"), "test", 100)
CALIBRATION = DataSpec(Choice("digits"), "calibration", 32)
MODEL = Choice("tiny-cnn", (("seed", 0),))


def correct(wrong: int, of: int = 100, shift: int = 0) -> tuple[float, ...]:
    """Return 1s with `wrong` 0s, of which the first stands at `shift`."""
    return tuple(0.0 if shift <= i < shift + wrong else 1.0 for i in range(of))


def answers(bits: tuple[float, ...]) -> tuple[float, ...]:
    """Return class numbers for a bit row: i mod 10 where right, the next class where wrong."""
    return tuple(float(i % 10 if bit else (i + 1) % 10) for i, bit in enumerate(bits))


def case(
    technique: str,
    *,
    role: str = "technique",
    state: State | None = None,
    backend: str = "onnxruntime",
    batch: int = 1,
    model: Choice = MODEL,
    device: str = "cpu",
    scenario: str = "single",
    hardware: str = "",
    reached: str = "native",
    seed: int = 0,
    chain: tuple[Choice, ...] = (),
) -> Case:
    """Return a case on the example's model and data; `seed` draws its calibration examples."""
    chain = chain or (() if role == "fp32" else (Choice(technique.partition(",")[0].replace(" ", "_")),))
    final = state or {"fp32": Float("fp32"), "float": Float("bf16")}.get(role, Quantized(INT8))
    calibration = replace(CALIBRATION, seed=seed) if role == "technique" else None
    way = (
        Hop("source", model, "torch", Float(), "s0"),
        Hop("edge", Choice("export"), "onnx", Float(), "s1"),
        *(Hop("technique", use, "onnx", final, "s2", calibration) for use in chain),
    )
    artifact = ArtifactSpec(model=model, way=way)
    streams = 2 if scenario == "saturated" else 1
    threads = 1 if reached == "emulated" else 2
    deployment = Deployment(artifact, backend, device, threads, "e0", streams, hardware, reached)  # type: ignore[arg-type]
    return Case("vision", technique, role, deployment, TEST, Scenario(scenario, batch))  # type: ignore[arg-type]


class Builder:
    """Writes records through the real store and reads them back, so that line numbers are real."""

    def __init__(self, folder: Path, profile: str = "quick") -> None:
        self.path = folder / "results" / "example-host" / "2026-01-02-vision.jsonl"
        self.store = Store(self.path)
        self.session = Session(
            id="session-1",
            suite="vision",
            profile=profile,
            host="example-host",
            facts=(("processor", "Example 9000, 2 cores"), ("memory", "8 GiB")),
            versions=(("onnxruntime", "1.2.3"), ("python", "3.11.7")),
            commit="0123abc",
            dirty=False,
            started_utc="2026-01-02T03:04:05Z",
            command="qbench run vision --profile quick",
        )
        self.store.append(self.session)

    def add(self, kind: str, subject: object, outcome: Outcome, round: int = 0) -> None:
        step = Step(kind, subject, round)  # type: ignore[arg-type]
        self.store.append(Record(step, outcome, self.session.id, "2026-01-02T03:04:06Z", 1.0))

    def measured(
        self, kind: str, subject: object, round: int = 0, extra: dict | None = None, **metrics: object
    ) -> None:
        found = tuple(
            Measurement(name, value if isinstance(value, tuple) else (float(value),))  # type: ignore[arg-type]
            for name, value in metrics.items()
        )
        self.add(kind, subject, Measured(found, **(extra or {})), round)

    def data(self) -> None:
        for spec, digest in ((TEST, "aaaa000011112222"), (CALIBRATION, "bbbb000011112222")):
            facts = (Evidence("data id", digest), Evidence("examples", str(spec.count)))
            self.measured("data", spec, extra={"evidence": facts})

    def prepare(self, case: Case, size: float = 1_000_000, seconds: float = 2.0) -> None:
        """40 kB of each file are graph and biases; the rest is the covered weights."""
        covered = min(size - 40_000, 960_000)
        weights = {} if case.role != "technique" else {"covered_weights": covered, "covered_float": 960_000}
        self.measured(
            "prepare",
            case.deployment.artifact,
            file_size=size,
            compressed_size=size * 0.9,
            model_float=1_000_000,
            prepare_time=seconds,
            prepare_memory=50_000_000,
            **weights,
            extra={"evidence": (Evidence("operators", "12 Conv, 2 Gemm"),)},
        )

    def score(
        self,
        case: Case,
        bits: tuple[float, ...],
        *,
        data_id: str = "aaaa000011112222",
        withheld: tuple[Withheld, ...] = (),
        verdicts: tuple[Verdict, ...] = (),
        labels: bool = True,
        outputs: tuple[OutputQuality, ...] = (),
    ) -> None:
        metrics: dict[str, object] = {"prediction": answers(bits), "reference_error": 0.001}
        if labels:
            metrics["correct"] = bits
        if case.role != "fp32" and not outputs:  # as records had it before their outputs were judged
            metrics |= {"kl_divergence": tuple(0.01 for _ in bits), "sqnr": 30.0}
        if case.role == "technique":
            metrics |= {"low_bit_kernels": 14.0, "other_kernels": 0.0}
        facts = (Evidence("data id", data_id), Evidence("kernels", "QLinearConv 14 times"))
        more = {"evidence": facts, "withheld": withheld, "verdicts": verdicts, "outputs": outputs}
        self.measured("score", case, extra=more, **metrics)

    def deploy(self, case: Case, memory: float = 80_000_000) -> None:
        self.measured(
            "deploy", case, load_time=0.05, first_inference=0.03, peak_memory=memory, engine_memory=60_000_000
        )

    def time(
        self, case: Case, *seconds: float, calls: int = 30, energy: str = "no counter on this host"
    ) -> None:
        """One round for each median; calls vary by one per cent around it."""
        for k, middle in enumerate(seconds):
            calls_s = tuple(middle * (1 + 0.01 * (i % 3 - 1)) for i in range(calls))
            self.measured(
                "time",
                case,
                k,
                latency=calls_s,
                involuntary_switches=3 + k,
                steal=0.0,
                load_average=0.5,
                extra={"withheld": (Withheld("energy", energy),)},
            )

    def saturate(self, case: Case, *rates: float, slices: int = 10) -> None:
        """One round for each median, in examples per second; slices vary by one per cent around it."""
        hidden = (Withheld("latency", "saturated: no wait"), Withheld("energy", "no counter on this host"))
        for k, middle in enumerate(rates):
            found = tuple(middle * (1 + 0.01 * (i % 3 - 1)) for i in range(slices))
            self.measured("time", case, k, throughput=found, extra={"withheld": hidden})

    def emulated(self, case: Case, bits: tuple[float, ...], instructions: float, same: int = 100) -> None:
        """Score and count on an emulated device; `same` answers are those of the host."""
        words = "emulated: times of an emulator say nothing of the device"
        names = ("latency", "throughput", "energy", "load_time", "first_inference", "peak_memory")
        self.measured(
            "score",
            case,
            prediction=answers(bits),
            correct=bits,
            native_agreement=correct(100 - same),
            native_difference=0.002,
            extra={
                "evidence": (Evidence("data id", "aaaa000011112222"),),
                "withheld": tuple(Withheld(name, words) for name in names),
            },
        )
        self.measured("count", case, instructions=instructions)

    def whole(
        self,
        case: Case,
        bits: tuple[float, ...],
        seconds: tuple[float, ...],
        size: float = 1_000_000,
        memory: float = 80_000_000,
    ) -> None:
        self.prepare(case, size)
        self.score(case, bits)
        self.deploy(case, memory)
        self.time(case, *seconds)

    def run(self) -> Run:
        self.store.close()
        return read_runs([self.path])[0]


FP32 = case("fp32", role="fp32")
FAST = case("static int8")
SLOW = case("dynamic int8")
BF16 = case("bf16", role="float")
SHAKY = case("weight only")
FAKE = case("fake int4", state=FakeQuant(Scheme(4, None, "per_group")))
COLLAPSED = case("static int4")
SKIPPED = case("fp8", device="cpu")
BROKEN = case("smoothquant")
UNMADE = case("gptq")


def measured_run(folder: Path, profile: str = "quick") -> Run:
    """Return the run that most tests read.

    static int8: 2.5, 2.5 and 2.4 times as fast, 1 more wrong and 0 more right of 100, a quarter of the size.
    dynamic int8: half as fast, more memory. weight only: ratios 1.2, 2.0, 3.0, so unstable.
    fake int4: simulated. static int4: collapsed. fp8: skipped. smoothquant: scored, then crashes.
    gptq: never made.
    """
    build = Builder(folder, profile)
    build.add("plan", SKIPPED, Skipped("fp8 kernels need other hardware than cpu"))
    build.data()
    unfit = Failed("apply", "DoesNotFit: 12 columns\nmore", "Traceback ...")
    build.add("prepare", UNMADE.deployment.artifact, unfit)
    build.whole(FP32, correct(10), (0.010, 0.020, 0.012))
    build.whole(FAST, correct(11), (0.004, 0.008, 0.005), 260_000, 60_000_000)
    build.whole(SLOW, correct(10), (0.020, 0.040, 0.024), 270_000, 120_000_000)
    build.whole(BF16, correct(10), (0.008, 0.016, 0.0096), 500_000)
    build.whole(SHAKY, correct(10), (0.010 / 1.2, 0.010, 0.004), 300_000)
    build.prepare(FAKE, 1_100_000)
    simulated = "simulated: this would be the speed of float kernels"
    native = ("latency", "energy", "load_time", "first_inference", "peak_memory")
    build.score(FAKE, correct(15), withheld=tuple(Withheld(name, simulated) for name in native))
    build.prepare(COLLAPSED, 140_000)
    build.score(
        COLLAPSED,
        correct(85),
        withheld=(Withheld("latency", "collapsed: no speed is ranked"),),
        verdicts=(Verdict("collapsed", "accuracy 15 % is near the chance of 10 %"),),
    )
    build.prepare(BROKEN, 260_000)
    build.score(BROKEN, correct(10))
    build.add("deploy", BROKEN, Failed("load", "the process was killed by signal 11", "no traceback"))
    for k in range(3):
        build.measured("anchor", Anchor("cpu"), k, anchor=(0.002, 0.002, 0.0021))
    return build.run()
