"""Float against itself, through the real executor on the fake engine, whose every number is known."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from workplace import Nobody, of, samples

from qbench.cases import AGAIN
from qbench.errors import BadSuite, NotAvailable
from qbench.gate.noise import floors_of
from qbench.gate.power import power
from qbench.gate.trials import trials_of
from qbench.run.neighbour import busy_neighbour
from qbench.run.protocol import Limits
from qbench.run.session import execute
from qbench.run.twins import twins_of


def test_copies_stand_beside_their_original_and_are_scored_once(inside):
    inside.suite("some", {"int8": '[{ use = "fake_int8" }]'})
    plan = twins_of(inside.plan("some"), (0.05,), rounds=6)
    assert [(case.technique, case.role, case.scenario.slowed) for case in plan.cells] == [
        ("fp32", "fp32", 0.0), (AGAIN, "float", 0.0), ("fp32 slowed by 5%", "float", 0.05),
    ]  # fmt: skip
    assert plan.profile.rounds == 6
    assert plan.suite.name == "aa"
    assert len({case.deployment for case in plan.cells}) == 1


def test_a_suite_that_times_nothing_is_told(inside):
    inside.suite("some", {"int8": '[{ use = "fake_int8" }]'})
    plan = inside.plan("some")
    with pytest.raises(BadSuite, match="nothing can be measured against itself"):
        twins_of(replace(plan, cells=()))


@pytest.mark.slow
def test_a_known_slow_down_is_found_in_a_real_run_and_the_copy_is_not(inside):
    inside.suite("some", {})
    plan = twins_of(inside.plan("some"), (0.10,), rounds=8)
    runs = [
        execute(plan, inside.root / "results", Nobody(), Limits(), command="test", resume=False).run
        for _ in range(3)
    ]
    assert len(of(runs[0], "score")) == 1
    assert len(of(runs[0], "deploy")) == 2
    longer = samples(of(runs[0], "time", "fp32 slowed by 10%")[0], "latency")
    plain = samples(of(runs[0], "time", AGAIN)[0], "latency")
    assert longer[0] == pytest.approx(1.10 * plain[0], rel=1e-3)
    none, ten = power(trials_of(runs))
    assert (none.nights, ten.detected, ten.trials) == (0, 3, 3)
    floors = {floor.metric: floor.floor for floor in floors_of(runs)}
    assert floors["latency, median"] == pytest.approx(1.0, abs=1e-3)


def test_a_neighbour_is_busy_and_gone_afterwards():
    with busy_neighbour() as pid:
        os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_neighbour_that_ended_by_itself_leaves_nothing_to_believe():
    def killed():
        with busy_neighbour() as pid:
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

    with pytest.raises(NotAvailable, match="measured beside nothing"):
        killed()


def test_a_neighbour_does_not_outlive_a_parent_that_is_killed():
    code = """
import os, signal
from qbench.run.neighbour import busy_neighbour
with busy_neighbour() as pid:
    print(pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=20
    )
    pid = int(done.stdout)
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("it still keeps a core busy ten seconds later")


@pytest.mark.slow
def test_the_commands_say_what_they_found(inside):
    inside.suite("some", {})
    ran = inside.qbench("power", "-s", "some", "--hw", "testbed", "--sessions", "2", "--rounds", "6")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "power-quiet: 2 sessions" in ran.stdout
    assert "power-beside-a-busy-core: 2 sessions" in ran.stdout
    assert "20 %" in ran.stdout
    ledger = next((inside.root / "results").rglob("power.json"))
    kept = ledger.read_text()
    assert inside.qbench("power", str(ledger)).stdout.split("power-beside")[-1] in ran.stdout
    assert ledger.read_text() == kept  # judging again writes nothing
    joined = inside.qbench("power", "results", "--ledger", "all.json")
    assert (inside.root / "all.json").read_text() == kept, joined.stderr
    again = inside.qbench("power", "results")
    assert again.stdout.split("power-beside")[-1].split("results")[0] in ran.stdout
    floors = inside.qbench("aa", "-s", "some", "--hw", "testbed", "--rounds", "6", "--sessions", "1")
    assert floors.returncode == 0, floors.stdout + floors.stderr
    assert "needs 2 pairs" in floors.stdout
    assert next((inside.root / "results").rglob("floors.json")).is_file()
    starved = inside.qbench("power", "-s", "some", "--hw", "testbed", "--rounds", "2")
    assert starved.returncode == 2
    assert "give --rounds 5 or more" in starved.stderr
    nothing = inside.qbench("power", str(inside.root / "suites"))
    assert nothing.returncode == 2
    assert "fix: run `qbench power`" in nothing.stderr
