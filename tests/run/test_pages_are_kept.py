"""What a page is replaced by: never nothing, never a part of the suite; and any session can be shown."""

import pytest

TWO = {"int8": '[{ use = "fake_int8" }]', "half": '[{ use = "fake_int8", speedup = 0.5 }]'}
ELSEWHERE = """
name = "elsewhere"
title = "a device of another kind"
device = "cpu"
backends = ["fake"]
[recognise]
architecture = "pdp11"
"""


@pytest.fixture
def measured(place):
    place.suite("both", TWO)
    ran = place.qbench("run", "-s", "both", "--hw", "testbed")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return place


def page(place, name="both"):
    return (place.root / "reports" / name / "index.html").read_text()


def test_a_run_that_can_measure_nothing_is_wrong_usage_and_leaves_the_page(measured):
    (measured.root / "hardware_profiles" / "elsewhere.toml").write_text(ELSEWHERE)
    before, sessions = page(measured), len(measured.files()[0].read_text().splitlines())
    answer = measured.qbench("run", "-s", "both", "--hw", "elsewhere")
    assert answer.returncode == 2
    assert "nothing of suite both can be measured here: elsewhere: this is " in answer.stderr
    assert "qbench plan" in answer.stderr
    assert page(measured) == before
    assert len(measured.files()[0].read_text().splitlines()) == sessions


def test_a_narrowed_run_has_a_page_of_its_own(measured):
    before = page(measured)
    ran = measured.qbench("run", "-s", "both", "--hw", "testbed", "-t", "int8")
    assert ran.returncode == 0
    assert "reports/both-narrowed/index.html" in ran.stdout
    assert page(measured) == before
    assert ">half<" not in page(measured, "both-narrowed")
    again = measured.qbench("report")
    assert "reports/both/index.html" in again.stdout
    assert "reports/both-narrowed/index.html" in again.stdout
    assert page(measured) == before


def test_any_session_can_be_shown_again(measured):
    first = measured.last()
    measured.qbench("run", "-s", "both", "--hw", "testbed")
    shown = measured.qbench("report", f"{first.path}:{first.session.id}")
    assert shown.returncode == 0, shown.stderr
    assert first.session.id in page(measured)
    wrong = measured.qbench("report", f"{first.path}:nobody")
    assert wrong.returncode == 2
    assert f"{first.path} holds no session 'nobody'" in wrong.stderr


def test_a_dropped_cell_is_not_one_that_cannot_run(place):
    place.suite("both", TWO)
    whole = place.qbench("plan", "-s", "both", "--hw", "testbed").stdout
    seconds = float(whole.rsplit("about ", 1)[1].split(" s")[0])
    ran = place.qbench("run", "-s", "both", "--hw", "testbed", "--budget", f"{seconds - 1:.0f}s")
    assert "1 cell was left out to stay within --budget" in ran.stdout
    assert "skipped; the reasons" not in ran.stdout


def test_a_suites_name_means_the_runs_of_this_host(measured):
    """The runs that came with the repository are of another machine."""
    own = measured.files()[0]
    other = measured.root / "results" / "another-host" / own.name
    other.parent.mkdir()
    other.write_text(own.read_text())
    lonely = measured.qbench("compare", "both~1", "both")
    assert lonely.returncode == 2
    assert "there are 1" in lonely.stderr
    measured.qbench("run", "-s", "both", "--hw", "testbed")
    assert measured.qbench("compare", "both~1", "both").returncode == 0


def test_a_data_folder_of_the_wrong_layout_is_told_at_once(place):
    place.suite("both", TWO)
    answer = place.qbench("run", "-s", "both", "--hw", "testbed", "--data", f"cifar10={place.root}")
    assert answer.returncode == 2
    assert "cifar10" in answer.stderr
    assert not (place.root / "reports").exists()
