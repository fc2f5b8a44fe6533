"""The ledger: what is kept of a trial gives the same verdicts as its calls did."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from qbench.errors import BadFile
from qbench.gate.ledger import joined, read_trials, write_trials
from qbench.gate.power import power
from qbench.gate.trials import Rounds, Trial


def trial(session: str, slowed: float = 0.0) -> Trial:
    windows = [[0.010 + 0.0001 * (i % 7) + 0.0003 * k for i in range(80)] for k in range(12)]
    slower = [[call * (1 + slowed) for call in window] for window in windows]
    return Trial(
        session, "quiet", "gate", "net on engine", "latency", slowed, Rounds.of(windows), Rounds.of(slower)
    )


def test_the_mean_of_all_calls_weighs_rounds_by_their_calls() -> None:
    """Three calls of 1 s and one of 5 s: 2 s, and not the 3 s of the two rounds' means."""
    assert Rounds.of([[1.0, 1.0, 1.0], [5.0]]).mean_of_all == 2.0


def test_what_is_read_is_what_was_written_and_is_judged_alike(tmp_path: Path) -> None:
    trials = tuple(trial(name, slowed) for name in "abcd" for slowed in (0.0, 0.1))
    path = tmp_path / "host" / "power.json"
    write_trials(trials, path)
    assert read_trials(path) == trials
    assert power(read_trials(path)) == power(trials)
    assert len(path.read_text().splitlines()) == len(trials) + 2  # a line a trial: its history can be read


def test_a_session_that_both_have_is_there_once_and_new() -> None:
    old, other = trial("a"), trial("b")
    new = replace(old, suite="beside")
    assert joined([old, other], [new]) == (other, new)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[{", "Expecting"),
        ("[]", "it is a list"),
        ('{"format": 9, "trials": []}', "format 9, and this qbench reads 1"),
        ('{"format": 1, "trials": [{"cell": "x"}]}', "it lacks 'reference'"),
    ],
)
def test_another_file_is_named_with_its_fault(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "power.json"
    path.write_text(content)
    with pytest.raises(BadFile, match="qbench power") as caught:
        read_trials(path)
    assert told in str(caught.value)


def test_sides_of_two_lengths_are_refused(tmp_path: Path) -> None:
    one = trial("a")
    short = replace(one.candidate, samples=one.candidate.samples[:-1])
    write_trials([replace(one, candidate=short)], tmp_path / "power.json")
    with pytest.raises(BadFile, match="its sides have"):
        read_trials(tmp_path / "power.json")
