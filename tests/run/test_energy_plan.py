"""Which cells get windows of energy, and how many."""

import random
from collections import Counter

import pytest
from workplace import SPEEDY

from qbench.meters.external import VARIABLE
from qbench.profile import PROFILES
from qbench.run import agenda
from qbench.run.estimate import ENERGY_WINDOWS, energy_s
from qbench.run.plan import Selection

MORE = '[[scenario]]\nname = "saturated"\nbatch = 8\n'


@pytest.fixture
def metered(inside, monkeypatch):
    monkeypatch.setenv(VARIABLE, "anything")
    inside.suite("joules", {"int8": '[{ use = "fake_int8" }]'}, more=MORE)
    return inside


def test_every_cell_with_one_stream_gets_five_windows_in_changing_order(metered):
    plan = metered.plan("joules", selection=Selection(energy=True))
    steps = agenda.energy(plan, random.Random(0))
    assert Counter(step.subject.technique for step in steps) == {
        "fp32": ENERGY_WINDOWS,
        "int8": ENERGY_WINDOWS,
    }
    assert {step.subject.scenario.name for step in steps} == {"single"}
    assert [step.round for step in steps] == sorted(step.round for step in steps)


def test_a_quick_run_measures_no_energy_unless_asked_and_a_standard_one_does(metered):
    assert not metered.plan("joules").metered
    assert metered.plan("joules", PROFILES["standard"]).metered


def test_without_a_meter_there_is_nothing_to_do_and_nothing_to_wait_for(metered, monkeypatch):
    with_meter = metered.plan("joules", selection=Selection(energy=True))
    monkeypatch.delenv(VARIABLE)
    without = metered.plan("joules", selection=Selection(energy=True))
    if not without.metered:  # a machine with counters of its own has them all the same
        assert with_meter.estimate_s - without.estimate_s == pytest.approx(energy_s(2))


def test_a_budget_counts_the_windows_of_energy_too(metered):
    whole = metered.plan("joules", SPEEDY, Selection(energy=True))
    less = metered.plan("joules", SPEEDY, Selection(energy=True, budget_s=whole.estimate_s - 1))
    assert len(less.cells) < len(whole.cells)
