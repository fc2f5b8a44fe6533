"""Pairs of a file and its copy, found in records; floors and power judged from them, by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qbench.cases import AGAIN, ArtifactSpec, Case, Choice, DataSpec, Deployment, Float, Hop, Scenario, Step
from qbench.errors import BadFile
from qbench.gate.detect import judge
from qbench.gate.noise import floors_of, read_floors, with_known, write_floors
from qbench.gate.power import floor_without, power
from qbench.gate.trials import Rounds, Trial, trials_of
from qbench.records import Failed, Measured, Measurement, Record, Session, Withheld
from qbench.store import Run

WAY = (Hop("source", Choice("net"), "torch", Float(), "a"),)
PLACE = Deployment(ArtifactSpec(Choice("net"), WAY), "engine", "cpu", 1, "e")
FLOAT = Case("aa", "plain", "fp32", PLACE, DataSpec(Choice("t"), "test", 8), Scenario())
COPY = replace(FLOAT, technique=AGAIN, role="float")
ROUNDS = 12


def slowed(share: float) -> Case:
    return replace(COPY, technique=f"slowed {share}", scenario=Scenario(slowed=share))


def session(name: str, factors: dict[Case, float], *, suite: str = "aa", noise: float = 0.002) -> Run:
    """Return a session in which every case takes its factor of the float file's time."""
    rng = np.random.default_rng(abs(hash(name)) % 1000)
    records = []
    for k in range(ROUNDS):
        drift = math.exp(rng.normal(0, 0.3))
        for case, factor in {FLOAT: 1.0, **factors}.items():
            middle = 0.01 * drift * factor * math.exp(rng.normal(0, noise))
            samples = tuple(middle * (1 + 0.001 * i) for i in range(100))
            outcome = Measured((Measurement("latency", samples),))
            records.append(Record(Step("time", case, k), outcome, name, "2026-01-01T00:00:00Z", 1.0))
    for case in {FLOAT: 1.0, **factors}:
        if not case.scenario.slowed:
            load = Measured((Measurement("load_time", (0.1 if case is FLOAT else 0.11,)),))
            records.append(Record(Step("deploy", case), load, name, "2026-01-01T00:00:00Z", 1.0))
    head = Session(name, suite, "gate", "host", (), (), "none", False, "2026-01-01T00:00:00Z", "qbench aa")
    return Run(head, tuple(records), Path("aa.jsonl"), tuple(range(len(records))))


def test_a_copy_is_paired_with_its_original_whatever_that_is_called() -> None:
    (pair,) = trials_of([session("one", {COPY: 1.0})])
    assert (pair.session, pair.slowed, len(pair.reference.samples)) == ("one", 0.0, ROUNDS)
    assert pair.mean_slow_down == pytest.approx(1.0, abs=0.01)


def test_only_rounds_that_both_have_count() -> None:
    run = session("one", {COPY: 1.0})
    broken = [
        replace(record, outcome=Failed("measure", "it broke"))
        if record.step == Step("time", COPY, 3)
        else replace(record, outcome=Measured((), (Withheld("latency", "the clock stood still"),)))
        if record.step == Step("time", FLOAT, 5)
        else record
        for record in run.records
    ]
    (pair,) = trials_of([replace(run, records=tuple(broken))])
    assert len(pair.reference.tenth) == len(pair.candidate.tenth) == ROUNDS - 2


def test_a_run_without_copies_has_no_trial() -> None:
    assert trials_of([session("one", {})]) == ()


def pair(calls: int, slower: int) -> Trial:
    windows = [[[0.010 + 0.001 * (i % 10) for i in range(n)]] * 12 for n in (calls, slower)]
    return Trial("one", "aa", "gate", "net", "latency", 0.0, *(Rounds.of(side) for side in windows))


def test_the_gate_looks_at_the_tenth_percentile_and_at_the_median_where_calls_are_few() -> None:
    """By the binomial floor, 64 samples support a tenth percentile and 63 do not."""
    assert pair(64, 64).figure == "tenth"
    assert pair(63, 63).figure == "middle"


def test_both_sides_are_judged_by_one_figure() -> None:
    """The slower side has fewer calls: its median over the other's tenth percentile would be a slow-down."""
    assert pair(64, 63).figure == "middle"
    (found,) = judge([pair(64, 63).compared()])
    assert found.slow_down == pytest.approx(1.0, abs=0.01)


def test_the_floor_of_every_metric_that_was_measured_twice() -> None:
    runs = [session(name, {COPY: 1.0}) for name in "abc"]
    floors = {floor.metric: floor for floor in floors_of(runs)}
    tenth = floors["latency, tenth percentile"]
    assert (tenth.differences, tenth.sessions) == (3, 3)
    assert tenth.floor is not None
    assert 1.0 < tenth.floor < 1.01
    load = floors["load time"]
    assert load.largest == pytest.approx(1.1)
    assert load.floor is not None
    assert load.floor > 1.1  # three differences of a tenth promise more than a tenth
    assert floors["throughput"].floor is None
    assert floors["throughput"].differences == 0


def test_floors_are_written_and_read_and_a_torn_file_is_named(tmp_path: Path) -> None:
    floors = floors_of([session(name, {COPY: 1.0}) for name in "ab"])
    path = tmp_path / "host" / "floors.json"
    write_floors(floors, path)
    assert read_floors(path) == floors
    path.write_text("[{")
    with pytest.raises(BadFile, match="run `qbench aa`"):
        read_floors(path)


def test_what_was_put_in_is_found_and_nothing_else_is() -> None:
    runs = [session(name, {COPY: 1.0, slowed(0.02): 1.02, slowed(0.10): 1.10}) for name in "abcdef"]
    none, two, ten = power(trials_of(runs))
    assert (none.slowed, none.sessions, none.nights, none.nights_by_mean) == (0.0, 6, 0, 0)
    assert (two.slowed, two.detected, two.by_mean) == (0.02, 0, 0)  # below the practical limit
    assert (ten.slowed, ten.detected, ten.trials, ten.by_mean) == (0.10, 6, 6, 6)
    assert [round(found.measured, 2) for found in (none, two, ten)] == [1.0, 1.02, 1.1]
    assert none.bounds == (0.0, pytest.approx(1 - 0.025 ** (1 / 6)))
    assert ten.bounds == (pytest.approx(0.025 ** (1 / 6)), 1.0)


def test_a_session_has_no_say_in_the_floor_that_it_is_judged_by() -> None:
    quiet = [session(name, {COPY: 1.0}) for name in "abc"]
    wild = session("wild", {COPY: 1.5})
    trials = trials_of([*quiet, wild])
    assert floor_without(trials, "wild", "latency") < 1.01
    assert floor_without(trials, "a", "latency") > 1.3
    found = power(trials)[0]
    assert found.nights == 1  # the wild one, judged by the others


def test_sessions_beside_a_neighbour_are_told_apart() -> None:
    runs = [
        session(name, {COPY: 1.0}, suite=suite)
        for name, suite in (("a", "quiet"), ("b", "quiet"), ("c", "busy"), ("d", "busy"))
    ]
    assert [(found.suite, found.sessions) for found in power(trials_of(runs))] == [("busy", 2), ("quiet", 2)]


def test_a_noisy_metric_does_not_widen_the_floor_of_another() -> None:
    trials = trials_of([session(name, {COPY: 1.0}) for name in "abc"])
    noisy = [
        replace(t, metric="throughput", candidate=Rounds.of([[0.1 + 0.02 * i] * 99 for i in range(12)]))
        for t in trials
    ]
    assert floor_without([*trials, *noisy], "a", "latency") == floor_without(trials, "a", "latency")


def test_sessions_of_fewer_rounds_or_another_profile_are_told_apart() -> None:
    whole = session("a", {COPY: 1.0})
    cut = session("b", {COPY: 1.0})
    kept = tuple(record for record in cut.records if record.step.round < 7)
    cut = replace(cut, records=kept, lines=tuple(range(len(kept))))
    quick = session("c", {COPY: 1.0})
    quick = replace(quick, session=replace(quick.session, profile="quick"))
    found = power(trials_of([whole, cut, quick]))
    assert [(one.profile, one.rounds, one.sessions) for one in found] == [
        ("gate", 7, 1), ("gate", 12, 1), ("quick", 12, 1),
    ]  # fmt: skip


def test_sessions_beside_one_thing_do_not_judge_those_beside_another() -> None:
    quiet = [session(name, {COPY: 1.0, slowed(0.10): 1.10}, suite="quiet") for name in "abc"]
    wild = [session(name, {COPY: factor}, suite="busy") for name, factor in (("d", 1.4), ("e", 0.7))]
    ten = next(f for f in power(trials_of([*quiet, *wild])) if (f.suite, f.slowed) == ("quiet", 0.10))
    assert ten.detected == 3


def test_power_is_bounded_by_sessions_however_many_cells_each_has() -> None:
    """Three sessions of two cells: six hits of six, bounded as three of three."""
    trials = trials_of([session(name, {COPY: 1.0, slowed(0.10): 1.10}) for name in "abc"])
    twice = [*trials, *(replace(trial, cell="another") for trial in trials)]
    ten = next(found for found in power(twice) if found.slowed)
    assert (ten.detected, ten.trials, ten.sessions) == (6, 6, 3)
    assert ten.bounds == (pytest.approx(0.025 ** (1 / 3)), 1.0)


def test_a_run_of_too_few_rounds_is_not_run_and_not_unclear() -> None:
    short = session("a", {COPY: 1.0, slowed(0.20): 1.20})
    kept = tuple(record for record in short.records if record.step.round < 2)
    found = power(trials_of([replace(short, records=kept, lines=tuple(range(len(kept))))]))
    assert [(one.detected, one.unclear, one.not_run) for one in found] == [(0, 0, 1), (0, 0, 1)]


def test_a_metric_with_too_few_pairs_keeps_the_floor_of_before(tmp_path: Path) -> None:
    path = tmp_path / "floors.json"
    known = floors_of([session(name, {COPY: 1.0}) for name in "abc"])
    write_floors(known, path)
    few = floors_of([session("d", {COPY: 1.0})])
    assert next(f for f in few if f.metric == "load time").floor is None
    assert next(f for f in with_known(few, path) if f.metric == "load time") == known[-3]
    assert with_known(few, tmp_path / "none.json") == few
