"""Saturated streams, emulated devices, further calibration seeds, and hardware that is not here."""

import dataclasses
import io

import example_run as example
import pytest
from example_run import Builder, case, correct
from large_run import HERE, large_run
from rich.console import Console

from qbench.cases import SEED, Choice, DataSpec, Hardware
from qbench.records import Skipped, Verdict
from qbench.report.brief import brief_table
from qbench.report.figures import Absent, Figure
from qbench.report.outside import hardware_table, outside_tables
from qbench.report.pictures import pictures
from qbench.report.recommend import recommend
from qbench.report.seeds import ONE_SEED, UNCALIBRATED, seeds_table
from qbench.report.select import select
from qbench.report.summary import print_summary
from qbench.report.tables import matrix_table, ranges, verdict_table
from qbench.report.writers import FEW, grouped, main_places

FAR = {"hardware": "emulated-neoverse-n1", "reached": "emulated", "scenario": "counted"}


def whole_saturated(build, cell, *rates, wrong=10):
    build.prepare(cell)
    build.score(cell, correct(wrong))
    build.deploy(cell)
    build.saturate(cell, *rates)


def saturated_pair(build):
    base, fast = (
        case(name, role=role, scenario="saturated", batch=8, hardware=HERE)
        for name, role in (("fp32", "fp32"), ("static int8", "technique"))
    )
    whole_saturated(build, base, 100.0, 50.0, 80.0)
    whole_saturated(build, fast, 200.0, 110.0, 160.0)


def test_places_in_words():
    def words(**how):
        cell = case("int8", **how)
        build_group = dataclasses.replace(cell, evaluation=DataSpec(cell.evaluation.task, "test", 50))
        from qbench.report.select import _group

        return str(_group(build_group))

    assert words(batch=8) == "tiny-cnn(seed=0) on cpu, 2 threads, batch 8"  # older than profiles
    assert words(batch=8, hardware=HERE) == "tiny-cnn(seed=0) on cpu (x86-avx512-vnni), 2 threads, batch 8"
    assert words(batch=8, scenario="saturated").endswith("2 threads, 2 streams saturated, batch 8")
    assert words(**FAR) == (
        "tiny-cnn(seed=0) on neoverse-n1, emulated: 50 examples, instructions instead of latency"
    )


def test_a_saturated_cell_has_throughput_and_its_ratio_and_no_latency(tmp_path):
    build = Builder(tmp_path)
    saturated_pair(build)
    base, fast = select(build.run())
    found = fast.figures["throughput"]
    assert (found.value, found.low, found.high, found.n) == (160.0, 110.0, 200.0, 30)
    speed = fast.figures["speedup"]  # 2.0, 2.2 and 2.0 inside the rounds
    assert (speed.value, speed.low, speed.high) == pytest.approx((2.0, 2.0, 2.2))
    assert "saturated" in fast.figures["latency"].reason
    assert "saturated" in fast.figures["latency_p99"].reason
    assert base.best_float is not None
    assert fast.figures["speedup_over_float"].value == pytest.approx(2.0)
    # 2 s to prepare; 160 examples a second at twice the speed save 1/160 s each
    assert fast.figures["break_even"].value == pytest.approx(2 * 160)
    assert [found.unit for found in fast.rounds] == ["1/s"] * 3


def test_the_most_throughput_is_shipped(tmp_path):
    build = Builder(tmp_path)
    saturated_pair(build)
    faster = case("smoothquant", scenario="saturated", batch=8, hardware=HERE)
    whole_saturated(build, faster, 300.0, 160.0, 240.0)
    (found,) = recommend(select(build.run()))
    assert (found.kind, found.ship.technique) == ("technique", "smoothquant")
    assert "2 streams saturated" in found.place


def test_throughput_is_a_column_where_streams_are_saturated_only(tmp_path):
    build = Builder(tmp_path)
    saturated_pair(build)
    build.whole(example.FP32, correct(10), (0.010, 0.010, 0.010))
    *pair, single = select(build.run())
    heads = [column.head for column in matrix_table(pair).columns]
    assert "throughput" in heads
    assert "latency" not in heads
    assert "latency" in [column.head for column in matrix_table([single]).columns]
    assert "no throughput" in single.figures["throughput"].reason


def emulated_run(build):
    for name, bits, cost in (("fp32", correct(10), 6e8), ("static int8", correct(11), 1.8e8)):
        role = "fp32" if name == "fp32" else "technique"
        cell = case(name, role=role, **FAR)
        build.prepare(cell, 1e6)
        build.emulated(cell, bits, cost, 98)
    return build.run()


def test_an_emulated_cell_has_answers_and_instructions_and_no_time(tmp_path):
    _, cell = select(emulated_run(Builder(tmp_path)))
    ratio = cell.figures["instructions_ratio"]
    assert (ratio.value, ratio.interval) == (pytest.approx(0.3), "exact")
    assert cell.figures["native_agreement"].value == 0.98
    assert cell.figures["native_difference"].value == 0.002
    for name in ("latency", "throughput", "speedup", "peak_memory", "energy", "break_even"):
        assert "emulated" in cell.figures[name].reason, name
    assert cell.figures["accuracy_difference"].value == -0.01


def test_nothing_is_shipped_by_an_emulator(tmp_path):
    cells = select(emulated_run(Builder(tmp_path)))
    (found,) = recommend(cells)
    assert (found.kind, found.ship, found.here) == ("emulated", None, True)
    assert "static int8 on onnxruntime, 0.300× those of fp32" in found.gains
    (row,) = verdict_table(cells).rows
    assert (row[1].text, row[1].sub) == ("emulated", "accuracy and instructions only")
    heads = [column.head for column in brief_table(cells).columns]
    assert {"instructions", "instr. / fp32"} <= set(heads)
    assert {"latency", "speed-up"} & set(heads) == set()


def test_the_usual_place_stands_in_the_title_and_comes_first_and_others_name_themselves(tmp_path):
    build = Builder(tmp_path)
    for model in (Choice("one"), Choice("two")):
        for name, role in (("fp32", "fp32"), ("static int8", "technique")):
            if model.name == "two":
                build.emulated(case(name, role=role, model=model, **FAR), correct(10), 6e8)
            build.whole(case(name, role=role, model=model, hardware=HERE), correct(10), (0.005, 0.005))
    table = verdict_table(select(build.run()))
    assert table.title.startswith("What to ship on cpu (x86-avx512-vnni), 2 threads, and elsewhere (")
    assert [(row[0].text, row[1].text) for row in table.rows] == [
        ("one", "batch 1"),
        ("two", "batch 1"),
        ("two", "neoverse-n1, emulated"),
    ]


def test_an_emulated_technique_that_fails_its_accuracy_is_not_praised(tmp_path):
    build = Builder(tmp_path)
    for name, bits, cost in (("fp32", correct(10), 6e8), ("static int8", correct(60), 1e8)):
        build.emulated(case(name, role="fp32" if name == "fp32" else "technique", **FAR), bits, cost)
    (found,) = recommend(select(build.run()))
    assert "No technique" in found.gains


def seeded_run(build, *wrong, data_id="aaaa000011112222"):
    build.whole(example.FP32, correct(10), (0.010, 0.010, 0.010))
    build.whole(example.FAST, correct(wrong[0]), (0.005, 0.005, 0.005))
    for seed, bad in enumerate(wrong[1:], start=1):
        scored = case(f"static int8{SEED}{seed}", scenario="scored", seed=seed)
        build.prepare(scored, 260_000)
        build.score(scored, correct(bad), data_id=data_id)
    return select(build.run())


def test_accuracy_over_seeds_is_their_median_and_range(tmp_path):
    cells = seeded_run(Builder(tmp_path), 11, 14, 12)
    base, first, *further = cells
    found = first.figures["accuracy_over_seeds"]
    assert (found.value, found.low, found.high, found.n) == (0.88, 0.86, 0.89, 3)
    assert len(found.lines) == 3
    assert further[0].figures["accuracy_over_seeds"] == found
    assert base.figures["accuracy_over_seeds"] == Absent(UNCALIBRATED)
    (row,) = seeds_table(cells).rows
    assert (row[0].text, row[4].text, row[5].text) == ("static int8", "88.0 %", "3 seeds")


def test_seeds_scored_on_other_examples_are_not_mixed_in(tmp_path):
    cells = seeded_run(Builder(tmp_path), 11, 14, data_id="ffff")
    assert cells[1].figures["accuracy_over_seeds"] == Absent(ONE_SEED)


def test_further_seeds_stand_beside_the_matrix_and_compete_for_nothing(tmp_path):
    cells = seeded_run(Builder(tmp_path), 11, 14, 12)
    assert [row[0].text for row in matrix_table(cells).rows] == ["fp32", "static int8"]
    assert [len(group) for group in grouped(cells)] == [2]
    (found,) = recommend(cells)
    assert found.rejected == ()
    assert "only scored" in cells[-1].figures["latency"].reason


@pytest.mark.parametrize(("kind", "text"), [
    ("saturates", "3 layers overflow 16 bits"), ("caution", "calibration of static_int8: 1 example"),
])  # fmt: skip
def test_what_a_user_must_know_of_a_file_is_a_caution_on_accuracy(tmp_path, kind, text):
    build = Builder(tmp_path)
    build.whole(example.FP32, correct(10), (0.010, 0.010, 0.010))
    build.prepare(example.FAST, 260_000)
    build.score(example.FAST, correct(11), verdicts=(Verdict(kind, text),))
    build.time(example.FAST, 0.005, 0.005, 0.005)
    cells = select(build.run())
    table = matrix_table(cells)
    at = [column.head for column in table.columns].index("accuracy")
    notes = [table.notes[n - 1] for n in table.rows[1][at].notes]
    assert notes == [f"{kind}: {text}"]
    assert cells[1].status == "measured"
    assert text in recommend(cells)[0].loses


def test_hardware_that_is_not_here_has_a_table_and_is_no_cell(tmp_path):
    build = Builder(tmp_path)
    build.add("plan", Hardware("raspberry-pi-5", "a Raspberry Pi 5"), Skipped("this is no Raspberry Pi"))
    build.whole(example.FP32, correct(10), (0.010, 0.010, 0.010))
    run = build.run()
    assert len(select(run)) == 1
    (row,) = hardware_table(run).rows
    assert [entry.text for entry in row[:3]] == [
        "raspberry-pi-5", "a Raspberry Pi 5", "this is no Raspberry Pi",
    ]  # fmt: skip
    assert row[3].lines == (2,)
    assert outside_tables(run, select(run))[-1].rows


def test_line_numbers_are_told_as_ranges():
    assert ranges((9, 10, 11, 15, 17, 16, 9)) == "9-11, 15-17"
    assert ranges((3,)) == "3"
    assert ranges(()) == ""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return large_run(tmp_path_factory.mktemp("large"), 2)


def test_many_places_leave_the_verdict_and_the_main_tables_at_80_columns(large):
    cells = select(large)
    groups = grouped(cells)
    assert len(groups) == 7
    out = io.StringIO()
    print_summary(large, Console(file=out, width=80))
    found = out.getvalue()
    assert max(len(line) for line in found.splitlines()) <= 80
    assert "…" not in found
    assert found.count("2 threads, batch 1 (standard profile)") + found.count("threads, batch 1") >= 2
    assert "saturated, batch 8 (standard" not in found
    assert "figures of all 7 places" in found.replace("\n", " ")
    assert "Gains:" not in found


def test_the_main_places_are_all_of_few_the_first_of_each_model_or_none():
    few = [["a"]] * FEW
    assert main_places(few) == few

    class OfModel:
        def __init__(self, model):
            self.model = model

    many = [[OfModel(f"m{k // 4}")] for k in range(8)]
    assert main_places(many) == [many[0], many[4]]
    lots = [[OfModel(f"m{k}")] for k in range(8)]
    assert main_places(lots) == []


def test_every_figure_of_a_large_run_is_there_or_says_why(large):
    for cell in select(large):
        for name, value in cell.figures.items():
            assert isinstance(value, Figure) or value.reason.strip(), name


def test_an_emulated_place_is_drawn_against_its_instructions(tmp_path):
    (site,) = pictures(select(emulated_run(Builder(tmp_path))))
    assert site.title == "tiny-cnn(seed=0) on neoverse-n1, emulated"
    assert [picture.title for picture in site.pictures] == ["Accuracy against instructions of one call"]
    assert "180,000,000" in site.pictures[0].told
