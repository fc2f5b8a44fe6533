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
document.body.dataset.answer = [w.innerWidth, d.documentElement.scrollWidth, dead.join(' ') || 'none',
  w.performance.getEntriesByType('resource').length].join('|')"></iframe></body>"""

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
    """Open the page in a frame of this width; return its width, its contents' width, dead links, requests."""
    outer = tmp_path / "outer.html"
    outer.write_text(FRAME.format(page=page.as_uri(), width=width))
    done = subprocess.run(
        [CHROMIUM, *QUIET, "--disable-web-security", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
         "--window-size=1400,1000", "--virtual-time-budget=3000", outer.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return re.search(r'data-answer="([^"]*)"', done.stdout)[1].split("|")


@pytest.mark.parametrize("width", [375, 1280], ids=["phone", "desk"])
def test_the_page_never_scrolls_sideways_and_every_link_leads_somewhere(page, width, tmp_path):
    inner, scrolled, dead, fetched = ask(page, width, tmp_path)
    assert int(inner) == width
    assert int(scrolled) <= int(inner)  # wide tables scroll inside their own box
    assert dead == "none"
    assert fetched == "0"


def test_a_page_that_is_too_wide_is_noticed(page, tmp_path):
    broken = tmp_path / "broken.html"
    broken.write_text(page.read_text().replace("<h1", '<div style="width:3000px">wide</div><h1', 1))
    inner, scrolled, _, _ = ask(broken, 1280, tmp_path)
    assert int(scrolled) > int(inner)
