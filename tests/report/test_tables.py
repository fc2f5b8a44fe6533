import csv
import io
import subprocess
import sys

import example_run as example
import pytest
from example_run import FP32, Builder, case, correct, measured_run
from rich.console import Console

from qbench.records import Evidence
from qbench.report.brief import brief_table
from qbench.report.details import environment_table
from qbench.report.figures import FIGURES
from qbench.report.outside import failed_table, skipped_table, withheld_table
from qbench.report.select import select
from qbench.report.summary import print_summary
from qbench.report.tables import matrix_table, verdict_table
from qbench.report.writers import cells_csv, escaped, grouped, markdown, print_table


@pytest.fixture
def run(tmp_path):
    return measured_run(tmp_path)


def tones(table, head):
    at = [column.head for column in table.columns].index(head)
    return {row[0].text: row[at].tone for row in table.rows}


def test_green_is_only_what_is_surely_better_than_every_float(run):
    table = matrix_table([cell for cell in select(run) if cell.group])
    assert tones(table, "speed-up") == {
        "fp8": "absent", "fp32": "absent", "static int8": "good", "dynamic int8": "bad", "bf16": "good",
        "weight only": "neutral",  # unstable
        "fake int4": "absent", "static int4": "absent", "smoothquant": "absent",
    }  # fmt: skip
    assert tones(table, "size")["static int8"] == "good"
    assert tones(table, "size")["fake int4"] == "bad"  # larger than fp32
    assert tones(table, "size")["static int4"] == "neutral"  # small, but collapsed
    assert tones(table, "peak memory")["dynamic int8"] == "bad"
    assert tones(table, "difference")["static int8"] == "neutral"  # one answer worse: not green
    assert tones(table, "difference")["static int4"] == "bad"


def test_faster_than_its_fp32_but_slower_than_the_best_float_is_red(tmp_path):
    build = Builder(tmp_path)
    build.whole(example.FP32, correct(10), (0.010, 0.010, 0.010))
    build.whole(example.BF16, correct(10), (0.004, 0.004, 0.004), 200_000)
    build.whole(example.FAST, correct(10), (0.005, 0.005, 0.005), 260_000)
    table = matrix_table(select(build.run()))
    assert tones(table, "speed-up")["static int8"] == "bad"
    assert "slower than the best float cell, bf16 on onnxruntime" in table.notes
    assert tones(table, "size")["static int8"] == "neutral"  # smaller than fp32, larger than bf16


def test_no_place_in_a_table_is_blank_and_every_note_is_used(run):
    cells = select(run)
    for table in (
        verdict_table(cells), matrix_table(cells), skipped_table(cells), failed_table(cells),
        withheld_table(cells), environment_table(run.session),
    ):  # fmt: skip
        used = set()
        for row in table.rows:
            assert len(row) == len(table.columns)
            for entry in row:
                assert entry.text.strip() or entry.lines
                used |= set(entry.notes)
                assert entry.tone != "absent" or entry.notes or len(entry.text) > 1
        assert used == set(range(1, len(table.notes) + 1))
        assert "quick profile" in table.title


def test_what_was_skipped_failed_and_withheld_is_listed_with_reason_and_line(run):
    cells = select(run)
    (skipped,) = skipped_table(cells).rows
    assert [skipped[0].text, skipped[3].text, skipped[4].lines] == [
        "fp8 on onnxruntime", "fp8 kernels need other hardware than cpu", (2,),
    ]  # fmt: skip
    failed = {row[0].text: (row[2].text, row[3].text) for row in failed_table(cells).rows}
    assert failed == {
        "static int4 on onnxruntime": ("score", "accuracy 15 % is near the chance of 10 %"),
        "smoothquant on onnxruntime": ("load", "the process was killed by signal 11"),
        "gptq on any engine": ("apply", "DoesNotFit: 12 columns"),
    }
    withheld = {(row[0].text, row[1].text): row[2].text for row in withheld_table(cells).rows}
    simulated = "simulated: this would be the speed of float kernels"
    assert withheld["latency", simulated] == "fake int4 on onnxruntime"
    assert "static int8" in withheld["energy", "no counter on this host"]
    assert any(figure == "latency p99" for figure, _ in withheld)


def printed(run, width, encoding="utf-8"):
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding)
    console = Console(file=file, width=width)
    print_summary(run, console)
    for group in grouped(select(run)):
        print_table(matrix_table(group), console)
    file.flush()
    return raw.getvalue().decode(encoding)


def test_the_terminal_at_80_columns_cuts_no_word_and_says_what_it_leaves_out(run):
    found = printed(run, 80)
    assert max(len(line) for line in found.splitlines()) <= 80
    assert "…" not in found
    for word in ("technique", "difference", "smoothquant", "82.6–94.5 %"):
        assert word in found
    assert "tiny-cnn(seed=0)" in found.split("better than float")[0]  # the verdict's narrowest column
    assert "not shown at this width: status, flips" in found
    assert "Ship static int8 on onnxruntime" in found
    assert "quick profile" in found


def test_a_terminal_that_knows_only_ascii_is_served(run):
    found = printed(run, 80, "ascii")
    assert "2.50x" in found
    assert "?" not in found


def test_a_hostile_name_steers_no_terminal(tmp_path):
    build = Builder(tmp_path)
    name = "\x1b[31m[bold]evil[/bold]"
    build.whole(example.FP32, correct(10), (0.01, 0.01, 0.01))
    build.whole(case(name), correct(10), (0.005, 0.005, 0.005))
    found = printed(build.run(), 200)
    assert "\x1b[31m" not in found
    assert "[bold]evil[/bold]" in found


def test_markdown_shows_names_as_they_are():
    assert escaped("a|b `c` <d> *e*\n") == r"a\|b \`c\` &lt;d&gt; \*e\* "


def test_an_empty_run_says_so(tmp_path):
    run = Builder(tmp_path).run()
    assert "nothing was measured" in printed(run, 80)
    assert "Nothing was measured" in markdown(verdict_table(()), "x")


def test_csv_holds_raw_numbers_and_a_reason_wherever_there_is_none(run):
    cells = select(run)
    rows = list(csv.DictReader(io.StringIO(cells_csv(cells, "host/file.jsonl"))))
    assert len(rows) == len(cells) * len(FIGURES)
    for row in rows:
        assert bool(row["value"]) != bool(row["absent_because"])
        if row["value"]:
            float(row["value"])
            assert row["lines"]
    (fast,) = (r for r in rows if r["technique"] == "static int8" and r["figure"] == "latency")
    where = ("hardware", "reached", "threads", "streams", "scenario", "batch")
    assert [fast[name] for name in where] == ["not recorded", "native", "2", "1", "single", "1"]
    assert (fast["value"], fast["unit"], fast["n"], fast["interval"]) == ("0.005", "s", "90", "range")


@pytest.mark.parametrize("module", ["tables", "page", "select", "recommend", "writers"])
def test_importing_the_report_is_light(module):
    heavy = {"torch", "pandas", "rich", "jinja2", "scipy", "matplotlib"}
    code = f"import sys, qbench.report.{module}; sys.exit(' '.join({heavy} & set(sys.modules)) or 0)"
    found = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (0, "")


def test_a_name_too_long_for_its_column_is_folded_and_not_cut(tmp_path):
    build = Builder(tmp_path)
    build.whole(example.FP32, correct(10), (0.01, 0.01, 0.01))
    build.whole(case("abcdefghij" * 4), correct(10), (0.005, 0.005, 0.005))
    run = build.run()
    found = printed(run, 80)
    assert "…" not in found
    column = "".join(line.split(" ")[0] for line in found.split("latency")[1].splitlines())
    assert "abcdefghij" * 4 in column
    assert "difference" in found


def test_a_call_that_is_filled_up_is_told_beside_its_latency(tmp_path):
    build = Builder(tmp_path)
    words = "filled up to 4, the only size that the network takes"
    build.prepare(FP32)
    build.score(FP32, correct(10))
    latency = {"latency": (0.01,) * 30, "involuntary_switches": 0, "steal": 0.0, "load_average": 0.1}
    build.measured("time", FP32, 0, extra={"evidence": (Evidence("batch", words),)}, **latency)
    cells = select(build.run())
    assert f"a call is {words}" in matrix_table(cells).notes
    assert f"a call is {words}" in brief_table(list(cells)).notes
