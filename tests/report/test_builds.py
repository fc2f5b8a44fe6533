"""A compiled file that was built again: its spread stands beside the first, and it is no cell of its own."""

import example_run as example
import pytest
from example_run import Builder, case, correct

from qbench.report.figures import Absent
from qbench.report.pictures import pictures
from qbench.report.recommend import recommend
from qbench.report.select import select
from qbench.report.tables import matrix_table


@pytest.fixture
def cells(tmp_path):
    build = Builder(tmp_path)
    build.whole(example.FP32, correct(10), (0.010,) * 3)
    build.whole(case("int8"), correct(10), (0.0050,) * 3)
    build.whole(case("int8, build 1"), correct(10), (0.0055,) * 3)
    build.whole(case("int8, build 2"), correct(10), (0.0045,) * 3)
    return {cell.technique: cell for cell in select(build.run())}


def test_the_spread_of_three_builds_by_hand(cells):
    """5.0, 5.5 and 4.5 ms: one millisecond apart, a fifth of their median."""
    spread = cells["int8"].figures["build_spread"]
    assert spread.value == pytest.approx(0.2)
    assert (spread.n, spread.of) == (3, "builds")
    assert "built once" in cells["fp32"].figures["build_spread"].reason
    assert isinstance(cells["fp32"].figures["build_spread"], Absent)


def test_a_further_build_is_never_shipped_and_has_no_row_and_no_dot(cells):
    assert cells["int8, build 2"].variant_of == "int8"
    (advice,) = recommend(list(cells.values()))
    assert advice.ship.technique == "int8"  # although a further build was faster
    assert [row[0].text for row in matrix_table(list(cells.values())).rows] == ["fp32", "int8"]
    assert not any(
        "build 1" in picture.file for site in pictures(list(cells.values())) for picture in site.pictures
    )
