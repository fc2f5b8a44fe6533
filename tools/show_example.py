"""Write the README's table and the example report anew from the committed results.

python tools/show_example.py results/xeon-2-cores/2026-11-26-vision.jsonl
"""

import io
import re
import sys
from pathlib import Path

from rich.console import Console

from qbench.records import Evidence, Measured, Record
from qbench.report.page import write_report
from qbench.report.summary import print_summary
from qbench.store import Run, read_runs

CHECKOUT = Path(__file__).parents[1]
BEGIN, END = re.compile(r"<!-- result: begin of (\S+) -->\n"), "<!-- result: end -->"
WIDTH = 92


def block(run: Run) -> str:
    """Return what `make run` printed at the end of this run, as Markdown."""
    printed = io.StringIO()
    print_summary(run, Console(file=printed, width=WIDTH))
    lines = "\n".join(line.rstrip() for line in printed.getvalue().strip().splitlines())
    processor = dict(run.session.facts)["processor"]
    where = f"{processor}, {dict(run.session.facts)['cores usable']} cores, {run.session.started_utc[:10]}"
    told = f"What `make run` printed, after `make arm`, on a small shared machine ({where}):"
    return f"{told}\n\n```\n{lines}\n```\n"


def with_block(readme: str, run: Run) -> str:
    """Return the README with the block in its place."""
    begin = BEGIN.search(readme)
    if begin is None:
        raise ValueError(f"README.md has no line of the form {BEGIN.pattern!r} to write after")
    marked = f"<!-- result: begin of {run.path.resolve().relative_to(CHECKOUT).as_posix()} -->\n"
    return readme[: begin.start()] + marked + block(run) + END + readme[begin.end() :].partition(END)[2]


def shown(readme: str) -> Path:
    """Return the file whose run the README shows: it names it, and another run of today changes nothing."""
    (named,) = BEGIN.findall(readme)
    return CHECKOUT / named


def evidence_of(record: Record) -> tuple[Evidence, ...]:
    """Return what a measured step rests on."""
    return record.outcome.evidence if isinstance(record.outcome, Measured) else ()


def main() -> None:
    """Write README.md and reports/example/."""
    (run,) = read_runs([Path(sys.argv[1])])
    if any("from the cache" in fact.found for record in run.records for fact in evidence_of(record)):
        sys.exit("this run took files from an earlier one: measure again with an empty QBENCH_CACHE")
    if run.session.dirty:
        sys.exit("this run was made with code that is in no commit: commit, and measure again")
    readme = CHECKOUT / "README.md"
    readme.write_text(with_block(readme.read_text(), run))
    write_report(run, CHECKOUT / "reports" / "example")


if __name__ == "__main__":
    main()
