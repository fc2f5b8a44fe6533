"""The README's table is the committed result's, and its picture is there."""

import importlib.util
import re
from pathlib import Path

from qbench.store import read_runs, results_files

CHECKOUT = Path(__file__).parents[1]
README = CHECKOUT / "README.md"


def test_the_table_is_what_the_committed_results_say():
    spec = importlib.util.spec_from_file_location("show_example", CHECKOUT / "tools" / "show_example.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    committed = [path for path in results_files(CHECKOUT / "results") if path.stem.endswith("-vision")]
    runs = read_runs(committed)
    quick = [run for run in runs if (run.session.suite, run.session.profile) == ("vision", "quick")]
    run = quick[-1]  # in the order in which they were begun
    assert tool.with_block(README.read_text(), run) == README.read_text()


def test_every_link_and_picture_leads_to_a_file():
    for page in [README, CHECKOUT / "CONTRIBUTING.md", *CHECKOUT.glob("docs/*.md")]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} leads to {target}"


def test_the_readme_opens_with_two_commands():
    assert re.match(r"# qbench\n\n```\nmake run .*\nmake test .*\n```\n", README.read_text())
