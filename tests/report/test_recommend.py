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
    assert reasons["dynamic int8"] == "slower than fp32 on the same engine: 0.500× its speed (0.500–0.500×)"


def test_a_technique_slower_than_the_best_float_of_another_engine_is_not_shipped(tmp_path):
    build = Builder(tmp_path)
    build.whole(example.FP32, correct(10), (0.010, 0.010, 0.010))
    build.whole(example.FAST, correct(10), (0.005, 0.005, 0.005))  # twice as fast as its own fp32
    build.whole(case("fp32", role="fp32", backend="other"), correct(10), (0.004, 0.004, 0.004))
    found = verdict_on(build)
    assert (found.kind, found.ship.engine) == ("float", "other")
    assert found.rejected[0][1].startswith("slower than the best float cell: 0.800×")
    assert found.because == "static int8 on onnxruntime is slower, 0.800× the speed of float (0.800–0.800×)"


@pytest.mark.parametrize("seconds", [(0.009, 0.009, 0.0101), (0.010, 0.010, 0.010), (0.009,)])
def test_what_is_not_surely_faster_is_not_shipped(tmp_path, seconds):
    build = Builder(tmp_path)
    build.whole(example.FP32, correct(10), (0.010, 0.010, 0.010))
    build.whole(example.FAST, correct(10), seconds)
    build.whole(example.SLOW, correct(10), (0.020, 0.020, 0.020))
    found = verdict_on(build)
    assert (found.kind, found.ship.role) == ("float", "fp32")
    assert "best of" not in found.sure
    assert found.because.startswith("dynamic int8 on onnxruntime is slower, 0.500×")
    assert "static int8 on onnxruntime is not proven faster" in found.because


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


def test_what_nobody_can_judge_is_never_shipped_and_what_would_judge_it_is_told(tmp_path):
    build = Builder(tmp_path)
    hidden = tuple(Withheld(name, "no labels, no classes") for name in ("correct", "prediction"))
    for cell, seconds in ((example.FP32, 0.010), (example.FAST, 0.005)):
        build.prepare(cell)
        facts = {"evidence": (example.Evidence("data id", "aaaa"),), "withheld": hidden}
        build.measured("score", cell, extra=facts, reference_error=0.1)
        build.time(cell, seconds, seconds, seconds)
    found = verdict_on(build)
    assert (found.kind, found.ship) == ("nothing", None)
    assert "nothing here can judge the answers of static int8 on onnxruntime" in found.headline
    assert "2.00× the speed" in found.gains
    for words in ("nothing tells", "--output-kind NAME=KIND", "labels"):
        assert words in found.loses


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
    shaky = {(1.5, 2.1, 2.2): "bf16", (1.1, 1.6, 2.2): "bf16", (0.9, 1.6, 2.2): "fp32"}
    for ratios, technique in shaky.items():
        build = Builder(tmp_path / str(ratios[0]))
        build.whole(example.FP32, correct(10), (0.010, 0.010, 0.010))
        build.whole(case("bf16", role="float"), correct(10), tuple(0.010 / ratio for ratio in ratios))
        assert verdict_on(build).ship.technique == technique


@pytest.mark.parametrize("seconds", [(0.010, 0.010, 0.010), (0.010, 0.020, 0.005)], ids=["steady", "shaky"])
def test_where_techniques_were_scored_only_nobody_is_told_to_measure_again(tmp_path, seconds):
    build = Builder(tmp_path)
    build.whole(example.FP32, correct(10), seconds)
    scored = case("int4")
    build.prepare(scored)
    build.score(scored, correct(11), withheld=(Withheld("latency", "simulated"),))
    found = verdict_on(build)
    assert (found.kind, found.because) == ("float", "no quantized file was timed")
    assert found.rejected[0][1] == "not timed: simulated"


def test_the_slower_float_is_never_shipped_for_being_the_steadier_one(tmp_path):
    """4 and 20 ms: the faster one was interrupted in one round, which makes the other one no faster."""
    build = Builder(tmp_path)
    build.whole(case("fp32", role="fp32", backend="slow"), correct(10), (0.020, 0.020, 0.020))
    build.prepare(example.FP32)
    build.score(example.FP32, correct(10))
    for k, (middle, switches) in enumerate(((0.004, 6.0), (0.004, 6.0), (0.006, 60.0))):
        build.measured("time", example.FP32, k, latency=(middle,) * 30, involuntary_switches=switches)
    found = verdict_on(build)
    assert (found.kind, found.ship.engine) == ("float", "onnxruntime")
    assert "its latency is not known well: the process was interrupted" in found.sure


def test_where_every_technique_is_surely_slower_float_is_shipped_however_unsteady_it_is(tmp_path):
    build = Builder(tmp_path)
    build.whole(example.FP32, correct(10), (0.010, 0.030, 0.008))
    build.whole(example.FAST, correct(10), (0.015, 0.090, 0.012))
    build.whole(example.SLOW, correct(10), (0.040, 0.090, 0.040))
    found = verdict_on(build)
    assert (found.kind, found.ship.name) == ("float", "fp32 on onnxruntime")
    assert found.because.startswith(
        "every quantized file is slower, the nearest is static int8 on onnxruntime"
    )
    assert all(reason.startswith("slower than fp32") for _, reason in found.rejected)


def test_where_all_is_unstable_float_stays_and_nothing_is_called_slower(tmp_path):
    build = Builder(tmp_path)
    for cell, middles in ((example.FP32, (0.010, 0.030, 0.008)), (example.FAST, (0.012, 0.010, 0.009))):
        build.prepare(cell)
        build.score(cell, correct(10))
        for k, middle in enumerate(middles):
            taken = 600.0 if k == 1 else 0.0
            build.measured("time", cell, k, latency=(middle,) * 30, involuntary_switches=taken)
    found = verdict_on(build)
    assert (found.kind, found.ship.technique) == ("float", "fp32")
    assert found.because.startswith("static int8 on onnxruntime is not proven faster")
    assert "its latency is not known well: the process was interrupted" in found.sure


def test_where_no_file_could_be_made_no_speed_is_spoken_of(tmp_path):
    build = Builder(tmp_path)
    build.whole(example.FP32, correct(10), (0.010, 0.010, 0.010))
    build.add("plan", example.FAST, Skipped("no way leads there"))
    assert "because no quantized file could be made and run" in verdict_on(build).verdict


def test_of_two_that_are_as_fast_the_one_whose_answers_are_proven_is_shipped(tmp_path):
    """300 wrong of 10,000 alike is proven; one wrong more of 100 is not. 5.0 and 5.1 ms are as fast."""
    for second, shipped in ((0.0051, "surer"), (0.0060, "static int8")):
        build = Builder(tmp_path / shipped)
        build.whole(example.FP32, correct(300, 10_000), (0.010, 0.010, 0.010))
        build.whole(example.FAST, correct(390, 10_000), (0.005, 0.005, 0.005))
        build.whole(case("surer"), correct(300, 10_000), (second,) * 3)
        found = verdict_on(build)
        assert found.ship.technique == shipped
        told = dict((cell.technique, reason) for cell, reason in found.rejected)
        if shipped == "surer":
            assert told["static int8"].startswith("as fast as surer on onnxruntime, and not proven that")
        else:
            assert told["surer"] == "slower than static int8 on onnxruntime"
