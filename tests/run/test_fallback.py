"""A technique that waits for others: only where none of them holds, and the same after a stop."""

from io import StringIO

import pytest
from rich.console import Console
from workplace import SPEEDY, Nobody, of

from qbench.errors import BadSuite
from qbench.records import Measured, Measurement, Skipped, Verdict
from qbench.run.fallback import holds
from qbench.show import show_plan
from qbench.suite_file import load_suite

AFTER = '\n[[technique]]\nname = "saved"\nafter = {after}\nchain = [{{ use = "fake_calibrated" }}]\n'


def waiting(place, name, techniques, after):
    place.suite(name, techniques, more=AFTER.format(after=after))
    watcher = Nobody()
    return place.execute(name, SPEEDY, watcher=watcher).run, watcher


def kinds(watcher, technique):
    return [step.kind for step in watcher.ran if getattr(step.subject, "technique", "") == technique]


def plan_of(run, technique):
    return run.latest()[of(run, "plan", technique)[-1].step.key][0].outcome


def test_it_is_left_out_where_one_of_the_others_holds(inside):
    techniques = {"int8": '[{ use = "fake_slow", sleep_s = 0.0 }]', "collapse": '[{ use = "fake_collapse" }]'}
    run, watcher = waiting(inside, "calm", techniques, '["collapse", "int8"]')
    assert kinds(watcher, "saved") == []
    assert plan_of(run, "saved") == Skipped(
        "not needed: int8 is within its limit by its best estimate on fake"
    )
    assert len(watcher.plan) == len(watcher.heard)


def test_it_runs_where_all_of_the_others_collapse_or_fail(inside):
    techniques = {"raises": '[{ use = "fake_raises" }]', "collapse": '[{ use = "fake_collapse" }]'}
    run, watcher = waiting(inside, "lost", techniques, '["collapse", "raises"]')
    assert set(kinds(watcher, "saved")) >= {"score", "time"}
    assert isinstance(plan_of(run, "saved"), Measured)
    order = [(step.kind, getattr(step.subject, "technique", "")) for step in watcher.ran]
    assert order.index(("score", "collapse")) < order.index(("score", "saved"))


def test_a_stop_in_between_changes_nothing(inside):
    run, _ = waiting(inside, "twice", {"int8": '[{ use = "fake_slow", sleep_s = 0.0 }]'}, '["int8"]')
    again = inside.execute("twice", SPEEDY, resume=True).run
    assert plan_of(again, "saved") == Skipped(
        "not needed: int8 is within its limit by its best estimate on fake"
    )
    assert len(again.records) == len(run.records)


def test_a_plan_tells_what_runs_only_if_needed_and_does_not_count_it(inside):
    one = {"int8": '[{ use = "fake_slow", sleep_s = 0.0 }]'}
    inside.suite("alone", one)
    inside.suite("with", one, more=AFTER.format(after='["int8"]'))
    alone, waits = inside.plan("alone"), inside.plan("with")
    assert waits.estimate_s == pytest.approx(alone.estimate_s)
    assert alone.if_needed_s == 0 < waits.if_needed_s
    told = Console(width=160, record=True, file=StringIO())
    show_plan(waits, told)
    text = told.export_text()
    assert "only if needed" in text
    assert "more if they are needed" in text


@pytest.mark.parametrize(("after", "said"), [
    ('["nothing"]', "there is no such technique"),
    ('["saved"]', "comes later"),
])  # fmt: skip
def test_what_it_waits_for_must_stand_above_it(inside, after, said):
    inside.suite("astray", {"int8": '[{ use = "fake_slow", sleep_s = 0.0 }]'}, more=AFTER.format(after=after))
    with pytest.raises(BadSuite, match=said):
        load_suite("astray")


def scored(right, of=200, **more):
    return Measured((Measurement("correct", (1.0,) * right + (0.0,) * (of - right)),), **more)


def test_what_holds_by_labels():
    base = scored(180)
    assert holds(scored(180), base)
    assert holds(scored(178), base)  # 1 % of 200 examples cannot be told from nothing
    assert not holds(scored(150), base)
    assert not holds(scored(180, verdicts=(Verdict("collapsed", "dead"),)), base)
    assert not holds(None, base)


def test_what_holds_without_labels():
    def said(*answers):
        return Measured((Measurement("prediction", tuple(map(float, answers))),))

    assert holds(said(*range(100)), said(*range(100)))
    assert holds(said(*range(99), 0), said(*range(100)))
    assert not holds(said(*range(97), 0, 0, 0), said(*range(100)))
