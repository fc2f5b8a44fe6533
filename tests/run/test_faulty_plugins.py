"""The whole program on an engine of which every number is known, with a plug-in for every way to go wrong."""

from pathlib import Path

import pytest
from workplace import Nobody, of, samples

from qbench.profile import Profile
from qbench.records import Failed, Measured, Skipped
from qbench.run.protocol import Limits

BROKEN = (
    "lying", "collapse", "nan", "crash", "hang", "allocate", "empty", "float_kernels", "simulated", "raises",
    "exits", "contradicts",
)  # fmt: skip
TECHNIQUES = {name: f'[{{ use = "fake_{name}" }}]' for name in ("int8", "holds", *BROKEN)}


@pytest.fixture(scope="module")
def ended(shared_place):
    """One run of everything that can go wrong, on the command line."""
    shared_place.suite("faulty", TECHNIQUES)
    return shared_place.qbench(
        "run", "--suite", "faulty", "--hw", "testbed", "--time-limit", "8s", "--memory-limit", "600MiB"
    )


@pytest.fixture(scope="module")
def run(ended, shared_place):  # noqa: ARG001
    return shared_place.last()


def test_the_run_ends_with_a_page_and_tells_that_something_failed(ended, shared_place):
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    assert (shared_place.root / "reports" / "faulty" / "index.html").is_file()
    assert "failed" in ended.stdout
    assert "this technique is broken" in ended.stdout


# --- what is right stays exactly right ------------------------------------------------------------


@pytest.mark.parametrize(("technique", "latency_s", "calls"), [("fp32", 0.02, 50), ("int8", 0.01, 100)])
def test_latency_is_that_of_the_fake_clock_to_the_nanosecond(run, technique, latency_s, calls):
    rounds = of(run, "time", technique)
    assert [record.step.round for record in rounds] == [0, 1, 2]
    for record in rounds:
        assert samples(record, "latency") == (latency_s,) * calls


@pytest.mark.parametrize(
    ("technique", "share"), [("fp32", 0.9), ("int8", 0.8), ("simulated", 0.8), ("collapse", 0.2)]
)
def test_accuracy_is_the_share_that_the_file_names(run, technique, share):
    (record,) = of(run, "score", technique)
    correct = samples(record, "correct")
    assert len(correct) == 200
    assert sum(correct) / 200 == share


def test_sizes_and_covered_bytes_are_those_of_the_file(run):
    (record,) = of(run, "prepare", hop="fake_int8")
    assert samples(record, "covered_weights") == (5000,)
    assert samples(record, "covered_float") == (20000,)
    assert samples(record, "model_float") == (20000,)


def test_the_first_call_of_a_deployment_is_known_too(run):
    (record,) = of(run, "deploy", "int8")
    assert samples(record, "first_inference") == (0.01,)


def test_memory_is_that_of_a_known_allocation(run):
    """200 MB held from loading on, 100 MB more inside a call; three per cent for what Python takes."""
    (record,) = of(run, "deploy", "holds")
    engine, loaded, peak = (samples(record, f"{name}_memory")[0] for name in ("engine", "load", "peak"))
    assert loaded - engine == pytest.approx(200e6, rel=0.03)
    assert peak - loaded == pytest.approx(100e6, rel=0.03)
    withheld = {each.metric: each.reason for each in record.outcome.withheld}
    assert "no memory of its own" in withheld["device_memory"]


# --- every way to go wrong ends as it must ---------------------------------------------------------

PREPARING = {
    "lying": ("proof", "none of the 2 weights in the deployed file is stored in 8 bits"),
    "raises": ("quantize", "RuntimeError: this technique is broken"),
    "exits": ("prepare", "the process ended with exit code 7 and no result"),
    "contradicts": ("quantize", "announced the state"),
}
SCORING = {
    "crash": ("score", "the process was killed by SIGABRT"),
    "hang": ("score", "stopped: it took longer than its limit of 8 s"),
    "allocate": ("score", "stopped: it took more memory than its limit of 0.586 GiB"),
    "empty": ("score", "gave an output of shape (0, 10)"),
    "float_kernels": ("proof of kernel", "only 0 multiply-accumulate kernels"),
}


@pytest.mark.parametrize("technique", PREPARING)
def test_what_breaks_while_it_is_prepared_is_recorded_with_its_stage(run, technique):
    (record,) = of(run, "prepare", hop=f"fake_{technique}")
    stage, words = PREPARING[technique]
    assert isinstance(record.outcome, Failed)
    assert record.outcome.stage == stage
    assert words in record.outcome.error
    assert of(run, "score", technique) == of(run, "time", technique) == []


@pytest.mark.parametrize("technique", SCORING)
def test_what_breaks_on_the_engine_is_recorded_and_never_timed(run, technique):
    (record,) = of(run, "score", technique)
    stage, words = SCORING[technique]
    assert isinstance(record.outcome, Failed)
    assert record.outcome.stage == stage
    assert words in record.outcome.error
    assert of(run, "deploy", technique) == of(run, "time", technique) == []


@pytest.mark.parametrize(
    ("technique", "words"),
    [("collapse", "accuracy 20.0% against 90.0%"), ("nan", "200 of 200 answers hold NaN")],
)
def test_a_collapse_is_a_verdict_with_accuracy_and_size_and_without_speed(run, technique, words):
    (record,) = of(run, "score", technique)
    assert isinstance(record.outcome, Measured)
    assert [verdict.kind for verdict in record.outcome.verdicts] == ["collapsed"]
    assert words in record.outcome.verdicts[0].text
    assert "latency" in [withheld.metric for withheld in record.outcome.withheld]
    assert of(run, "deploy", technique) == of(run, "time", technique) == []
    assert samples(of(run, "prepare", hop=f"fake_{technique}")[0], "file_size")[0] > 0


def test_a_simulated_network_has_an_accuracy_and_no_speed(run):
    (record,) = of(run, "score", "simulated")
    assert not record.outcome.verdicts
    reasons = {withheld.metric: withheld.reason for withheld in record.outcome.withheld}
    assert reasons["latency"].startswith("simulated")
    assert of(run, "time", "simulated") == []


def test_a_failure_keeps_its_traceback_and_the_last_words_of_its_log(run):
    (raised,) = of(run, "prepare", hop="fake_raises")
    assert 'File "qbench_faulty/fake_strategies.py"' in raised.outcome.traceback  # no folder of this machine
    (left,) = of(run, "prepare", hop="fake_exits")
    assert left.log.startswith("last words: \N{REPLACEMENT CHARACTER}")  # they were no UTF-8
    (crashed,) = of(run, "score", "crash")
    assert "Fatal Python error: Aborted" in crashed.log
    assert "backends/fake.py" in crashed.log


def test_only_what_may_be_timed_is_timed(run):
    timed = {record.step.subject.technique for record in run.records if record.step.kind == "time"}
    assert timed == {"fp32", "int8", "holds"}


def test_no_cell_is_without_an_outcome(run):
    """Every technique has a score, or the failure of what comes before it."""
    prepared = {record.step.subject.way[-1].use.name for record in of(run, "prepare")}
    assert prepared == {"fake_network", *(f"fake_{name}" for name in ("int8", "holds", *BROKEN))}
    scored = {record.step.subject.technique for record in of(run, "score")}
    assert scored == {"fp32", *TECHNIQUES} - set(PREPARING)


# --- exit codes, skips ------------------------------------------------------------------------------


def test_exit_codes_say_measured_collapsed_and_wrong_usage(place):
    place.suite(
        "expected",
        {"known": '[{ use = "fake_collapse" }]'},
        more='[[expect]]\ntechnique = "known"\nreason = "its scale is wrong"\n',
    )
    expected = place.qbench("run", "-s", "expected", "--hw", "testbed")
    assert expected.returncode == 0, expected.stdout + expected.stderr
    (record,) = of(place.last(), "score", "known")
    assert [verdict.kind for verdict in record.outcome.verdicts] == ["collapsed"]  # shown as ever
    assert "its scale is wrong" in [evidence.found for evidence in record.outcome.evidence]
    for wrong in (
        ["run", "-s", "expcted"],
        ["run", "--no-such-flag"],
        ["run", "-s", "expected", "--time-limit", "4"],
    ):
        answer = place.qbench(*wrong)
        assert answer.returncode == 2, answer.stdout + answer.stderr
        assert "Traceback" not in answer.stderr


def test_a_resumed_run_with_an_old_collapse_ends_as_the_first_did(inside):
    inside.suite("bad", {"known": '[{ use = "fake_collapse" }]'})
    assert len(inside.execute("bad").tally.collapsed) == 1
    again = inside.execute("bad", resume=True)
    assert len(again.tally.collapsed) == 1
    assert again.tally.steps == 0


def test_what_cannot_run_here_is_skipped_with_its_reason_before_anything_starts(inside):
    inside.suite(
        "skips",
        {"int8": '[{ use = "static_int8" }]', "twice": '[{ use = "fake_int8" }, { use = "fake_int8" }]'},
    )
    run = inside.execute("skips").run
    planned = {r.step.subject.technique: r.outcome for r in run.records if r.step.kind == "plan"}
    assert planned["fp32"] == Measured(())  # what will run is told as well: no cell can vanish
    skipped = {name: outcome for name, outcome in planned.items() if isinstance(outcome, Skipped)}
    assert set(skipped) == {"int8", "twice"}
    assert "from fake through static_int8 (onnx to onnx) to fake" in skipped["int8"].reason
    assert "this one is quantized already" in skipped["twice"].reason
    assert {r.step.subject.technique for r in run.records if r.step.kind == "time"} == {"fp32"}
    assert [r.step.kind for r in run.records][:4] == ["plan", "plan", "plan", "data"]


def test_a_device_that_is_not_here_is_skipped_with_the_reason(inside):
    if Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has an NVIDIA device")
    inside.suite("cuda", {"int8": '[{ use = "static_int8" }]'}, model="onnx_network", backend="onnxruntime")
    text = (inside.root / "hardware_profiles" / "testbed.toml").read_text()
    (inside.root / "hardware_profiles" / "testbed.toml").write_text(text.replace('"cpu"', '"cuda"'))
    plan = inside.plan("cuda")
    assert plan.cells == ()
    assert len(plan.skips) == 2
    assert all("CUDA provider" in skip.reason or "no NVIDIA device" in skip.reason for skip in plan.skips)
    run = inside.execute("cuda").run
    assert [record.step.kind for record in run.records] == ["plan", "plan"]


# --- on a real engine -------------------------------------------------------------------------------


def test_techniques_on_real_onnx_files_are_found_out(inside):
    techniques = {
        "honest": '[{ use = "static_int8", per_channel = false }]',
        "lying": '[{ use = "lying_onnx" }]',
        "collapsing": '[{ use = "collapsing_onnx" }]',
        "nan": '[{ use = "nan_onnx" }]',
    }
    inside.suite("onnx", techniques, model="onnx_network", backend="onnxruntime")
    brief = Profile(
        "quick", 1, 0.02, 0.05, 200, all_seeds=False, one_thread=True, fresh_servers=False, priority=1
    )
    run = inside.execute("onnx", brief, watcher=Nobody(), limits=Limits(time_s=60)).run
    (lied,) = of(run, "prepare", hop="lying_onnx")
    assert isinstance(lied.outcome, Failed)
    assert (
        "none of the 2 weights in the deployed file is stored in 8 bits (found: 32 bits)"
        in lied.outcome.error
    )
    for technique, words in (
        ("collapsing", "more than half of what the network knew is gone"),
        ("nan", "NaN or infinity"),
    ):
        (record,) = of(run, "score", technique)
        assert isinstance(record.outcome, Measured), record.outcome
        assert samples(record, "low_bit_kernels")[0] >= 1  # really int8 kernels
        assert words in record.outcome.verdicts[0].text
    for technique in ("fp32", "honest"):
        (record,) = of(run, "score", technique)
        assert sum(samples(record, "correct")) == 200
        assert len(of(run, "time", technique)) == 1
