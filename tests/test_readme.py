"""The README's table is the committed result's, and its picture is there."""

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest

from qbench.store import read_runs

CHECKOUT = Path(__file__).parents[1]
README = CHECKOUT / "README.md"


def show_example():
    """The tool that writes the table."""
    spec = importlib.util.spec_from_file_location("show_example", CHECKOUT / "tools" / "show_example.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


def test_the_table_is_what_the_committed_results_say():
    tool = show_example()
    (run,) = read_runs([tool.shown(README.read_text())])
    assert (run.session.suite, run.session.profile) == ("vision", "quick")
    assert tool.with_block(README.read_text(), run) == README.read_text()


def test_the_results_that_the_readme_shows_are_committed():
    path = show_example().shown(README.read_text())
    listed = subprocess.run(["git", "-C", CHECKOUT, "ls-files", "--error-unmatch", path], capture_output=True)
    if listed.returncode == 128:
        pytest.skip("this is no checkout of git, which alone knows what is committed")
    assert listed.returncode == 0, listed.stderr


def test_a_block_of_another_run_names_that_run():
    tool = show_example()
    other = CHECKOUT / "results" / "epyc-2-cores" / "2026-11-24-vision.jsonl"
    readme = tool.with_block(README.read_text(), read_runs([other])[-1])
    assert tool.shown(readme) == other
    assert tool.with_block(readme, read_runs([tool.shown(README.read_text())])[0]) == README.read_text()


def test_every_link_and_picture_leads_to_a_file():
    for page in [README, CHECKOUT / "CONTRIBUTING.md", *CHECKOUT.glob("docs/*.md")]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} leads to {target}"


def test_the_readme_opens_with_two_commands():
    assert re.match(r"# qbench\n\n```\nmake run .*\nmake test .*\n```\n", README.read_text())
