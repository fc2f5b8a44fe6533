"""Two sessions side by side: finding the runs that a command line names, and what differs between them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qbench.errors import BadFile
from qbench.records import Session
from qbench.report.tables import Column, Entry, Table
from qbench.store import Run, read_runs, results_files

NAMES = "name a results file, FILE:SESSION, or a suite (its newest run; SUITE~1 is the run before)"


def run_named(word: str, results: Path = Path("results")) -> Run:
    """Return the run that a word names: a results file's newest, `FILE:SESSION`, a suite's newest, `SUITE~1`.

    Args:
        word: as typed.
        results: the folder in which the runs of a suite are looked for.

    Raises:
        BadFile: there is no such file, session or run; the fix names those there are.
    """
    if Path(word).is_file():
        return _newest(_begun(read_runs([Path(word)])), word, 0)
    file, _, session = word.rpartition(":")
    if file and Path(file).is_file():
        runs = read_runs([Path(file)])
        found = [run for run in runs if run.session.id == session]
        if not found:
            known = ", ".join(run.session.id for run in runs) or "none"
            raise BadFile(f"{file} holds no session {session!r}; it holds {known}", fix=NAMES)
        return found[0]
    suite, _, back = word.partition("~")
    steps = int(back) if back.isdecimal() else 0 if word == suite else -1
    files = results_files(results) if results.exists() else []
    runs = _begun(read_runs(files))
    of_suite = [run for run in runs if run.session.suite == suite]
    if steps < 0 or not of_suite:
        known = ", ".join(dict.fromkeys(run.session.suite for run in runs)) or "no suite"
        raise BadFile(
            f"{word!r} is no results file and no suite with a run in {results} ({known})", fix=NAMES
        )
    return _newest(of_suite, word, steps)


def newest_runs(words: Sequence[str]) -> list[Run]:
    """Return the runs to show: every `FILE:SESSION` that is named, and the newest of each suite in the rest.

    A narrowed run is another thing than a whole one: the newest of both kinds are shown.

    Raises:
        BadFile: there is no such session, or no run at all.
    """
    named, files = [], []
    for word in words:
        if ":" in word and not Path(word).exists():
            named.append(run_named(word))
        else:
            files += results_files(Path(word)) if Path(word).exists() else []
    newest = {(run.session.suite, bool(run.session.narrowed)): run for run in _begun(read_runs(files))}
    if not named and not newest:
        where = ", ".join(words)
        raise BadFile(f"there are no results in {where}", fix="run `qbench run --suite vision` first")
    return [*named, *newest.values()]


def _begun(runs: Sequence[Run]) -> list[Run]:
    """Leave out sessions that ended before their first record."""
    return [run for run in runs if run.records]


def _newest(runs: Sequence[Run], word: str, back: int) -> Run:
    if back >= len(runs):
        raise BadFile(f"{word!r} asks for run {back + 1} from the end, and there are {len(runs)}", fix=NAMES)
    return runs[-1 - back]


def sessions_table(a: Run, b: Run) -> Table:
    """Return what differs between two sessions; what is the same in both is left out."""
    first, second = _facts(a.session), _facts(b.session)
    names = list(dict.fromkeys([*first, *second]))
    rows = tuple(
        (Entry(name), Entry(first.get(name, "not recorded")), Entry(second.get(name, "not recorded")))
        for name in names
        if first.get(name) != second.get(name)
    )
    columns = (Column("what"), Column("A"), Column("B"))
    title = f"What differs between A ({a.session.id}) and B ({b.session.id})"
    return Table(title, columns, rows, empty="nothing: both are the same session")


def _facts(session: Session) -> dict[str, str]:
    code = session.commit + (", with uncommitted changes" if session.dirty else "")
    return {
        "suite": session.suite,
        "profile": session.profile,
        "host": session.host,
        **dict(session.facts),
        "code": code,
        "started (UTC)": session.started_utc,
        "command": session.command,
        "narrowed to": session.narrowed or "nothing: the whole suite",
        **{f"{name} version": version for name, version in session.versions},
    }
