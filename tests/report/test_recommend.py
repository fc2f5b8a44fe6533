import example_run as example
import pytest
from example_run import Builder, case, correct, measured_run

from qbench.records import Skipped, Verdict, Withheld
from qbench.report.recommend import recommend
from qbench.report.select import select


def verdict_on(build):
    found = recommend(select(build.run()))
    assert len(found) == 1
    return found[0]


def test_the_fastest_that_is_right_steady_and_surely_faster_is_shipped(tmp_path):
    (found,) = recommend(select(measured_run(tmp_path)))
    assert (found.kind, found.ship.technique) == ("technique", "static int8")
    assert found.gains.startswith("Gains: 2.50× the speed of fp32 on the same engine (2.40–2.50×")
    assert "2.00× that of the best float, bf16 on onnxruntime" in found.gains
    assert "accuracy −1.00 pp (−4.00 to +2.00 pp)" in found.loses
    assert "quick profile" in found.sure
    assert "not proven" in found.sure
    assert found.break_even == "Break-even after 267 examples (267–286)"
    reasons = {cell.technique: reason for cell, reason in found.rejected}
    assert set(reasons) == {
        "fp8",
        "dynamic int8",
        "weight only",
        "fake int4",
        "static int4",
        "smoothquant",
    }
    assert "varied by" in reasons["weight only"]
    assert reasons["static int4"].startswith("collapsed")
    assert reasons["dynamic int8"].startswith("not faster")


def test_a_technique_slower_than_the_best_float_of_another_engine_is_not_shipped(tmp_path):
    build = Builder(tmp_path)
    build.whole(example.FP32, correct(10), (0.010, 0.010, 0.010))
    build.whole(example.FAST, correct(10), (0.005, 0.005, 0.005))  # twice as fast as its own fp32
    build.whole(case("fp32", role="fp32", backend="other"), correct(10), (0.004, 0.004, 0.004))
    found = verdict_on(build)
    assert (found.kind, found.ship.engine) == ("float", "other")
    assert "not faster than the best float cell" in found.rejected[0][1]


@pytest.mark.parametrize("seconds", [(0.009, 0.009, 0.0101), (0.010, 0.010, 0.010), (0.009,)])
def test_what_is_not_surely_faster_is_not_shipped(tmp_path, seconds):
    build = Builder(tmp_path)
    build.whole(example.FP32, correct(10), (0.010, 0.010, 0.010))
    build.whole(example.FAST, correct(10), seconds)
    build.whole(example.SLOW, correct(10), (0.020, 0.020, 0.020))
    found = verdict_on(build)
    assert (found.kind, found.ship.role) == ("float", "fp32")
    assert "flatters" not in found.sure
    assert "no quantized file is proven faster" in found.headline


def test_what_is_known_to_lose_accuracy_is_not_shipped(tmp_path):
    build = Builder(tmp_path)
    build.whole(example.FP32, correct(10), (0.010, 0.010, 0.010))
    build.whole(example.FAST, correct(20), (0.005, 0.005, 0.005))
    found = verdict_on(build)
    assert found.kind == "float"
    assert "accuracy falls by more than the limit of −1.00 pp" in found.rejected[0][1]


def test_scores_on_other_examples_ship_nothing(tmp_path):
    build = Builder(tmp_path)
    build.whole(example.FP32, correct(10), (0.010, 0.010, 0.010))
    build.prepare(example.FAST)
    build.score(example.FAST, correct(10), data_id="ffff")
    build.time(example.FAST, 0.005, 0.005, 0.005)
    assert verdict_on(build).kind == "float"


def test_a_collapsed_cell_with_a_speed_all_the_same_is_never_shipped(tmp_path):
    build = Builder(tmp_path)
    build.whole(example.FP32, correct(10), (0.010, 0.010, 0.010))
    build.prepare(example.FAST)
    build.score(example.FAST, correct(10), verdicts=(Verdict("collapsed", "non-finite outputs"),))
    build.time(example.FAST, 0.005, 0.005, 0.005)
    assert verdict_on(build).kind == "float"


def test_without_anything_to_judge_by_it_is_labelled_not_proven(tmp_path):
    build = Builder(tmp_path)
    hidden = tuple(Withheld(name, "no labels, no classes") for name in ("correct", "prediction"))
    for cell, seconds in ((example.FP32, 0.010), (example.FAST, 0.005)):
        build.prepare(cell)
        facts = {"evidence": (example.Evidence("data id", "aaaa"),), "withheld": hidden}
        build.measured("score", cell, extra=facts, reference_error=0.1)
        build.time(cell, seconds, seconds, seconds)
    found = verdict_on(build)
    assert found.kind == "technique"
    assert "not proven: nothing tells" in found.sure
    assert "accuracy unknown" in found.loses


def test_nothing_measured_recommends_nothing_and_says_so(tmp_path):
    build = Builder(tmp_path)
    build.prepare(example.FP32)
    build.score(example.FP32, correct(10))
    found = verdict_on(build)
    assert (found.kind, found.ship) == ("nothing", None)
    assert "Nothing can be recommended" in found.sentence


def test_where_all_was_skipped_for_one_reason_it_is_told(tmp_path):
    build = Builder(tmp_path)
    for cell in (example.FP32, example.FAST):
        build.add("plan", cell, Skipped("no such device on this machine"))
    assert "Every cell was skipped: no such device on this machine" in verdict_on(build).sentence


def test_every_batch_has_its_own_verdict(tmp_path):
    build = Builder(tmp_path)
    build.whole(case("fp32", role="fp32"), correct(10), (0.010, 0.010, 0.010))
    build.whole(case("int8"), correct(10), (0.005, 0.005, 0.005))
    build.time(case("fp32", role="fp32", batch=8), 0.010, 0.010, 0.010)  # scored once for both batches
    build.time(case("int8", batch=8), 0.020, 0.020, 0.020)
    assert [found.kind for found in recommend(select(build.run()))] == ["technique", "float"]


def test_what_is_larger_stands_under_losses(tmp_path):
    build = Builder(tmp_path)
    build.whole(example.FP32, correct(10), (0.010, 0.010, 0.010))
    build.whole(example.FAST, correct(10), (0.005, 0.005, 0.005), 1_200_000, 100_000_000)
    found = verdict_on(build)
    assert "file 1.20× of fp32's; peak memory 1.25× of fp32's" in found.loses
    assert "file" not in found.gains


def test_an_unstable_gain_wins_only_where_its_worst_round_wins_by_more_than_the_rounds_differ(tmp_path):
    ratios = {"sure": (2.6, 5.2, 5.7), "doubtful": (1.2, 1.6, 2.8)}
    # spread over mean: 1.66 / 4.5 = 0.37, and 2.6 > 1.37; 0.83 / 1.87 = 0.45, and 1.2 < 1.45
    for name, kind in (("sure", "technique"), ("doubtful", "float")):
        build = Builder(tmp_path / name)
        build.whole(example.FP32, correct(10), (0.010, 0.010, 0.010))
        build.whole(example.FAST, correct(10), tuple(0.010 / ratio for ratio in ratios[name]))
        found = verdict_on(build)
        assert found.kind == kind
        told = found.sure if kind == "technique" else found.rejected[0][1]
        assert "varied by" in told
        assert ("its worst round does not beat float by more than that" in told) == (kind == "float")
    assert "faster in every round" not in found.sure


def test_the_best_float_may_be_unstable_too_where_its_worst_round_wins(tmp_path):
    for ratios, technique in (((1.5, 2.1, 2.2), "bf16"), ((1.1, 1.6, 2.2), "fp32")):
        build = Builder(tmp_path / technique)
        build.whole(example.FP32, correct(10), (0.010, 0.010, 0.010))
        build.whole(case("bf16", role="float"), correct(10), tuple(0.010 / ratio for ratio in ratios))
        assert verdict_on(build).ship.technique == technique


@pytest.mark.parametrize(
    ("seconds", "headline"),
    [
        ((0.010, 0.010, 0.010), "because no quantized file was timed"),
        ((0.010, 0.020, 0.005), "Nothing can be recommended"),
    ],
    ids=["steady", "shaky"],
)
def test_where_techniques_were_scored_only_nobody_is_told_to_measure_again(tmp_path, seconds, headline):
    build = Builder(tmp_path)
    build.whole(example.FP32, correct(10), seconds)
    scored = case("int4")
    build.prepare(scored)
    build.score(scored, correct(11), withheld=(Withheld("latency", "simulated"),))
    found = verdict_on(build)
    assert headline in found.headline
    if found.kind == "nothing":
        assert found.gains.startswith("No technique was timed here: each was scored only")
        assert found.loses == "What each one loses stands in the matrix"


def test_where_no_file_could_be_made_no_speed_is_spoken_of(tmp_path):
    build = Builder(tmp_path)
    build.whole(example.FP32, correct(10), (0.010, 0.010, 0.010))
    build.add("plan", example.FAST, Skipped("no way leads there"))
    assert "because no quantized file could be made and run" in verdict_on(build).headline
