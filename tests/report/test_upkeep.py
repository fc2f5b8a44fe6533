"""Money, carbon and battery from metered joules, by hand; and nothing from anything else."""

from dataclasses import replace
from types import SimpleNamespace

import example_run as example
import pytest
from example_run import Builder, correct

from qbench.hardware import Fact
from qbench.records import Withheld
from qbench.report import upkeep
from qbench.report.brief import energy_words
from qbench.report.figures import FIGURES, Absent
from qbench.report.select import select
from qbench.report.speed import LEAST_WINDOWS
from qbench.report.upkeep import CARBON, PRICE
from qbench.run.estimate import ENERGY_WINDOWS


def cell_with(tmp_path, *joules):
    build = Builder(tmp_path)
    build.whole(example.FP32, correct(10), (0.01,) * 3)
    for k, value in enumerate(joules):
        build.measured("energy", example.FP32, k, energy=value, power=30.0, idle_power=10.0)
    return select(build.run())[0]


def test_a_million_examples_of_36_mj_are_ten_watt_hours():
    """0.036 J a million times are 36 kJ, a hundredth of a kilowatt-hour."""
    assert 0.036 * 1e6 / 3.6e6 == 0.01


def test_cost_and_carbon_are_the_energy_times_a_sourced_factor(tmp_path):
    figures = cell_with(tmp_path, *[0.036] * 5).figures
    assert figures["energy"].value == 0.036
    assert figures["energy"].n == 5
    assert figures["cost_per_million"].value == pytest.approx(0.01 * PRICE.per_kwh)
    assert figures["carbon_per_million"].value == pytest.approx(0.01 * CARBON.per_kwh)
    assert str(figures["carbon_per_million"]) == "4.36 g"
    for name, factor in (("cost_per_million", PRICE), ("carbon_per_million", CARBON)):
        assert f"{factor.per_kwh:g}" in FIGURES[name].means  # the page says which factor, and whose


def test_the_interval_of_energy_goes_along(tmp_path):
    figures = cell_with(tmp_path, 0.030, 0.036, 0.036, 0.037, 0.040).figures
    assert figures["energy"].low == 0.030
    assert figures["cost_per_million"].low == pytest.approx(0.030 * 1e6 / 3.6e6 * PRICE.per_kwh)
    assert figures["cost_per_million"].high == pytest.approx(0.040 * 1e6 / 3.6e6 * PRICE.per_kwh)


def test_the_windows_that_a_fault_spared_are_no_figure(tmp_path):
    """Four of five with a reason: what is left was not chosen fairly, and has too few for an interval."""
    build = Builder(tmp_path)
    build.whole(example.FP32, correct(10), (0.01,) * 3)
    build.measured("energy", example.FP32, 0, energy=0.036, power=30.0, idle_power=10.0)
    for k in range(1, 5):
        build.measured(
            "energy", example.FP32, k, extra={"withheld": (Withheld("energy", "the counter jumped"),)}
        )
    (cell,) = select(build.run())
    for name in ("energy", "power", "energy_net", "cost_per_million"):
        assert "the counter jumped" in cell.figures[name].reason
    assert cell.figures["energy"].reason.startswith("1 of 5 windows gave it, and 5 are asked for")


def test_the_terminal_says_what_energy_was_asked_for_and_why_there_is_none(tmp_path):
    build = Builder(tmp_path)
    build.whole(example.FP32, correct(10), (0.01,) * 3)
    build.whole(example.FAST, correct(10), (0.01,) * 3)
    jumped = {"withheld": (Withheld("energy", "the counter jumped"),)}
    for k in range(5):
        build.measured("energy", example.FP32, k, energy=0.036, power=30.0, idle_power=10.0, energy_net=0.02)
        build.measured("energy", example.FAST, k, extra=jumped)
    run = build.run()
    metered, without = energy_words(run, select(run))
    assert "36.0 mJ an example; 20.0 mJ of it above idle" in metered
    assert without == "no energy for 1 cell: the counter jumped"


def test_a_run_that_measured_no_energy_says_nothing_of_it(tmp_path):
    build = Builder(tmp_path)
    build.whole(example.FP32, correct(10), (0.01,) * 3)
    run = build.run()
    assert energy_words(run, select(run)) == []


def test_as_many_windows_are_measured_as_a_figure_asks_for():
    assert ENERGY_WINDOWS == LEAST_WINDOWS


def test_the_idle_power_of_five_windows_counts_windows(tmp_path):
    build = Builder(tmp_path)
    build.whole(example.FP32, correct(10), (0.01,) * 3)
    for k in range(5):
        build.measured("energy", example.FP32, k, energy=0.036, power=30.0, idle_power=(10.0, 12.0))
    idle = select(build.run())[0].figures["idle_power"]
    assert (idle.value, idle.n) == (11.0, 5)


def test_without_a_meter_there_is_no_money_and_no_carbon(tmp_path):
    figures = cell_with(tmp_path).figures
    for name in ("energy", "cost_per_million", "carbon_per_million", "examples_per_charge"):
        assert isinstance(figures[name], Absent)
        assert figures[name].reason == "no counter on this host"


def test_an_estimate_is_latency_in_joules_and_nothing_is_derived_from_it(tmp_path, monkeypatch):
    power = Fact("power", 15.0, "W", "a test")
    monkeypatch.setattr(upkeep, "load_profiles", lambda name: [SimpleNamespace(name=name, fact=[power])])
    hardware = replace(example.FP32, deployment=replace(example.FP32.deployment, hardware="board"))
    build = Builder(tmp_path)
    build.whole(hardware, correct(10), (0.010,) * 3)
    figures = select(build.run())[0].figures
    batch = hardware.scenario.batch
    assert figures["energy_estimate"].value == pytest.approx(15.0 * 0.010 / batch, rel=0.02)
    assert figures["energy_estimate"].of == "estimate from a power figure"
    for name in ("energy", "cost_per_million", "carbon_per_million", "examples_per_charge"):
        assert isinstance(figures[name], Absent)


def test_a_battery_of_36_kj_answers_a_million_examples_of_36_mj(tmp_path, monkeypatch):
    assert "no battery" in cell_with(tmp_path / "none", *[0.036] * 5).figures["examples_per_charge"].reason
    battery = Fact("battery", 36_000.0, "J", "a test")
    monkeypatch.setattr(upkeep, "load_profiles", lambda name: [SimpleNamespace(name=name, fact=[battery])])
    hardware = replace(example.FP32, deployment=replace(example.FP32.deployment, hardware="phone"))
    build = Builder(tmp_path)
    build.whole(hardware, correct(10), (0.01,) * 3)
    for k in range(5):
        build.measured("energy", hardware, k, energy=0.036, power=30.0, idle_power=10.0)
    assert select(build.run())[0].figures["examples_per_charge"].value == pytest.approx(1e6)
