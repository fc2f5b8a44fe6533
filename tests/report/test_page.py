"""The files of a report.

The golden ones are made again by `QBENCH_REGOLD=1 python -m pytest tests/report/test_page.py`; read the diff.
"""

import os
import re
from html.parser import HTMLParser
from pathlib import Path

import example_run as example
import pytest
from example_run import Builder, case, correct, measured_run

from qbench.cases import Choice
from qbench.errors import CannotWrite
from qbench.records import Failed, Skipped
from qbench.report.figures import Figure
from qbench.report.page import write_report
from qbench.report.select import select

GOLDEN = Path(__file__).parents[1] / "golden"
VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Collects what the tests ask about; raises where tags do not close in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.ids, self.data = [], [], [], []
        self.open, self.good, self.headings = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append(tag)
        self.links += [found[name] for name in ("href", "src", "action", "data") if name in found]
        if "id" in found:
            self.ids.append(found["id"])
        if tag not in VOID:
            self.open.append((tag, found.get("class") or ""))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if self.open and self.open[-1][0] == "style":
            return
        self.data.append(data)
        if any(tag == "td" and "good" in kind.split() for tag, kind in self.open):
            self.good.append(data)
        if self.open and self.open[-1][0] in ("h1", "h2", "title"):
            self.headings.append(data)


def page_of(run, tmp_path):
    text = write_report(run, tmp_path / "report")["index.html"].read_text(encoding="utf-8")
    return text, Page(text)


@pytest.mark.parametrize("name", ["report.md", "cells.csv"])
def test_the_files_are_as_the_golden_ones(tmp_path, name):
    found = write_report(measured_run(tmp_path), tmp_path / "report")[name].read_text(encoding="utf-8")
    golden = GOLDEN / name
    if os.environ.get("QBENCH_REGOLD"):
        golden.write_text(found, encoding="utf-8", newline="\n")
    assert found == golden.read_text(encoding="utf-8")


def test_writing_twice_gives_the_same_bytes(tmp_path):
    run = measured_run(tmp_path)
    first = {k: p.read_bytes() for k, p in write_report(run, tmp_path / "a").items()}
    assert first == {k: p.read_bytes() for k, p in write_report(run, tmp_path / "b").items()}
    names = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert names == ["cells.csv", "index.html", "plots", "report.md"]
    plots = {f"plots/{p.name}" for p in (tmp_path / "a" / "plots").iterdir()}
    assert plots == {name for name in first if name.startswith("plots/")}
    linked = set(re.findall(r"\]\((plots/[^)]*)\)", first["report.md"].decode()))
    assert linked == plots


def test_the_page_asks_the_network_for_nothing_and_runs_no_script(tmp_path):
    text, page = page_of(measured_run(tmp_path), tmp_path)
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    for link in page.links:
        assert link.startswith("#") or re.fullmatch(r"\.\./results/[\w./-]+\.jsonl(#L\d+)?", link), link
    assert not re.search(r"https?:|//|url\(|@import", re.sub(r"\.\./results/\S*", "", text))


def test_every_figure_can_be_traced_to_its_line(tmp_path):
    run = measured_run(tmp_path)
    _, page = page_of(run, tmp_path)
    inner = {link[1:] for link in page.links if link.startswith("#")}
    assert inner <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    target = (tmp_path / "report" / page.links[-1].split("#")[0]).resolve()
    assert target == run.path.resolve()
    linked = {int(link.split("#L")[1]) for link in page.links if "#L" in link}
    wanted = {n for c in select(run) for v in c.figures.values() if isinstance(v, Figure) for n in v.lines}
    assert wanted <= linked
    shown = "".join(page.data)
    for cell in select(run):
        for value in cell.figures.values():
            assert str(value) in shown if isinstance(value, Figure) else value.reason in shown


def test_every_section_names_the_profile(tmp_path):
    _, page = page_of(measured_run(tmp_path), tmp_path)
    heads = [words for words in page.headings if not words.startswith("Which quantization")]
    assert len(heads) == 8
    assert all("quick profile" in words for words in heads)


def test_nothing_slower_larger_or_worse_is_green(tmp_path):
    _, page = page_of(measured_run(tmp_path), tmp_path)
    green = {words.strip() for words in page.good}
    assert "2.50×" in green
    worse = {"0.500×", "0.400×", "0.800×", "1.10 MB", "120 MB", "−1.00 pp", "−75.00 pp", "140 kB", "1.60×"}
    assert worse - {"1.60×"} <= {words.strip() for words in page.data}
    assert not green & worse


def test_a_mark_stands_beside_every_colour(tmp_path):
    text, _ = page_of(measured_run(tmp_path), tmp_path)
    for tone, mark in (("good", "✓"), ("bad", "✗")):
        assert set(re.findall(rf'<td class="{tone}[^"]*">\s*(?:<span class="mark">)?(.)', text)) == {mark}


def test_skipped_failed_and_collapsed_cells_stand_with_their_reasons(tmp_path):
    _, page = page_of(measured_run(tmp_path), tmp_path)
    shown = "".join(page.data)
    for words in (
        "fp8 kernels need other hardware than cpu", "DoesNotFit: 12 columns", "Traceback ...",
        "the process was killed by signal 11", "accuracy 15 % is near the chance of 10 %",
        "simulated: this would be the speed of float kernels", "no counter on this host",
    ):  # fmt: skip
        assert words in shown


EVIL = "<script>alert(1)</script>"


def test_hostile_names_are_shown_and_never_run(tmp_path):
    build = Builder(tmp_path)
    build.whole(case("fp32", role="fp32", model=Choice(EVIL)), correct(10), (0.01, 0.01, 0.01))
    build.whole(case(EVIL, model=Choice(EVIL)), correct(10), (0.005, 0.005, 0.005))
    build.add("plan", case("x", backend=EVIL), Skipped(EVIL))
    build.add("prepare", case("y", model=Choice(EVIL)).deployment.artifact, Failed(EVIL, EVIL, EVIL))
    run = build.run()
    text, page = page_of(run, tmp_path)
    assert "script" not in page.tags
    assert EVIL in "".join(page.data)
    assert "<script" not in text
    assert "<script" not in (tmp_path / "report" / "report.md").read_text()


def test_a_folder_that_cannot_be_written_is_answered_with_a_fix(tmp_path):
    run = measured_run(tmp_path)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CannotWrite, match=r"cannot be written to .*\n.*--reports DIR"):
        write_report(run, tmp_path / "file" / "report")


def test_a_write_that_fails_leaves_the_old_page_whole(tmp_path, monkeypatch):
    run = measured_run(tmp_path)
    page = write_report(run, tmp_path / "report")["index.html"]
    before = page.read_bytes()

    def full(_self, _target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(CannotWrite, match="No space left"):
        write_report(run, tmp_path / "report")
    assert page.read_bytes() == before
    assert not [p for p in (tmp_path / "report").rglob(".*")]


def test_an_empty_run_makes_a_page_that_says_so(tmp_path):
    _, page = page_of(Builder(tmp_path).run(), tmp_path)
    assert "Nothing was measured, so nothing can be recommended." in "".join(page.data)


def test_failures_of_no_one_cell_are_on_the_page(tmp_path):
    build = Builder(tmp_path)
    build.add("anchor", example.Anchor("cpu"), Failed("time", "anchor broke"))
    _, page = page_of(build.run(), tmp_path)
    assert "anchor broke" in "".join(page.data)
