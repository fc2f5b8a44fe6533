"""A window of energy on a real network, told by a command that plays a meter; and every way it can fail."""

import shlex
import sys

import pytest
from prepared import FP32, asked, deployment

from qbench.measure import energy
from qbench.meters.external import VARIABLE
from qbench.meters.rapl import Rapl
from qbench.records import Measured
from qbench.run.protocol import Timing, Trace
from qbench.run.steps.energy import measure_energy

METER = """
import sys, time
start = time.monotonic()
lines = int(sys.argv[1])
while lines:
    print(f"{time.monotonic() - start:.6f} 5.0", flush=True)
    time.sleep(0.01)
    lines -= 1
"""


@pytest.fixture
def meter(tmp_path, monkeypatch):
    """Give a function that puts a meter of so many lines in place; windows are short for it."""
    monkeypatch.setattr(energy, "IDLE_S", 0.2)
    monkeypatch.setattr(energy, "LEAST_PERIODS", 10)
    monkeypatch.setattr(Rapl, "root", tmp_path / "no counters")
    (tmp_path / "meter.py").write_text(METER)

    def place(lines=100_000):
        monkeypatch.setenv(VARIABLE, shlex.join([sys.executable, str(tmp_path / "meter.py"), str(lines)]))

    return place


def window(batch=1):
    request = asked("energy", deployment(FP32), batch=batch, timing=Timing(energy_s=0.5), metered=True)
    outcome = measure_energy(request, Trace())
    assert isinstance(outcome, Measured)
    numbers = {measurement.metric: measurement.samples for measurement in outcome.measurements}
    return numbers, {withheld.metric: withheld.reason for withheld in outcome.withheld}, outcome


def test_joules_of_an_example_and_who_told_them(meter):
    meter()
    numbers, _, outcome = window(batch=8)
    assert numbers["power"][0] == pytest.approx(5.0, rel=0.05)  # five watts, whatever the network does
    assert numbers["idle_power"] == pytest.approx((5.0, 5.0), rel=0.2)
    assert 0 < numbers["energy"][0] < 1.0
    told = {evidence.what: evidence.found for evidence in outcome.evidence}
    assert told["energy is told by"] == "external: wall meter, domain wall"
    assert told["the meter's period"] == "0.01 s" or "0.01" in told["the meter's period"]


def test_a_batch_of_eight_shares_its_joules(meter):
    meter()
    one, eight = window(batch=1)[0]["energy"][0], window(batch=8)[0]["energy"][0]
    assert eight < one  # an example of a batch costs less than one alone, and eight would cost more


def test_a_device_that_takes_no_more_than_when_idle_has_no_net_energy(meter):
    meter()
    numbers, withheld, _ = window()
    assert "energy_net" in withheld or numbers["energy_net"][0] < 0.2 * numbers["energy"][0]


def test_a_meter_that_dies_in_the_window_leaves_a_reason_and_no_number(meter):
    meter(lines=60)
    numbers, withheld, _ = window()
    assert "energy" not in numbers
    assert "it ended" in withheld["energy"]


def test_a_meter_that_cannot_be_started_leaves_a_reason(meter, monkeypatch):
    meter()
    monkeypatch.setenv(VARIABLE, "no-such-meter")
    numbers, withheld, _ = window()
    assert "energy" not in numbers
    assert withheld["energy"].startswith("unavailable: the meter 'no-such-meter' cannot be started")


def test_without_any_meter_every_reason_is_told(meter, monkeypatch):
    meter()
    monkeypatch.delenv(VARIABLE)
    assert window()[1]["energy"].startswith("unavailable: no meter here measures this device")
