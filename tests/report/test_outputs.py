"""The outputs of a cell in the report: the worst decides, and is shown under its own name."""

import pytest
from example_run import FAST, FP32, SLOW, Builder, correct

from qbench.records import Measurement, OutputQuality, Withheld
from qbench.report.brief import brief_table
from qbench.report.cell import told_here
from qbench.report.figures import Absent, Figure
from qbench.report.outputs_table import outputs_table
from qbench.report.page import write_report
from qbench.report.refusal import refusal_of
from qbench.report.select import select
from qbench.report.tables import matrix_table, verdict_table

HIDDEN = (Withheld("correct", "no labels"), Withheld("prediction", "no class scores"))


def output(name, kind, metric, *samples, part="", **more):
    found = (Measurement(metric, samples), *(Measurement(other, (value,)) for other, value in more.items()))
    return OutputQuality(name, kind, metric, found, part=part)


SAME = output("first", "scores", "same_first", *correct(0, 400), sqnr=40.0)
GONE = output("second", "scores", "same_first", *correct(350, 400), sqnr=1.0)
PICTURE = output("y", "values", "sqnr", 45.2, sqnr_worst_channel=41.0, cosine=0.999)
MUTE = OutputQuality("ids", "constant", "", (), (Withheld("sqnr", "the same for every example"),))


def cells(tmp_path, *outputs, labels=False):
    build = Builder(tmp_path)
    build.score(FP32, correct(10), withheld=() if labels else HIDDEN, labels=labels)
    build.score(FAST, correct(10), withheld=() if labels else HIDDEN, labels=labels, outputs=outputs)
    return select(build.run())


def test_the_worst_output_decides_and_is_named(tmp_path):
    _, cell = cells(tmp_path, SAME, GONE)
    assert cell.judgement.outcome == "fail"
    assert (
        "output `second` (scores): the same first answer as float on 12.5 % of 400 examples"
        in cell.judgement.text
    )
    assert cell.figures["agreement"].value == cell.figures["worst_output"].value == 0.125
    assert cell.figures["sqnr"].value == 1.0
    assert refusal_of(cell).text == cell.judgement.text


def test_a_picture_s_decibels_are_shown_in_a_column_of_their_own(tmp_path):
    found = cells(tmp_path, PICTURE)
    assert found[1].judgement.outcome == "pass"
    told = [told_here(name, found) for name in ("accuracy", "accuracy_difference", "flips")]
    assert told == ["sqnr", "sqnr_worst_channel", "cosine"]
    for table in (brief_table(found), matrix_table(found)):
        heads = [column.head for column in table.columns]
        assert "SQNR" in heads
        assert "accuracy" not in heads
        assert table.rows[1][heads.index("SQNR")].text == "45.2 dB"
    assert found[0].figures["sqnr"] == Absent("this is fp32 itself, in which nothing is quantized")


@pytest.mark.parametrize(("kind", "metric", "samples", "figure", "head"), [
    ("text", "same_text", correct(20, 400), "exact_text", "exact text"),
    ("embedding", "cosine", (0.997,) * 400, "cosine", "cosine"),
    ("map", "map_overlap", (0.97,) * 400, "overlap", "overlap"),
    ("sigmoid", "confident_overlap", (0.97,) * 400, "overlap", "overlap"),
    ("boxes", "range_error", (0.004,) * 400, "range_error", "error / range"),
    ("labels", "same_labels", (1.0,) * 400, "agreement", "agreement"),
    ("probabilities", "same_first", correct(2, 400), "agreement", "agreement"),
])  # fmt: skip
def test_the_column_is_headed_by_what_it_is(tmp_path, kind, metric, samples, figure, head):
    found = cells(tmp_path, output("y", kind, metric, *samples, sqnr=33.0))
    assert told_here("accuracy", found) == figure
    assert head in [column.head for column in brief_table(found).columns]
    assert found[1].figures[figure].value == pytest.approx(sum(samples) / 400)


def test_verdicts_that_rest_on_unlike_figures_share_a_column_that_says_so(tmp_path):
    build = Builder(tmp_path)
    build.score(FP32, correct(10), withheld=HIDDEN, labels=False)
    build.score(FAST, correct(10), withheld=HIDDEN, labels=False, outputs=(SAME, PICTURE))
    build.score(SLOW, correct(10), withheld=HIDDEN, labels=False, outputs=(GONE, PICTURE))
    found = select(build.run())
    assert told_here("accuracy", found) == "worst_output"
    assert str(found[1].figures["worst_output"]) == "45.2 dB"  # 400 of 400 are surely the same
    assert str(found[2].figures["worst_output"]) == "12.5 %"


def test_labels_tell_of_the_first_output_and_float_s_answers_of_the_others(tmp_path):
    assert cells(tmp_path, SAME, labels=True)[1].judgement.text.startswith(
        ("accuracy", "not proven that accuracy")
    )
    (tmp_path / "more").mkdir()
    cell = cells(tmp_path / "more", SAME, GONE, labels=True)[1]
    assert cell.judgement.outcome == "fail"
    assert "second" in cell.judgement.text
    assert isinstance(cell.figures["accuracy"], Figure)


def test_nothing_that_can_judge_is_unjudged_and_says_why(tmp_path):
    cell = cells(tmp_path, MUTE)[1]
    assert cell.judgement.outcome == "unjudged"
    assert "the same for every example" in cell.judgement.text
    assert "the same for every example" in cell.figures["worst_output"].reason


def test_every_output_stands_in_the_cell_s_table_with_its_reasons(tmp_path):
    scores = output(
        "y", "sigmoid", "confident_overlap", *(0.5,) * 9, part="channels 4 to 6 of axis 1", sqnr=9.0
    )
    table = outputs_table((PICTURE, scores, MUTE))
    assert [row[0].text for row in table.rows] == ["y", "y", "ids"]
    assert table.rows[1][0].sub == "channels 4 to 6 of axis 1"
    assert table.rows[1][2].text == "overlap 50.0 %"
    assert (table.rows[1][2].tone, table.rows[0][2].tone) == ("bad", "good")
    assert table.rows[2][2].sub == "the same for every example"
    folder = tmp_path / "report"
    build = Builder(tmp_path)
    build.score(FP32, correct(10), withheld=HIDDEN, labels=False)
    build.score(FAST, correct(10), withheld=HIDDEN, labels=False, outputs=(PICTURE, scores, MUTE))
    written = write_report(build.run(), folder)
    for name in ("index.html", "report.md"):
        text = written[name].read_text()
        assert "Every output beside float" in text
        assert "channels 4 to 6 of axis 1" in text


def test_the_verdict_s_table_shows_what_it_rests_on_where_no_label_judges(tmp_path):
    build = Builder(tmp_path)
    for one, seconds, outputs in ((FP32, 0.010, ()), (FAST, 0.004, (PICTURE,))):
        build.prepare(one, 1_000_000 if one is FP32 else 250_000)
        build.score(one, correct(10), withheld=HIDDEN, labels=False, outputs=outputs)
        build.deploy(one)
        build.time(one, seconds, seconds * 1.01, seconds * 0.99)
    table = verdict_table(select(build.run()))
    heads = [column.head for column in table.columns]
    shipped = dict(zip(heads, table.rows[0], strict=True))
    assert "accuracy" not in heads
    assert (shipped["quality"].text, shipped["quality"].sub) == ("45.2 dB", "SQNR")
    assert shipped["how sure"].text == "SQNR holds"


def test_the_figure_by_which_a_cell_fails_is_red_and_says_why(tmp_path):
    found = cells(tmp_path, GONE)
    for table in (brief_table(found), matrix_table(found)):
        at = [column.head for column in table.columns].index("agreement")
        assert table.rows[1][at].tone == "bad"
    matrix = matrix_table(found)
    assert any("output `second`" in note for note in matrix.notes)
