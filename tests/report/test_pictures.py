import re
import xml.etree.ElementTree as ET

import example_run as example
import pytest
from example_run import Builder, case, correct, measured_run

from qbench.cases import Choice
from qbench.records import Withheld
from qbench.report.drawing import flow, shortened, tick_text
from qbench.report.pareto import Span
from qbench.report.pictures import accuracy_span, look_of, pictures
from qbench.report.select import select
from qbench.report.svg import inline, standalone

SVG = "{http://www.w3.org/2000/svg}"


def words_of(picture):
    """Return every text that the file shows."""
    return ["".join(found.itertext()) for found in ET.fromstring(picture.file).iter(f"{SVG}text")]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    (site,) = pictures(select(measured_run(tmp_path_factory.mktemp("drawn"))))
    return {
        picture.slug.removeprefix("tiny-cnn-seed-0-on-cpu-2-threads-"): picture for picture in site.pictures
    }


def test_a_site_has_accuracy_by_speed_by_size_and_its_speed_ups(drawn):
    assert list(drawn) == ["batch-1-latency", "file-size", "speed-up"]
    assert all("quick profile" in " ".join(words_of(picture)) for picture in drawn.values())


def test_the_front_is_told_in_words_too(drawn):
    told = drawn["batch-1-latency"].told
    assert "static int8 on onnxruntime (5.00 ms, 89.0 %)" in told
    assert "3 more cannot be told from it" in told
    assert f'aria-label="{told}"' in drawn["batch-1-latency"].page


def test_every_technique_is_named_and_the_collapsed_one_is_not_drawn(drawn):
    words = " ".join(words_of(drawn["batch-1-latency"]))
    for name in ("static int8", "dynamic int8", "bf16", "fp32", "weight only"):
        assert name in words
    assert "static int4" not in " ".join(" ".join(words_of(p)) for p in drawn.values())
    assert "fake int4" in " ".join(words_of(drawn["file-size"]))  # simulated: it has a size and no speed


def test_the_speed_ups_are_those_of_the_tables(drawn):
    words = words_of(drawn["speed-up"])
    assert {"2.50×", "0.500×", "1.25×", "2.00×"} <= set(words)


def test_ids_are_of_one_picture_each_and_nothing_refers_outside(drawn):
    seen = set()
    for picture in drawn.values():
        ids = re.findall(r'\bid="([^"]*)"', picture.page)
        assert len(ids) == len(set(ids))
        assert not seen & set(ids)
        seen |= set(ids)
        assert set(re.findall(r'href="#([^"]*)"', picture.page)) == set(ids)
        assert not re.search(r"https?:|url\(|<script|<style|#[0-9a-f]{6}", picture.page)


def test_a_file_is_a_drawing_of_its_own(drawn):
    for picture in drawn.values():
        root = ET.fromstring(picture.file)
        assert root.tag == f"{SVG}svg"
        assert root.find(f"{SVG}title").text == picture.told
        assert "var(--" not in picture.file


def test_drawing_twice_gives_the_same_bytes(tmp_path, drawn):
    (again,) = pictures(select(measured_run(tmp_path)))
    assert [picture.file for picture in again.pictures] == [picture.file for picture in drawn.values()]


def test_one_cell_alone_is_no_picture_and_an_empty_run_has_none(tmp_path):
    build = Builder(tmp_path / "one")
    build.whole(example.FP32, correct(10), (0.01, 0.01, 0.01))
    assert pictures(select(build.run())) == ()
    assert pictures(()) == ()


def test_where_accuracy_is_withheld_speed_is_all_that_is_drawn(tmp_path):
    build = Builder(tmp_path)
    hidden = (Withheld("correct", "random weights"),)
    for cell, seconds in ((example.FP32, 0.01), (example.FAST, 0.005)):
        build.prepare(cell)
        build.score(cell, correct(10), withheld=hidden, labels=False)
        build.time(cell, seconds, seconds, seconds)
    (site,) = pictures(select(build.run()))
    assert [picture.title for picture in site.pictures] == ["Speed-up over fp32 on the same engine"]


def test_hostile_names_are_words_in_a_picture(tmp_path):
    evil = "<script>$x^2$&\x07"
    build = Builder(tmp_path)
    made = {"model": Choice(evil)}
    build.whole(case("fp32", role="fp32", **made), correct(10), (0.01, 0.01, 0.01))
    build.whole(case(evil, **made), correct(10), (0.005, 0.005, 0.005))
    (site,) = pictures(select(build.run()))
    for picture in site.pictures:
        assert "<script" not in picture.page
        assert "\x07" not in picture.page + picture.file
        ET.fromstring(picture.file)
        assert re.fullmatch(r"[a-z0-9-]+", picture.slug)
    assert any("$x^2$" in words for picture in site.pictures for words in words_of(picture))


def test_techniques_look_alike_in_every_picture_and_floats_apart(tmp_path):
    look = look_of(select(measured_run(tmp_path)))
    assert look.hue("fp32") != look.hue("bf16")
    assert look.techniques["static int8"] < look.techniques["fp32"]  # hues go to techniques first
    hues = [look.hue(name) for name in look.techniques]
    assert len(set(hues)) == len(hues)


def test_accuracy_stands_with_its_paired_interval(tmp_path):
    cells = {cell.technique: cell for cell in select(measured_run(tmp_path))}
    found = accuracy_span(cells["static int8"])  # 89 %, and −1 point (−4 to +2) against fp32's 90 %
    assert (found.value, found.low, found.high) == pytest.approx((0.89, 0.86, 0.92), abs=1e-4)
    assert accuracy_span(cells["fp32"]) == Span(0.9, 0.9, 0.9)
    assert accuracy_span(cells["static int4"]) is None  # collapsed


def test_legends_break_and_long_names_lose_their_middle():
    legend = flow([("o", "red", True, "a" * 40)] * 3, [("s", "red", True, "b")])
    assert [len(row) for row in legend.rows] == [1, 1, 1, 1]
    assert shortened("short", 100) == "short"
    found = shortened("a very long name of a technique", 60)
    assert len(found) * 0.56 * 9 <= 60
    assert "\N{HORIZONTAL ELLIPSIS}" in found


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (1e-3, "s", "1 ms"),
        (2e-4, "s", "200 µs"),
        (2.5e6, "B", "2.5 MB"),
        (2e8, "1", "200 M"),
        (100, "1/s", "100/s"),
        (0.5, "ratio", "0.5×"),
        (0.25, "ratio", "0.25×"),
        (2000, "1/s", "2,000/s"),
        (10, "ratio", "10×"),
    ],
)
def test_ticks_have_no_noughts_behind_the_point(value, unit, words):
    assert tick_text(value, unit) == words


def test_what_is_no_drawing_is_refused():
    for make in (inline, standalone):
        with pytest.raises(ValueError, match="no drawing"):
            make("<html>", "slug", "label")
