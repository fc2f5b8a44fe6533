"""Rounds that are added to a run: all are pooled, none is measured again."""

import pytest
from workplace import of, samples

from qbench.report.recommend import recommend
from qbench.report.select import select

TWO = {"int8": '[{ use = "fake_int8" }]'}


@pytest.mark.slow
def test_rounds_are_added_and_none_is_replaced(place):
    place.suite("more", TWO)
    first = place.qbench("run", "-s", "more", "--hw", "testbed")
    assert first.returncode == 0, first.stdout + first.stderr
    before = {record.step.round: samples(record, "latency") for record in of(place.last(), "time", "int8")}
    again = place.qbench("run", "-s", "more", "--hw", "testbed", "--resume", "--rounds", "7")
    assert again.returncode == 0, again.stdout + again.stderr
    run = place.last()
    records = of(run, "time", "int8")
    assert sorted(record.step.round for record in records) == list(range(7))
    assert {r.step.round: samples(r, "latency") for r in records[: len(before)]} == before
    cell = next(cell for cell in select(run) if cell.technique == "int8")
    assert cell.figures["speedup"].n == 7
    (advice,) = recommend(select(run))
    assert "7 rounds of 1 s" in advice.sure
