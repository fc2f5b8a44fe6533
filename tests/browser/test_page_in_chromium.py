"""The page in a real browser: it fits a phone and a desk, and asks nobody for anything."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from qbench.report.page import write_report

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))
from example_run import measured_run  # noqa: E402
from large_run import large_run  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
# A window cannot be narrower than 500 pixels, a frame can; the outer page reads the inner one's measures.
FRAME = """<!doctype html><body style="margin:0"><iframe src="{page}"
style="border:0;width:{width}px;height:900px" onload="const w = this.contentWindow, d = w.document;
const dead = [...d.querySelectorAll('a[href^=\\'#\\']')].map(a => a.getAttribute('href'))
  .filter(href => !d.getElementById(decodeURIComponent(href.slice(1))));
const wide = [...d.querySelectorAll('svg.plot')].filter(s => s.getBoundingClientRect().right > w.innerWidth);
const small = [...d.querySelectorAll('svg.plot text')].map(t => t.getBoundingClientRect().height)
  .filter(h => h > 0 && h < 7);
document.body.dataset.answer = [w.innerWidth, d.documentElement.scrollWidth, dead.join(' ') || 'none',
  w.performance.getEntriesByType('resource').length, d.querySelectorAll('svg.plot').length,
  wide.length, small.length].join('|')"></iframe></body>"""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None, reason="there is no Chromium on this machine: apt-get install chromium"
    ),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    written = write_report(measured_run(folder), folder / "out")
    return written["index.html"]


def ask(page, width, tmp_path):
    """Open the page in a frame of this width.

    Return its width, its contents' width, dead links, requests, drawings, those that stick out, and how many
    words in them are too small to read.
    """
    outer = tmp_path / "outer.html"
    outer.write_text(FRAME.format(page=page.as_uri(), width=width))
    done = subprocess.run(
        [CHROMIUM, *QUIET, "--disable-web-security", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
         "--window-size=1400,1000", "--virtual-time-budget=3000", outer.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return re.search(r'data-answer="([^"]*)"', done.stdout)[1].split("|")


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    return write_report(large_run(folder, 1, labels=True), folder / "out")["index.html"]


@pytest.mark.parametrize("width", [375, 1280], ids=["phone", "desk"])
@pytest.mark.parametrize("which", ["page", "large"])
def test_the_page_never_scrolls_sideways_and_every_link_leads_somewhere(which, width, request, tmp_path):
    inner, scrolled, dead, fetched, drawn, wide, small = ask(request.getfixturevalue(which), width, tmp_path)
    assert int(inner) == width
    assert int(drawn) >= 3
    assert (wide, small) == ("0", "0")
    assert int(scrolled) <= int(inner)  # wide tables scroll inside their own box
    assert dead == "none"
    assert fetched == "0"


def test_a_page_that_is_too_wide_is_noticed(page, tmp_path):
    broken = tmp_path / "broken.html"
    broken.write_text(page.read_text().replace("<h1", '<div style="width:3000px">wide</div><h1', 1))
    inner, scrolled, *_ = ask(broken, 1280, tmp_path)
    assert int(scrolled) > int(inner)


def test_a_page_of_120_cells_stays_light(large):
    cells = large.read_text().count('<details id="cell-')
    assert cells >= 110
    assert large.stat().st_size / cells * 120 < 3e6
