"""`qbench probe` on the fake engine, whose rates are known: 5,000 multiply-accumulates in 20 ms, or in 10."""

from dataclasses import replace

import pytest
from workplace import of

from qbench.cases import COPY
from qbench.report.limits import FILE, read_limits
from qbench.report.roofline import NOT_PROBED
from qbench.report.select import select


@pytest.fixture(scope="module")
def probed(shared_place):
    shared_place.suite("probe", {"int8": '[{ use = "fake_int8" }]'})
    answer = shared_place.qbench("probe", "--hw", "testbed")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer


def test_rates_are_those_of_the_files_and_the_clock(probed, shared_place):
    limits = read_limits(shared_place.files()[0].parent / FILE)
    rates = {peak.format: peak.macs_per_s for peak in limits.peaks}
    assert rates == {"fp32": pytest.approx(5_000 / 0.020), "int8": pytest.approx(5_000 / 0.010)}
    assert limits.copy_bytes_per_s is not None
    assert limits.copy_bytes_per_s > 1e8
    assert "2.00x" in probed.stdout
    assert "GB/s" in probed.stdout
    assert any(record.step.subject.kernel == COPY for record in of(shared_place.last(), "anchor"))


def test_every_cell_of_this_host_is_then_held_against_them(probed, shared_place):  # noqa: ARG001
    """Its own rate is the roof here, so that its products take all of its time."""
    cells = {cell.technique: cell for cell in select(shared_place.last())}
    figures = cells["int8"].figures
    assert figures["compute_time"].value == pytest.approx(0.010)
    assert figures["roofline"].value == pytest.approx(1.0)
    assert figures["overhead_time"].value == pytest.approx(0.0, abs=1e-9)
    elsewhere = shared_place.last()
    other = replace(elsewhere, session=replace(elsewhere.session, host="another"))
    assert select(other)[0].figures["roofline"].reason == NOT_PROBED
