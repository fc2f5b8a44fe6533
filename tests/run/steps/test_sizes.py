"""What a prepared file weighs: its bytes where a device stores them so, and the reason where none does."""

from prepared import INT8, deployment

from qbench.cases import Choice, Step
from qbench.records import find
from qbench.run.protocol import StepRequest, Trace
from qbench.run.steps.prepare import prepare

SIZES = ("file_size", "compressed_size")


def prepared(chain):
    spec = deployment(chain).artifact
    return prepare(StepRequest(Step("prepare", spec), ()), Trace())


def test_a_simulated_file_has_no_size_but_the_reason():
    found = prepared((*INT8, Choice("simulate")))
    assert not {one.metric for one in found.measurements} & set(SIZES)
    reasons = {one.metric: one.reason for one in found.withheld if one.metric in SIZES}
    assert set(reasons) == set(SIZES)
    assert all("simulated" in reason and "its 8-bit weights" in reason for reason in reasons.values())


def test_a_file_of_integers_has_both():
    found = prepared(INT8)
    whole, packed = (find(found, name).samples for name in SIZES)
    assert 0 < packed[0] < whole[0]
    assert not {one.metric for one in found.withheld} & set(SIZES)


def test_a_simulated_file_covers_nothing_and_says_so_instead_of_zero():
    names = {"covered_weights", "covered_float", "covered_macs"}
    found = prepared((*INT8, Choice("simulate")))
    assert not {one.metric for one in found.measurements} & names
    reasons = {one.metric: one.reason for one in found.withheld if one.metric in names}
    assert set(reasons) == names
    assert all("simulated" in reason for reason in reasons.values())
    assert find(found, "model_macs").samples[0] > 0
    assert {one.metric for one in prepared(INT8).measurements} >= names
