"""Which files a run hands over: the recommended ones of a user's own model, and no others."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))
from example_run import Builder, case, correct, measured_run  # noqa: E402

from qbench.cases import Choice  # noqa: E402
from qbench.cli.delivery import deliver  # noqa: E402
from qbench.records import Evidence, Verdict, Withheld  # noqa: E402
from qbench.report.select import select  # noqa: E402
from qbench.run import takeaway  # noqa: E402

OWN = Choice("a user's/net.onnx")


@pytest.fixture
def copied(monkeypatch):
    """Keep what would be copied, and copy nothing."""
    asked = []

    def copy(case, data_id, folder, _told):
        asked.append((case.technique, data_id))
        return takeaway.Taken(folder / "recommended" / "net.onnx", "import numpy")

    monkeypatch.setattr(takeaway, "take_away", copy)
    return asked


def delivered(run, tmp_path):
    return deliver(run, select(run), tmp_path)


def test_the_recommended_file_of_a_users_own_model_is_copied_and_no_other(tmp_path, copied):
    build = Builder(tmp_path)
    build.whole(case("fp32", role="fp32", model=OWN), correct(10), (0.010, 0.010, 0.010))
    build.whole(case("static int8", model=OWN), correct(10), (0.005, 0.005, 0.005))
    build.whole(case("slow int8", model=OWN), correct(10), (0.020, 0.020, 0.020))
    found = delivered(build.run(), tmp_path)
    assert copied == [("static int8", "aaaa000011112222")]
    assert [given.code for given in found.values()] == ["import numpy"]


def test_nothing_of_the_zoo_is_copied(tmp_path, copied):
    assert delivered(measured_run(tmp_path), tmp_path) == {}
    assert copied == []


@pytest.mark.parametrize("fate", ["collapsed", "unjudged", "wrong"])
def test_what_is_not_recommended_is_never_copied(fate, tmp_path, copied):
    """Twice as fast, and its answers collapsed, were judged by nobody, or fail their limit."""
    build = Builder(tmp_path)
    hidden = tuple(Withheld(name, "no labels, no classes") for name in ("correct", "prediction"))
    for role in ("fp32", "technique"):
        cell = case({"fp32": "fp32"}.get(role, "static int8"), role=role, model=OWN)
        build.prepare(cell)
        if fate == "unjudged":
            facts = (Evidence("data id", "aaaa"),)
            build.measured("score", cell, extra={"evidence": facts, "withheld": hidden}, reference_error=0.1)
        else:
            broken = (Verdict("collapsed", "all scores are 0"),) if fate == "collapsed" else ()
            worse = role == "technique"
            wrong = correct(40 if worse and fate == "wrong" else 10)
            build.score(cell, wrong, verdicts=broken if worse else ())
        build.time(cell, *((0.010 if role == "fp32" else 0.005,) * 3))
    delivered(build.run(), tmp_path)
    assert "static int8" not in [technique for technique, _ in copied]
