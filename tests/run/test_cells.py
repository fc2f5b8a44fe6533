"""What a suite's rankings, scenarios and devices come to: which cells there are, and which are left out."""

import numpy as np
import pytest
from workplace import TESTBED

from qbench.backends.base import BACKENDS
from qbench.cases import SEED
from qbench.errors import BadParameter, BadSuite
from qbench.machine import Machine
from qbench.profile import PROFILES
from qbench.report.select import select
from qbench.run import agenda
from qbench.run import cells as matrix
from qbench.run.cells import cores
from qbench.run.plan import Selection

TWO = {"int8": '[{ use = "fake_int8" }]', "half": '[{ use = "fake_int8", speedup = 0.5 }]'}
QUICK, STANDARD, RIGOROUS = (PROFILES[name] for name in ("quick", "standard", "rigorous"))


def told(plan):
    """Return the cells as (technique, scenario, batch, threads, streams)."""
    return [
        (c.technique, c.scenario.name, c.scenario.batch, c.deployment.threads, c.deployment.streams)
        for c in plan.cells
    ]


def ranked(place, *, technique=1, scenario=1):
    path = place.suite("ranked", {"int8": f'[{{ use = "fake_int8" }}]\npriority = {technique}'})
    path.write_text(path.read_text().replace("batch = 1\n", f"batch = 1\npriority = {scenario}\n"))


@pytest.mark.parametrize(
    ("technique", "scenario", "quick", "standard", "rigorous"),
    [(1, 1, 2, 2, 2), (2, 1, 1, 2, 2), (1, 2, 0, 2, 2), (3, 1, 1, 1, 2), (2, 3, 0, 0, 2)],
)
def test_a_profile_measures_what_is_ranked_within_it(inside, technique, scenario, quick, standard, rigorous):
    ranked(inside, technique=technique, scenario=scenario)
    for profile, cells in ((QUICK, quick), (STANDARD, standard), (RIGOROUS, rigorous)):
        if not cells:
            with pytest.raises(
                BadSuite, match=f"ranks nothing within the profile {profile.name}.*\n.*standard"
            ):
                inside.plan("ranked", profile)
            continue
        plan = inside.plan("ranked", profile)
        assert len(plan.cells) == cells
        assert plan.left_out == 2 - cells


def test_what_is_not_to_be_timed_is_scored_and_its_baseline_is_timed(inside):
    inside.suite("some", {"int8": '[{ use = "fake_int8" }]\ntimed = false'})
    assert told(inside.plan("some", QUICK)) == [
        ("fp32", "single", 1, cores(), 1),
        ("int8", "scored", 1, cores(), 1),
    ]


def test_a_scenario_may_ask_for_some_models_and_techniques_and_always_gets_the_baseline(inside):
    more = '[[scenario]]\nbatch = 8\ntechniques = ["half"]\n'
    inside.suite("some", TWO, more=more)
    assert [cell[:3] for cell in told(inside.plan("some", QUICK)) if cell[2] == 8] == [
        ("fp32", "single", 8),
        ("half", "single", 8),
    ]


def test_a_baseline_that_nothing_is_compared_with_is_left_out_where_techniques_are_named(inside):
    more = '[[scenario]]\nbatch = 8\ntechniques = ["half"]\n'
    inside.suite("some", TWO | {"half": f"{TWO['half']}\npriority = 2"}, more=more)
    assert [cell[2] for cell in told(inside.plan("some", QUICK))] == [1, 1]
    assert [cell[2] for cell in told(inside.plan("some", STANDARD))] == [1, 8, 1, 1, 8]


def test_a_technique_may_be_for_some_models_only(inside):
    path = inside.suite("some", {"int8": '[{ use = "fake_int8" }]\nmodels = ["fake_network"]'})
    assert len(inside.plan("some", QUICK).cells) == 2
    path.write_text(path.read_text().replace('models = ["fake_network"]', 'models = ["fake_netwrk"]'))
    with pytest.raises(BadSuite, match=r"technique 'int8'.models: .*'fake_netwrk'\n.*'fake_network'"):
        inside.plan("some", QUICK)


def test_a_technique_and_a_scenario_may_be_for_some_engines_only(inside):
    only = 'backends = ["torch_eager"]'
    techniques = {"int8": f'[{{ use = "fake_int8" }}]\n{only}', "half": TWO["half"]}
    path = inside.suite("some", techniques, more=f"[[scenario]]\nbatch = 8\n{only}\n")
    path.write_text(path.read_text().replace('backends = ["fake"]', 'backends = ["fake", "torch_eager"]'))
    assert [cell[:3] for cell in told(inside.plan("some", QUICK))] == [
        ("fp32", "single", 1),
        ("half", "single", 1),
    ]
    path.write_text(path.read_text().replace(only, 'backends = ["fake"]'))
    assert [cell[:3:2] for cell in told(inside.plan("some", QUICK))] == [
        ("fp32", 1), ("fp32", 8), ("int8", 1), ("int8", 8), ("half", 1), ("half", 8),
    ]  # fmt: skip
    path.write_text(path.read_text().replace('}]\nbackends = ["fake"]', '}]\nbackends = ["fak"]'))
    with pytest.raises(BadSuite, match=r"technique 'int8'.backends: .*'fak'\n.*'fake'"):
        inside.plan("some", QUICK)


def test_a_saturated_scenario_has_a_stream_for_every_thread(inside):
    inside.suite("full", {}, more='[[scenario]]\nname = "saturated"\nbatch = 4\n')
    assert told(inside.plan("full", QUICK))[1] == ("fp32", "saturated", 4, cores(), cores())


def test_more_threads_than_there_are_is_a_skip_with_its_reason(inside):
    inside.suite("wide", {}, more="[[scenario]]\nbatch = 1\nthreads = 4096\n")
    plan = inside.plan("wide", QUICK)
    assert [skip.reason for skip in plan.skips] == [
        f"the suite asks for 4096 threads, and there are {cores()} here"
    ]
    assert len(plan.cells) == 1


def test_a_scenario_that_is_too_wide_hides_none_that_stands_behind_it(inside):
    more = "[[scenario]]\nbatch = 1\nthreads = 4096\n[[scenario]]\nbatch = 8\n"
    inside.suite("wide-first", {}, more=more)
    plan = inside.plan("wide-first", QUICK)
    assert [case.scenario.batch for case in plan.cells] == [1, 8]
    assert len(plan.skips) == 1


def test_a_cap_that_an_engine_or_a_processor_cannot_keep_is_a_skip(inside, monkeypatch):
    capped = '[[scenario]]\nbatch = 1\nisa = "avx2"\n'
    inside.suite("capped", {"int8": '[{ use = "fake_int8" }]'}, more=capped)
    plan = inside.plan("capped", QUICK)
    assert {skip.reason for skip in plan.skips} == {
        "fake has no switch that caps its vector instructions at avx2"
    }
    monkeypatch.setattr(BACKENDS["fake"], "caps", {"avx2": {"FAKE_ISA": "AVX2"}})
    monkeypatch.setattr(matrix, "machine", lambda: Machine("x86_64", "Linux", frozenset({"avx2"})))
    plan = inside.plan("capped", QUICK)
    assert {skip.reason for skip in plan.skips} == {
        "this processor has no avx512f: there is nothing to cap at avx2"
    }
    monkeypatch.setattr(matrix, "machine", lambda: Machine("x86_64", "Linux", frozenset({"avx512f"})))
    plan = inside.plan("capped", QUICK)
    assert [(case.technique, case.deployment.isa) for case in plan.cells] == [
        ("fp32", ""), ("fp32", "avx2"), ("int8", ""), ("int8", "avx2"),
    ]  # fmt: skip
    order = [step.subject.deployment.isa for step in agenda.once(plan) if step.kind == "score"]
    assert order == ["", "", "avx2", "avx2"]  # what a capped cell is compared with comes first


@pytest.mark.parametrize(("was", "becomes", "words"), [
    ('techniques = ["half"]', 'isa = "avx3"', r"scenario\[2\]: isa = 'avx3'\n.*'avx2'"),
    ('techniques = ["half"]', 'techniques = ["haf"]', r"scenario\[2\].techniques: .*'haf'\n.*'half'"),
    ('techniques = ["half"]', 'models = ["fake_netwrk"]', r"scenario\[2\].models: .*\n.*'fake_network'"),
    ('techniques = ["half"]', 'backends = ["fak"]', r"scenario\[2\].backends: .*'fak'\n.*'fake'"),
    ('techniques = ["half"]', "threads = -1", r"scenario\[2\]: threads = -1"),
    ('techniques = ["half"]', "priority = 0", r"priority = 0\n.*priority = 1"),
])  # fmt: skip
def test_a_wrong_word_in_a_scenario_is_told(inside, was, becomes, words):
    more = '[[scenario]]\nbatch = 8\ntechniques = ["half"]\n'.replace(was, becomes)
    inside.suite("wrong", TWO, more=more)
    with pytest.raises(BadSuite, match=r"(?s)wrong\.toml.*" + words):
        inside.plan("wrong")


def test_a_further_seed_is_held_against_the_same_seed_of_the_other(inside):
    techniques = {"rtn": '[{ use = "static_int8" }]', "qat": '[{ use = "qat" }]\nagainst = "rtn"'}
    seeds = "[calibration]\nseeds = [0, 1, 7]\n"
    inside.suite("seeds", techniques, model="resnet-digits", backend="onnxruntime", more=seeds)
    plan = inside.plan("seeds", RIGOROUS)
    assert {case.technique: case.against for case in plan.cells} == {
        "fp32": "",
        "rtn": "", f"rtn{SEED}1": "", f"rtn{SEED}7": "",
        "qat": "rtn", f"qat{SEED}1": f"rtn{SEED}1", f"qat{SEED}7": f"rtn{SEED}7",
    }  # fmt: skip


# --- a budget -----------------------------------------------------------------------------------------


def budget(place, seconds, name="all"):
    return place.plan(name, QUICK, selection=Selection(budget_s=seconds))


def test_a_run_of_floats_alone_needs_no_technique_to_fit(inside):
    inside.suite("floats", {})
    assert len(budget(inside, 3600.0, "floats").cells) == 1


def test_a_budget_that_is_large_enough_drops_nothing(inside):
    inside.suite("all", TWO)
    whole = inside.plan("all", QUICK)
    assert budget(inside, whole.estimate_s).cells == whole.cells


def test_the_lowest_ranked_is_dropped_first_then_what_stands_last_and_the_baseline_stays(inside):
    inside.suite("all", {"low": '[{ use = "fake_int8", speedup = 3 }]\npriority = 1'} | TWO)
    path = inside.root / "suites" / "all.toml"
    text = path.read_text().replace("priority = 1\n", "")
    path.write_text(text.replace('name = "low"\n', 'name = "low"\npriority = 2\n'))
    whole = inside.plan("all", STANDARD)
    assert [case.technique for case in whole.cells] == ["fp32", "low", "int8", "half"]

    def at(seconds):
        return inside.plan("all", STANDARD, selection=Selection(budget_s=seconds))

    smaller = at(whole.estimate_s - 1)
    assert [case.technique for case in smaller.cells] == ["fp32", "int8", "half"]
    assert [skip.reason for skip in smaller.skips] == [
        f"dropped to stay within --budget {(whole.estimate_s - 1) / 60:g}m (priority 2 in the suite)"
    ]
    least = at(smaller.estimate_s - 1)
    assert [case.technique for case in least.cells] == ["fp32", "int8"]
    assert least.estimate_s <= smaller.estimate_s - 1


def test_a_baseline_goes_with_the_last_that_was_compared_with_it(inside):
    """Batch 8 of fp32 tells nothing where int8 at batch 8 was dropped."""
    more = '[[scenario]]\nbatch = 8\ntechniques = ["int8"]\npriority = 2\n'
    inside.suite("all", {"int8": '[{ use = "fake_int8" }]'}, more=more)
    whole = inside.plan("all", STANDARD)
    assert [(c.technique, c.scenario.batch) for c in whole.cells] == [
        ("fp32", 1), ("fp32", 8), ("int8", 1), ("int8", 8),
    ]  # fmt: skip
    less = inside.plan("all", STANDARD, selection=Selection(budget_s=whole.estimate_s - 1))
    assert [(c.technique, c.scenario.batch) for c in less.cells] in (
        [("fp32", 1), ("int8", 1)],
        [("fp32", 1), ("fp32", 8), ("int8", 1)][:2] + [("int8", 1)],
    )
    smaller = inside.plan("all", STANDARD, selection=Selection(budget_s=less.estimate_s - 1))
    assert [(c.technique, c.scenario.batch) for c in smaller.cells] == [("fp32", 1), ("int8", 1)]


def test_a_budget_that_nothing_fits_into_says_what_would(inside):
    inside.suite("all", TWO)
    with pytest.raises(BadParameter, match=r"--budget 1s: nothing fits; .*\n.*write --budget 1m"):
        budget(inside, 1.0)
    assert len(budget(inside, 60.0).cells) >= 2


# --- hardware that is not here ------------------------------------------------------------------------


ELSEWHERE = """
name = "elsewhere"
title = "a device of another kind"
device = "cpu"
backends = ["fake"]
[recognise]
architecture = "pdp11"
"""


def test_hardware_that_is_not_here_has_one_line_with_its_reason(inside):
    inside.suite("all", TWO)
    (inside.root / "hardware_profiles" / "elsewhere.toml").write_text(ELSEWHERE)
    plan = inside.plan("all", QUICK, hardware="testbed,elsewhere")
    assert [(one.hardware.name, one.reason) for one in plan.missing] == [
        ("elsewhere", plan.missing[0].reason)
    ]
    assert "pdp11" in plan.missing[0].reason
    assert len(plan.cells) == 3


def test_what_is_chosen_by_this_processors_times_is_not_for_an_emulated_one(inside):
    techniques = {
        "time": '[{ use = "adaptive", budget = "latency", limit = 0.5 }]',
        "bytes": '[{ use = "adaptive" }]',
    }
    counted = '[[scenario]]\nname = "counted"\nbatch = 1\n'
    inside.suite("chosen", techniques, model="resnet-digits", backend="onnxruntime", more=counted)
    emulated = TESTBED.replace('"testbed"', '"lesser"') + "emulated = true\n"
    (inside.root / "hardware_profiles" / "lesser.toml").write_text(emulated)
    plan = inside.plan("chosen", QUICK, hardware="testbed,lesser")
    placed = [(case.technique, case.deployment.hardware) for case in plan.cells]
    assert placed == [
        ("fp32", "testbed"), ("time", "testbed"), ("bytes", "testbed"),
        ("fp32", "lesser"), ("bytes", "lesser"),
    ]  # fmt: skip
    (skip,) = plan.skips
    assert (skip.case.technique, skip.case.deployment.hardware) == ("time", "lesser")
    assert "say nothing of lesser: it is emulated here (fix: choose by what is no time" in skip.reason
    assert 'budget = "bytes"' in skip.reason


@pytest.mark.parametrize(
    ("hardware", "stage", "failures"),
    [
        ("*", "proof of kernel", 0),
        ("testbed", "proof of kernel", 0),
        ("elsewhere", "proof of kernel", 1),
        ("*", "load", 1),  # another failure than the one that is known
        ("*", "", 1),  # a collapse is expected, and it failed
    ],
)
def test_only_the_failure_that_a_suite_expects_is_not_counted(inside, hardware, stage, failures):
    expected = (
        f'[[expect]]\ntechnique = "pretends"\nreason = "known"\nhardware = "{hardware}"\nstage = "{stage}"\n'
    )
    inside.suite("known", {"pretends": '[{ use = "fake_float_kernels" }]'}, more=expected)
    finished = inside.execute("known")
    assert len(finished.tally.failed) == failures
    assert [record.step.kind for record in finished.run.records if record.outcome.kind == "failed"] == [
        "score"
    ]
    (broken,) = [cell for cell in select(finished.run) if cell.status == "failed"]
    assert ("(the suite expects this: known)" in broken.reasons[0].text) == (failures == 0)


# --- examples ---------------------------------------------------------------------------------------


def learning(place, **model):
    """Return the plan of a suite whose techniques learn and choose; its counts are 30 and 20."""
    path = place.suite(
        "learning",
        {
            "qat": '[{ use = "qat" }]',
            "adaptive": '[{ use = "adaptive", budget = "accuracy", limit = 0.01 }]',
            "int8": '[{ use = "static_int8" }]',
        },
        backend="onnxruntime",
        **model,
    )
    text = path.read_text().replace("scored = 200\n", "scored = 200\ntraining = 30\nselection = 20\n")
    path.write_text(text)
    plan = place.plan("learning", QUICK)
    return plan, {c.technique: c.deployment.artifact.way[-1] for c in plan.cells if c.role != "fp32"}


def test_what_a_technique_learns_from_and_chooses_by_is_counted_by_the_suite(inside):
    plan, hops = learning(inside, model="resnet-digits")
    told = {name: [(s.split, s.count, s.seed is None) for s in hop.data] for name, hop in hops.items()}
    assert told == {
        "qat": [("calibration", 200, False), ("train", 30, True)],
        "adaptive": [("calibration", 200, False), ("selection", 20, True)],
        "int8": [("calibration", 200, False)],
    }


def test_a_file_that_no_data_decides_has_no_further_seeds(inside):
    techniques = {
        "fp8": '[{ use = "number_format" }]',
        "nf4": '[{ use = "number_format", format = "nf4" }]',
        "w4": '[{ use = "ptq", weight_bits = 4, activation_bits = 32 }]',
    }
    more = "[calibration]\nseeds = [0, 1]\n"
    inside.suite("alone", techniques, model="resnet-digits", backend="onnxruntime", more=more)
    seeded = [c.technique for c in inside.plan("alone", RIGOROUS).cells if "seed" in c.technique]
    assert seeded == ["fp8, calibration seed 1"]


def test_the_examples_of_every_hop_are_rendered_first(inside):
    plan, hops = learning(inside, model="resnet-digits")
    steps = agenda.once(plan)
    data = [step.subject for step in steps if step.kind == "data"]
    assert sorted(spec.split for spec in data) == ["calibration", "selection", "test", "train"]
    assert {spec for hop in hops.values() for spec in hop.data} < set(data)
    assert [step.kind for step in steps[:4]] == ["data"] * 4


def test_more_than_the_split_has_is_cut(inside):
    path = inside.suite("all", {"qat": '[{ use = "qat" }]'}, model="resnet-digits", backend="onnxruntime")
    (cell,) = [c for c in inside.plan("all", QUICK).cells if c.technique == "qat"]
    assert path.is_file()
    assert cell.deployment.artifact.way[-1].training.count == 997  # ten thousand are asked for


def test_calibration_stands_in_where_a_task_has_no_such_split(inside):
    import onnx
    from onnx import helper, numpy_helper

    ends = [helper.make_tensor_value_info(n, 1, ["n", size]) for n, size in (("x", 4), ("y", 3))]
    weight = numpy_helper.from_array(np.ones((4, 3), "f4"), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [weight]
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), inside.root / "net.onnx")
    np.savez(inside.root / "x.npz", x=np.ones((40, 4), "f4"))
    named = 'net.onnx"\ntask = { use = "agreement", inputs = "x.npz" }\n#"'
    plan, hops = learning(inside, model=named)
    assert not plan.skips
    for name, place in (("qat", "training"), ("adaptive", "selection")):
        hop = hops[name]
        assert getattr(hop, place) == hop.calibration
        assert hop.calibration.split == "calibration"
        assert hop.calibration.count == 10
    data = [step.subject for step in agenda.once(plan) if step.kind == "data"]
    assert sorted(spec.split for spec in data) == ["calibration", "calibration", "test"]
    (source,) = {case.deployment.artifact.way[0] for case in plan.cells}
    assert source.checked in data  # a file is asked about its owner's samples, the same for every seed
    assert (source.checked.count, source.checked.seed) == (8, None)


@pytest.mark.parametrize("count", ["training", "selection"])
def test_a_count_below_one_is_refused(inside, count):
    path = inside.suite("none", {"int8": '[{ use = "fake_int8" }]'})
    path.write_text(path.read_text().replace("scored = 200\n", f"scored = 200\n{count} = 0\n"))
    with pytest.raises(BadSuite, match=f"{count} = 0.* all must be at least 1"):
        inside.plan("none", QUICK)
