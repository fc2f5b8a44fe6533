import dataclasses

import example_run as example
import pytest
from example_run import Builder, case, correct, measured_run

from qbench.cases import Choice, DataSpec, Scenario
from qbench.records import Failed, Measured, Measurement, Verdict, Withheld
from qbench.report.figures import FIGURES, Absent, Figure
from qbench.report.select import select


@pytest.fixture
def cells(tmp_path):
    return {cell.technique: cell for cell in select(measured_run(tmp_path))}


def test_every_cell_has_every_figure_or_its_reason(cells):
    assert len(cells) == 10
    for cell in cells.values():
        assert list(cell.figures) == list(FIGURES)
        for value in cell.figures.values():
            assert isinstance(value, Figure) or value.reason.strip()


@pytest.mark.parametrize(
    ("technique", "figure", "value", "low", "high"),
    [
        ("fp32", "accuracy", 0.90, 0.8256, 0.9448),
        ("static int8", "accuracy_difference", -0.01, -0.04, 0.02),  # b 1.5, c 0.5
        ("static int8", "detectable", 0.0395, None, None),
        ("static int8", "flips", 0.01, 0.0018, 0.0545),
        ("static int8", "agreement", 0.99, 0.9455, 0.9982),
        ("static int8", "kl_divergence", 0.01, 0.01, 0.01),
        ("static int8", "size_ratio", 0.26, None, None),
        ("static int8", "size_over_float", 0.52, None, None),  # bf16 is half of fp32
        ("static int8", "covered_ratio", 220 / 960, None, None),
        ("static int8", "coverage", 0.96, None, None),
        ("static int8", "speedup", 2.5, 2.4, 2.5),
        ("static int8", "speedup_over_float", 2.0, 1.92, 2.0),  # bf16 takes 8 ms
        ("static int8", "latency", 0.005, 0.004, 0.008),
        ("static int8", "memory_ratio", 0.75, None, None),
        ("static int8", "break_even", 2 / (0.005 * 1.5), 2 / (0.005 * 1.5), 2 / (0.005 * 1.4)),
        ("dynamic int8", "speedup", 0.5, 0.5, 0.5),
    ],
)
def test_figures_worked_by_hand(cells, technique, figure, value, low, high):
    found = cells[technique].figures[figure]
    assert found.value == pytest.approx(value, abs=1e-4)
    assert (found.low, found.high) == (
        (None, None) if low is None else (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))
    )


@pytest.mark.parametrize(
    ("technique", "status", "figure", "reason"),
    [
        ("fp8", "skipped", "latency", "skipped: fp8 kernels need other hardware"),
        ("gptq", "failed", "speedup", "failed at apply: DoesNotFit: 12 columns"),
        ("smoothquant", "failed", "latency", "killed by signal 11"),
        ("static int4", "collapsed", "speedup", "collapsed: no speed is ranked"),
        ("fake int4", "measured", "latency", "simulated"),
        ("fake int4", "measured", "peak_memory", "simulated"),
        ("fake int4", "measured", "energy", "simulated"),
        ("static int8", "measured", "energy", "no counter on this host"),
        ("static int8", "measured", "latency_p99", "p99 needs 662 samples, there are 90"),
        ("dynamic int8", "measured", "break_even", "never: it is not faster"),
        ("fp32", "measured", "speedup", "fp32 itself"),
    ],
)
def test_what_is_absent_says_why(cells, technique, status, figure, reason):
    assert cells[technique].status == status
    assert reason in cells[technique].figures[figure].reason


def test_figures_name_the_lines_that_hold_their_samples(tmp_path):
    run = measured_run(tmp_path)
    by_line = dict(zip(run.lines, run.records, strict=True))
    steps = {"accuracy": "score", "file_size": "prepare", "latency": "time", "load_time": "deploy"}
    for cell in select(run):
        for name, value in cell.figures.items():
            if isinstance(value, Figure):
                assert value.lines
                assert all(line in by_line for line in value.lines)
            if isinstance(value, Figure) and name in steps:
                subjects = {by_line[line].step.subject for line in value.lines}
                assert subjects == {cell.artifact if name == "file_size" else cell.case}
                assert {by_line[line].step.kind for line in value.lines} == {steps[name]}


def test_an_unstable_cell_says_what_to_do_next_and_never_what_was_done(tmp_path):
    for profile, advice in (("quick", "--profile standard"), ("standard", "--profile rigorous")):
        cells = {c.technique: c for c in select(measured_run(tmp_path / profile, profile))}
        assert advice in cells["weight only"].unstable
        assert cells["static int8"].unstable is None
    cells = {c.technique: c for c in select(measured_run(tmp_path / "rigorous", "rigorous"))}
    assert "--profile" not in cells["weight only"].unstable
    assert "quieter machine" in cells["weight only"].unstable


def test_a_device_that_is_no_cpu_is_judged_more_strictly(tmp_path):
    build = Builder(tmp_path)
    for device in ("cpu", "accelerator:0"):
        build.whole(case("fp32", role="fp32", device=device), correct(10), (0.010, 0.010, 0.010))
        build.whole(case("int8", device=device), correct(10), (0.005, 0.005, 0.0053))
    unstable = {c.device: bool(c.unstable) for c in select(build.run()) if c.technique == "int8"}
    assert unstable == {"cpu": False, "accelerator:0": True}


def test_other_data_ids_are_never_compared(tmp_path):
    build = Builder(tmp_path)
    build.score(example.FP32, correct(10))
    build.score(example.FAST, correct(10), data_id="ffff")
    cell = select(build.run())[1]
    for name in ("accuracy_difference", "flips", "agreement", "detectable", "p_value"):
        assert "data id ffff against aaaa" in cell.figures[name].reason
    assert isinstance(cell.figures["accuracy"], Figure)


def test_a_score_that_broke_says_so_wherever_its_answers_would_be_compared(tmp_path):
    build = Builder(tmp_path)
    build.score(example.FP32, correct(10))
    build.add("score", example.FAST, Failed("load", "killed"))
    cell = select(build.run())[1]
    for name in ("accuracy_difference", "flips", "agreement", "detectable", "p_value"):
        assert cell.figures[name].reason == "failed at load: killed"


def test_without_labels_agreement_is_what_is_judged(tmp_path):
    build = Builder(tmp_path)
    hidden = (Withheld("correct", "the user's inputs have no labels"),)
    build.score(example.FP32, correct(0), withheld=hidden, labels=False)
    build.score(example.FAST, correct(2), withheld=hidden, labels=False)
    build.score(example.SLOW, correct(70), withheld=hidden, labels=False)
    _, good, bad = select(build.run())
    assert good.figures["accuracy"] == Absent("the user's inputs have no labels")
    assert good.figures["agreement"].value == 0.98
    assert good.judgement.outcome == "inconclusive"
    assert "no labels" in good.judgement.text
    assert bad.judgement.outcome == "fail"  # the rule for a collapse: (0.3 - 0.1) / 0.9 < 0.5


def test_a_baseline_is_of_the_same_engine_device_and_scenario(tmp_path):
    build = Builder(tmp_path)
    build.whole(case("fp32", role="fp32", backend="other"), correct(10), (0.01, 0.01, 0.01))
    build.whole(case("fp32", role="fp32", batch=8), correct(10), (0.08, 0.08, 0.08))
    build.whole(example.FAST, correct(10), (0.005, 0.005, 0.005))
    cell = select(build.run())[-1]
    assert cell.baseline is None
    assert "no fp32 of the same engine" in cell.figures["speedup"].reason
    assert cell.figures["speedup_over_float"].value == pytest.approx(2)  # of any engine


def test_two_engines_take_turns_in_the_same_rounds_so_drift_cancels_across_them(tmp_path):
    build = Builder(tmp_path)
    build.whole(case("fp32", role="fp32", backend="other"), correct(10), (0.010, 0.020, 0.012))
    build.whole(example.FAST, correct(10), (0.005, 0.010, 0.006))  # twice as fast in every round
    found = select(build.run())[1].figures["speedup_over_float"]
    assert (found.value, found.low, found.high) == (2.0, 2.0, 2.0)


def test_the_batch_counts_in_break_even(tmp_path):
    build = Builder(tmp_path)
    build.whole(case("fp32", role="fp32", batch=8), correct(10), (0.08, 0.08, 0.08))
    build.whole(case("int8", batch=8), correct(10), (0.04, 0.04, 0.04))
    assert select(build.run())[1].figures["break_even"].value == pytest.approx(8 * 2 / 0.04)


def test_the_cost_of_quantizing_alone_is_what_must_break_even(tmp_path):
    build = Builder(tmp_path)
    build.whole(example.FP32, correct(10), (0.02, 0.02, 0.02))
    artifact = example.FAST.deployment.artifact
    build.measured("prepare", artifact, file_size=1e5, prepare_time=9.0, quantize_time=1.0)
    build.score(example.FAST, correct(10))
    build.time(example.FAST, 0.01, 0.01, 0.01)
    assert select(build.run())[1].figures["break_even"].value == pytest.approx(100)


def test_a_case_that_is_only_scored_joins_the_group_of_its_fp32(tmp_path):
    build = Builder(tmp_path)
    build.whole(example.FP32, correct(10), (0.01, 0.01, 0.01))
    scored = dataclasses.replace(example.FAKE, scenario=Scenario("scored"))
    build.score(scored, correct(11))
    base, cell = select(build.run())
    assert cell.group == base.group
    assert cell.figures["accuracy_difference"].value == -0.01


def test_calls_timed_in_groups_have_no_percentile(tmp_path):
    build = Builder(tmp_path)
    for k in range(3):
        build.add("time", example.FP32, Measured((Measurement("latency", (1e-6,) * 100, group=50),)), k)
    figures = select(build.run())[0].figures
    assert figures["latency"].value == pytest.approx(1e-6)
    assert "groups of 50" in figures["latency_p90"].reason


def test_one_round_is_no_interval(tmp_path):
    build = Builder(tmp_path)
    build.whole(example.FP32, correct(10), (0.01,))
    build.whole(example.FAST, correct(10), (0.005,))
    cell = select(build.run())[1]
    assert (cell.figures["speedup"].value, cell.figures["speedup"].interval) == (2.0, "single")
    assert "one round" in cell.figures["break_even"].reason


def test_a_round_that_failed_is_not_pooled_and_the_cell_has_failed(tmp_path):
    build = Builder(tmp_path)
    build.whole(example.FP32, correct(10), (0.01, 0.01, 0.01))
    build.whole(example.FAST, correct(10), (0.005, 0.005))
    partial = (Measurement("latency", (99.0,)),)
    build.add("time", example.FAST, Failed("time", "killed", measurements=partial), 2)
    cell = select(build.run())[1]
    assert (cell.status, cell.figures["latency"].n, cell.figures["speedup"].n) == ("failed", 60, 2)


def test_a_resumed_run_counts_the_second_try(tmp_path):
    build = Builder(tmp_path)
    build.add("score", example.FP32, Failed("load", "killed"))
    build.score(example.FP32, correct(10))
    cell = select(build.run())[0]
    assert (cell.status, cell.figures["accuracy"].lines) == ("measured", (3,))


def test_a_run_cut_short_says_so_and_an_empty_one_has_no_cells(tmp_path):
    build = Builder(tmp_path)
    build.score(example.FP32, correct(10))
    assert "the run ended before" in select(build.run())[0].figures["latency"].reason
    assert select(Builder(tmp_path / "empty").run()) == ()


def test_data_that_failed_fails_the_cells_that_need_it(tmp_path):
    build = Builder(tmp_path)
    build.add("data", example.TEST, Failed("render", "no space left"))
    build.add("data", DataSpec(Choice("letters"), "test", 5), Failed("render", "torn"))
    build.prepare(example.FP32)
    build.add("score", example.FP32, Failed("data", "no examples"))
    cell = select(build.run())[0]
    assert [reason.text for reason in cell.reasons] == ["no space left", "no examples"]


def test_not_steady_is_kept_as_a_caution(tmp_path):
    build = Builder(tmp_path)
    verdicts = (Verdict("not_steady", "still getting faster after 2 s"),)
    latency = Measurement("latency", (0.01,) * 20)
    build.add("time", example.FP32, Measured((latency,), verdicts=verdicts))
    assert [v.kind for v in select(build.run())[0].verdicts] == ["not_steady"]
