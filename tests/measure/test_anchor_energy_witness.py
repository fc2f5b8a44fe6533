import numpy as np

from qbench.measure import energy
from qbench.measure.anchor import anchor_call
from qbench.measure.energy import why_unavailable
from qbench.measure.witness import Witness
from qbench.metrics import CATALOGUE


def test_the_anchor_computes_the_same_every_time():
    first, again = anchor_call(), anchor_call()
    wanted = first().copy()
    np.testing.assert_array_equal(first(), wanted)
    np.testing.assert_array_equal(again(), wanted)
    assert np.isfinite(wanted).all()
    assert wanted.any()


def test_the_reason_for_no_energy_is_never_empty(tmp_path, monkeypatch):
    reasons = [why_unavailable()]
    monkeypatch.setattr(energy, "POWERCAP", tmp_path / "nothing")
    reasons.append(why_unavailable())
    (tmp_path / "intel-rapl:0").mkdir()
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    reasons.append(why_unavailable())
    assert all(reason.startswith("unavailable: ") for reason in reasons)
    assert "intel-rapl:0" in reasons[-1]
    assert "no energy counter" in reasons[1]


def test_a_witness_tells_what_happened_since():
    found = Witness(12, 3.5).since(Witness(10, 3.0))
    numbers = {m.metric: m.samples[0] for m in found}
    assert numbers["involuntary_switches"] == 2
    assert numbers["steal"] == 0.5
    assert set(numbers) <= set(CATALOGUE)


def test_a_kernel_that_does_not_count_steal_says_nothing_of_it():
    assert "steal" not in {m.metric for m in Witness(1, None).since(Witness(0, None))}


def test_a_steal_counter_that_goes_back_is_none_stolen():
    assert {m.metric: m.samples[0] for m in Witness(1, 1.0).since(Witness(0, 2.0))}["steal"] == 0
