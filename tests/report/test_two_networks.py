"""The cell of a file with two networks: its share of escalations, and a speed by the mean."""

import pytest
from example_run import FAST, FP32, Builder, correct

from qbench.records import Evidence
from qbench.report.cell import pace_of
from qbench.report.details import detail_table, rounds_table
from qbench.report.figures import Absent
from qbench.report.pictures import pictures
from qbench.report.recommend import recommend
from qbench.report.select import select
from qbench.report.tables import matrix_table

MIX = (0.001,) * 15 + (0.008,) * 5  # mean 2.75 ms, median 1 ms


@pytest.fixture
def run(tmp_path):
    build = Builder(tmp_path)
    build.data()
    build.prepare(FP32)
    build.score(FP32, correct(10))
    build.time(FP32, 0.010, 0.010, 0.010, calls=400)
    build.prepare(FAST, 260_000)
    build.measured(
        "score",
        FAST,
        correct=correct(11),
        escalated=correct(75),
        low_bit_kernels=14.0,
        other_kernels=14.0,
        model_macs=2e6,
        extra={"evidence": (Evidence("data id", "aaaa000011112222"),)},
    )
    for k in range(3):
        build.measured("time", FAST, k, latency=MIX * (k + 1) * 40)
    return build.run()


@pytest.fixture
def cells(run):
    return {cell.technique: cell for cell in select(run)}


def test_the_share_that_escalated_is_shown_with_its_interval(cells):
    found = cells["static int8"].figures["escalated"]
    assert (str(found), found.n, found.interval) == ("25.0 %", 100, "wilson95")
    assert any(row[0].text == "share escalated" for row in detail_table(cells["static int8"]).rows)


def test_the_mean_stands_beside_the_median_and_speeds_rest_on_it(cells):
    found = cells["static int8"].figures
    assert found["latency"].value == pytest.approx(0.001)
    assert found["latency_mean"].value == pytest.approx(0.00275)
    assert (found["latency_mean"].interval, found["latency_mean"].n) == ("range", 6 * 20 * 40)
    assert found["speedup"].value == pytest.approx(10 / 2.75, rel=1e-3)
    assert found["speedup_over_float"].value == pytest.approx(10 / 2.75, rel=1e-3)
    assert found["latency_p90"].value == pytest.approx(0.008)
    assert pace_of(cells["static int8"]) == pytest.approx(0.00275)
    assert found["roofline"] == Absent("not every example needs the file's second network")


def test_its_rounds_are_means(cells):
    table = rounds_table(cells["static int8"])
    assert table.columns[1].head == "mean latency"
    assert [row[1].text for row in table.rows] == ["2.75 ms"] * 3
    assert rounds_table(cells["fp32"]).columns[1].head == "median latency"


def test_the_median_in_the_table_is_no_figure_without_the_mean(cells):
    notes = matrix_table(tuple(cells.values())).notes
    assert "the median: an input may need a second network, and the mean is 2.75 ms" in notes


def test_the_others_say_why_they_have_neither(cells):
    for name in ("escalated", "latency_mean"):
        assert cells["fp32"].figures[name] == Absent("one network answers every input")
    assert pace_of(cells["fp32"]) == pytest.approx(0.010)


def test_it_is_ranked_by_its_tail_as_well_and_the_tail_is_told_where_it_ships(cells):
    (site,) = pictures(tuple(cells.values()))
    titles = [picture.title for picture in site.pictures]
    assert titles[:2] == ["Accuracy against latency", "Accuracy against latency p99"]
    by_tail = site.pictures[1].told
    assert "static int8 on onnxruntime (8.00 ms, 89.0 %)" in by_tail
    (found,) = recommend(tuple(cells.values()))
    assert found.headline == "Ship static int8 on onnxruntime"
    assert (
        "its slowest calls, one in a hundred, take 8.00 ms or more, where fp32's take 10.1 ms" in found.loses
    )
