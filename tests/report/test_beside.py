"""One technique held against another: pairs of the same examples, and what their files cost."""

from dataclasses import replace

import pytest
from example_run import TEST, Builder, case, correct

from qbench.cases import SEED
from qbench.records import Failed, Skipped
from qbench.report.beside import beside_table


def texts(table):
    return [[entry.text for entry in row] for row in table.rows]


@pytest.fixture
def builder(tmp_path):
    return Builder(tmp_path)


def scored(builder, one, wrong, shift=0, took_s=2.0):
    builder.measured("plan", one)
    builder.measured("prepare", one.deployment.artifact, quantize_time=took_s, prepare_memory=1e6)
    extra = {"evidence": ()}
    from qbench.records import Evidence

    extra["evidence"] = (Evidence("data id", "d1"),)
    builder.measured("score", one, correct=correct(wrong, shift=shift), extra=extra)


def test_a_technique_stands_beside_the_one_that_it_is_held_against(builder):
    other, own = case("rtn"), replace(case("qat"), against="rtn")
    scored(builder, case("fp32", role="fp32"), 10)
    scored(builder, other, 30, took_s=1.0)
    scored(builder, own, 12, shift=5, took_s=40.0)
    (row,) = texts(beside_table(builder.run()))
    assert row[:4] == ["qat", "rtn", "onnxruntime", "tiny-cnn(seed=0)"]
    assert row[4:6] == ["88.0 %", "70.0 %"]
    assert row[6] == "+18.00 pp"
    assert row[7] == "18.0 %"  # 0..4 and 17..29 changed: all to right
    assert row[8] == "40.0 s"
    assert beside_table(builder.run()).rows[0][8].sub == "the other: 1.00 s"


def test_no_technique_held_against_another_gives_no_row(builder):
    scored(builder, case("rtn"), 30)
    assert beside_table(builder.run()).rows == ()


def test_a_further_seed_is_held_against_that_of_the_same_data(builder):
    second = f"{SEED}1"
    scored(builder, case("rtn"), 30)
    scored(builder, case(f"rtn{second}", seed=1), 20)
    scored(builder, replace(case(f"qat{second}", seed=1), against=f"rtn{second}"), 10)
    (row,) = texts(beside_table(builder.run()))
    assert row[4:6] == ["90.0 %", "80.0 %"]
    assert row[1] == "rtn"


def test_one_without_seeds_of_its_own_stands_for_all_of_them(builder):
    second = f"{SEED}1"
    scored(builder, case("rtn"), 30)
    scored(builder, replace(case(f"qat{second}", seed=1), against=f"rtn{second}"), 10)
    (row,) = texts(beside_table(builder.run()))
    assert row[5] == "70.0 %"


def test_what_was_not_scored_has_a_dash_and_its_reason(builder):
    scored(builder, case("rtn"), 30)
    own = replace(case("qat"), against="rtn")
    builder.measured("plan", own)
    builder.add("prepare", own.deployment.artifact, Failed("quantize", "training diverged in epoch 1"))
    table = beside_table(builder.run())
    assert texts(table)[0][4] == "–"
    assert any("training diverged" in note for note in table.notes)


def test_a_technique_that_was_not_planned_is_said_to_be_missing(builder):
    scored(builder, replace(case("qat"), against="rtn"), 10)
    table = beside_table(builder.run())
    assert texts(table)[0][5:7] == ["–", "–"]
    assert "the technique that it is held against was not planned here" in table.notes


def test_a_skipped_cell_has_no_row(builder):
    own = replace(case("qat"), against="rtn")
    builder.add("plan", own, Skipped("no kernels"))
    assert beside_table(builder.run()).rows == ()


def test_other_examples_are_never_mixed(builder):
    scored(builder, replace(case("rtn"), evaluation=replace(TEST, seed=1)), 30)
    scored(builder, replace(case("qat"), against="rtn"), 10)
    (row,) = texts(beside_table(builder.run()))
    assert row[4:7] == ["90.0 %", "–", "–"]


def test_other_engines_are_never_mixed(builder):
    scored(builder, case("rtn", backend="openvino"), 30)
    scored(builder, replace(case("qat"), against="rtn"), 10)
    assert texts(beside_table(builder.run()))[0][5] == "–"
