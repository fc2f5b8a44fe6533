import dataclasses
import io

import example_run as example
import pytest
from example_run import Builder, case, correct, measured_run
from large_run import HERE
from rich.console import Console

from qbench.errors import BadFile
from qbench.records import Skipped
from qbench.report.sessions import run_named, sessions_table
from qbench.report.versus import compare_runs, print_versus


def run_of(
    folder, seconds, wrong=10, *, host="example-host", size=260_000, data_id="aaaa000011112222", extra=()
):
    build = Builder(folder)
    build.session = dataclasses.replace(build.session, id=folder.name, host=host)
    build.store.append(build.session)
    build.whole(example.FP32, correct(10, 1000), (0.010,) * len(seconds))
    build.prepare(example.FAST, size)
    build.score(example.FAST, correct(wrong, 1000), data_id=data_id)
    build.time(example.FAST, *seconds)
    for add in extra:
        add(build)
    build.store.close()
    from qbench.store import read_runs

    return next(run for run in read_runs([build.path]) if run.session.id == folder.name)


def row_of(tables, technique):
    """Return the row of a technique by the heads of its columns."""
    for table in tables:
        for row in table.rows:
            if row[0].text == technique and table.columns[0].head == "cell":
                return {column.head: entry for column, entry in zip(table.columns, row, strict=True)}, table
    raise AssertionError(f"no row of {technique}")


@pytest.mark.parametrize(
    ("before", "now", "ratio", "word", "tone"),
    [
        ((0.005, 0.0051, 0.0049), (0.004, 0.0041, 0.0039), "1.25×", "better", "good"),
        ((0.004, 0.0041, 0.0039), (0.005, 0.0051, 0.0049), "0.800×", "worse", "bad"),
        ((0.005, 0.006, 0.004), (0.0049, 0.0059, 0.0041), "1.02×", "no difference seen", "neutral"),
        ((0.005,), (0.004,), "1.25×", "not known", "neutral"),
    ],
)
def test_speed_is_compared_as_what_was_gained_over_float(tmp_path, before, now, ratio, word, tone):
    tables = compare_runs(run_of(tmp_path / "a", before), run_of(tmp_path / "b", now))
    row, table = row_of(tables, "static int8")
    assert (row["B / A"].text, row["speed"].text, row["speed"].tone) == (ratio, word, tone)
    if len(before) > 1:
        assert any("3 and 3 rounds" in note and "no coverage" in note for note in table.notes)


def test_a_machine_that_is_slower_altogether_is_no_difference(tmp_path):
    a = run_of(tmp_path / "a", (0.005, 0.0051, 0.0049))
    build = Builder(tmp_path / "b")
    build.whole(example.FP32, correct(10, 1000), (0.030, 0.030, 0.030))
    build.prepare(example.FAST, 260_000)
    build.score(example.FAST, correct(10, 1000))
    build.time(example.FAST, 0.015, 0.0153, 0.0147)
    row, _ = row_of(compare_runs(a, build.run()), "static int8")
    assert row["speed"].text == "no difference seen"


def test_answers_are_paired_one_by_one(tmp_path):
    a, b = run_of(tmp_path / "a", (0.005,) * 3, 10), run_of(tmp_path / "b", (0.005,) * 3, 30)
    row, table = row_of(compare_runs(a, b), "static int8")
    # 20 of 1,000 went wrong and none right: SE = sqrt(20.5 + 0.5 - 20^2 / 1000) / 1000
    found = row["accuracy, B - A"]
    assert (found.text, found.tone, found.sub) == ("−2.00 pp", "bad", "−2.89 to −1.11 pp")
    assert any("20 answers went wrong and 0 right" in note for note in table.notes)
    same, _ = row_of(compare_runs(a, a), "static int8")
    assert (same["accuracy, B - A"].text, same["size, B - A"].text) == ("no flip", "same")


def test_other_data_is_not_compared(tmp_path):
    a = run_of(tmp_path / "a", (0.005,) * 3)
    b = run_of(tmp_path / "b", (0.005,) * 3, data_id="ffff")
    row, table = row_of(compare_runs(a, b), "static int8")
    assert row["accuracy, B - A"].tone == "absent"
    assert "not comparable: other data" in table.notes


def test_sizes_are_compared_to_the_byte(tmp_path):
    a, b = run_of(tmp_path / "a", (0.005,) * 3), run_of(tmp_path / "b", (0.005,) * 3, size=260_001)
    row, _ = row_of(compare_runs(a, b), "static int8")
    assert (row["size, B - A"].text, row["size, B - A"].tone) == ("+1 B", "neutral")


def test_a_file_that_differs_by_a_few_names_is_painted_neither_way(tmp_path):
    seconds = (0.005, 0.0051, 0.0049)
    before = run_of(tmp_path / "a", seconds, size=1_000_000)
    for size, tone in ((1_005_000, "neutral"), (1_020_000, "bad"), (980_000, "good")):
        now = run_of(tmp_path / f"b{size}", seconds, size=size)
        row, _ = row_of(compare_runs(before, now), "static int8")
        assert row["size, B - A"].tone == tone
        assert row["size, B - A"].text == f"{size - 1_000_000:+,} B"


def test_what_only_one_has_says_why(tmp_path):
    extra = case("smoothquant")
    a = run_of(tmp_path / "a", (0.005,) * 3, extra=[
        lambda build: build.whole(extra, correct(10, 1000), (0.004,) * 3),
        lambda build: build.whole(example.SLOW, correct(10, 1000), (0.02,) * 3),
    ])  # fmt: skip
    b = run_of(tmp_path / "b", (0.005,) * 3, extra=[
        lambda build: build.add("plan", example.SLOW, Skipped("no kernel here")),
        lambda build: build.whole(case("fp32", role="fp32", batch=8), correct(10, 1000), (0.08,) * 3),
    ])  # fmt: skip
    tables = {table.title: table for table in compare_runs(a, b)}
    ours = {row[0].text: row[2].text for row in tables["Only in A"].rows}
    assert ours == {
        "smoothquant on onnxruntime": "B has no technique smoothquant there",
        "dynamic int8 on onnxruntime": "B skipped it: no kernel here",
    }
    (theirs,) = tables["Only in B"].rows
    assert theirs[2].text == "A has it elsewhere: tiny-cnn(seed=0) on cpu, 2 threads, batch 1"


def test_two_hosts_say_so_and_what_differs_leads(tmp_path):
    a, b = run_of(tmp_path / "a", (0.005,) * 3), run_of(tmp_path / "b", (0.005,) * 3, host="other")
    tables = compare_runs(a, b)
    assert [[entry.text for entry in row] for row in tables[0].rows] == [["host", "example-host", "other"]]
    assert "A ran on example-host, B on other" in tables[-1].rows[0][0].text
    assert sessions_table(a, a).rows == ()


def test_a_run_older_than_profiles_meets_one_with_them(tmp_path):
    a = run_of(tmp_path / "a", (0.005,) * 3)
    build = Builder(tmp_path / "b")
    for cell, seconds in (
        (case("fp32", role="fp32", hardware=HERE), 0.01),
        (case("static int8", hardware=HERE), 0.005),
    ):
        build.whole(cell, correct(10, 1000), (seconds,) * 3)
    row, _ = row_of(compare_runs(a, build.run()), "static int8")
    assert row["B / A"].text == "1.00×"


def test_instructions_of_emulated_cells_are_compared_exactly(tmp_path):
    far = {"hardware": "emulated-neoverse-n1", "reached": "emulated", "scenario": "counted"}
    runs = []
    for name, cost in (("a", 2e8), ("b", 1e8)):
        build = Builder(tmp_path / name)
        build.emulated(case("fp32", role="fp32", **far), correct(10), 6e8)
        build.emulated(case("static int8", **far), correct(10), cost)
        runs.append(build.run())
    tables = compare_runs(*runs)
    row, _ = row_of(tables, "static int8")
    assert (row["B / A"].text, row["instructions"].text, row["instructions"].tone) == (
        "0.500×",
        "fewer",
        "good",
    )
    assert row_of(tables, "fp32")[0]["instructions"].text == "the same to the instruction"


def test_the_terminal_cuts_nothing_at_80_columns(tmp_path):
    a, b = measured_run(tmp_path / "a"), measured_run(tmp_path / "b")
    out = io.StringIO()
    print_versus(a, b, Console(file=out, width=80))
    found = out.getvalue()
    assert max(len(line) for line in found.splitlines()) <= 80
    assert "no difference seen" in found
    assert "speed of a machine drifts" in found.replace("\n", " ")


def test_runs_are_found_by_file_session_and_suite(tmp_path):
    run = measured_run(tmp_path)
    results = tmp_path / "results"
    for word in (str(run.path), f"{run.path}:session-1", "vision", "vision~0"):
        assert run_named(word, results).session == run.session
    for word in (f"{run.path}:other", "nothing", "vision~1", "vision~x", str(tmp_path / "gone.jsonl")):
        with pytest.raises(BadFile):
            run_named(word, results)
