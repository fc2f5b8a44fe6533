"""The plan: what a suite becomes; a misspelt word is answered with file, place, value and nearest."""

from dataclasses import replace

import pytest

from qbench.errors import BadParameter, BadSuite, UnknownName
from qbench.hardware import load_profiles
from qbench.profile import PROFILES, profile_named
from qbench.run.plan import Selection, make_plan
from qbench.run.targets import reach
from qbench.suite_file import load_suite

INT8 = {"int8": '[{ use = "fake_int8" }]', "half": '[{ use = "fake_int8", speedup = 0.5 }]'}


def cells(plan):
    return [case.technique for case in plan.cells]


def test_filters_narrow_and_always_keep_the_float_baseline(inside):
    inside.suite("all", INT8)
    assert cells(inside.plan("all")) == ["fp32", "int8", "half"]
    assert cells(inside.plan("all", selection=Selection(techniques=("half",)))) == ["fp32", "half"]
    assert cells(inside.plan("all", selection=Selection(("fake_network",), ("int8",), ("fake",)))) == [
        "fp32",
        "int8",
    ]


@pytest.mark.parametrize(("selection", "words"), [
    (Selection(models=("fake_netwrk",)), "has no model 'fake_netwrk'\n  fix: did you mean 'fake_network'"),
    (Selection(techniques=("in8",)), "has no technique 'in8'\n  fix: did you mean 'int8'"),
    (Selection(backends=("fakee",)), "has no backend 'fakee'\n  fix: did you mean 'fake'"),
])  # fmt: skip
def test_a_filter_that_names_nothing_is_answered_with_the_nearest(inside, selection, words):
    inside.suite("all", INT8)
    with pytest.raises(BadSuite, match=words):
        inside.plan("all", selection=selection)


@pytest.mark.parametrize(("was", "becomes", "kind", "words"), [
    ("fake_int8", "fake_int9", UnknownName, r"technique 'int8', chain\[1\]: no technique is called 'fake_int9'\n.*'fake_int8'"),  # noqa: E501
    ("fake_network", "fake_netwrk", UnknownName, r"model\[1\]: no model is called 'fake_netwrk'\n.*'fake_network'"),  # noqa: E501
    ('"fake"', '"fakee"', UnknownName, r"backends: no backend is called 'fakee'\n.*'fake'"),
    ("speedup", "speedpu", BadParameter, r"technique 'half', chain\[1\]: technique fake_int8 has no parameter 'speedpu' \(given speedpu=0.5\)\n.*'speedup'"),  # noqa: E501
    ("0.5", "-0.5", BadParameter, r"technique 'half', chain\[1\]: .*speedup = -0.5 is not above 0\n.*speedup = 2.0"),  # noqa: E501
    ("0.5", '"0.5"', BadParameter, r"speedup='0.5' is no float"),
    ("scored", "scoerd", BadSuite, r"unknown key 'scoerd'\n.*'scored'"),
    ("chain = []", "chian = []", BadSuite, r"unknown key 'chian' in technique\[1\]\n.*'chain'"),
    ("scored = 200", 'scored = "200"', BadSuite, r"scored: .*integer, found '200'"),
    ("scored = 200", "scored = 0", BadSuite, r"scored = 0, .* must be at least 1"),
    ('role = "fp32"', 'role = "fp23"', BadSuite, r"technique.1.role: .*found 'fp23'\n.*'fp32'"),
    ("0.5", "nan", BadSuite, r"technique 'half', chain\[1\]: speedup = nan is no single value"),
    ("0.5", "[]", BadSuite, r"technique 'half', chain\[1\].speedup = \[\]"),
    ("0.5", "1979-05-27", BadParameter, "speedup='1979-05-27' is no float"),
    ('use = "fake_int8", speedup', 'us = "fake_int8", speedup', BadSuite, r"technique 'half', chain\[1\] has no `use`"),  # noqa: E501
])  # fmt: skip
def test_a_mistake_is_told_with_file_place_value_and_what_would_work(inside, was, becomes, kind, words):
    path = inside.suite("wrong", INT8)
    text = path.read_text()
    assert was in text
    path.write_text(text.replace(was, becomes, 1 if was != "speedup" else -1))
    with pytest.raises(kind, match=r"(?s)wrong\.toml.*" + words) as told:
        inside.plan("wrong")
    assert "\n  fix: " in str(told.value)


def test_a_suite_that_is_not_there_and_a_profile_that_is_none(inside):
    inside.suite("all", INT8)
    with pytest.raises(UnknownName, match=r"no suite is called 'al'\n  fix: did you mean 'all'"):
        inside.plan("al")
    with pytest.raises(UnknownName, match=r"no profile is called 'quik'\n  fix: did you mean 'quick'"):
        profile_named("quik")


def test_the_users_own_folder_is_searched_first(inside):
    inside.suite("smoke", INT8)
    assert cells(inside.plan("smoke")) == ["fp32", "int8", "half"]


def test_a_device_that_offers_no_engine_of_the_suite_is_told_and_no_empty_run(inside):
    inside.suite("all", INT8)
    profile = inside.root / "hardware_profiles" / "testbed.toml"
    profile.write_text(profile.read_text().replace('["fake", "onnxruntime"]', '["onnxruntime"]'))
    with pytest.raises(
        BadSuite,
        match="nothing to measure: .*all.toml has 1 models and asks for fake; testbed offers onnxruntime",
    ):
        inside.plan("all")
    profile.write_text(profile.read_text().replace('["onnxruntime"]', '["onnxrutime"]'))
    with pytest.raises(
        UnknownName, match=r"hardware profile testbed: backends: .*'onnxrutime'\n.*'onnxruntime'"
    ):
        inside.plan("all")


def test_a_list_is_a_sweep_and_its_values_join_the_name(inside):
    chain = '[{ use = "fake_int8", speedup = [1, 2.0] }, { use = "fake_simulated" }]'
    inside.suite("sweep", {"s": chain} | {"twice": '[{ use = "fake_int8", speedup = [3, 4] }]'})
    plan = inside.plan("sweep")
    assert cells(plan) == [
        "fp32",
        "s (speedup=1)",
        "s (speedup=2.0)",
        "twice (speedup=3)",
        "twice (speedup=4)",
    ]
    assert len({case.deployment.artifact for case in plan.cells}) == 5


def test_further_calibration_seeds_are_scored_in_standard_and_rigorous_runs_only(inside):
    techniques = {"calibrated": '[{ use = "fake_calibrated" }]', "plain": '[{ use = "fake_int8" }]'}
    inside.suite("seeds", techniques, more="[calibration]\ncount = 50\nseeds = [3, 4, 5]\n")
    for name, further in {"quick": 0, "gate": 0, "standard": 2, "rigorous": 2}.items():
        plan = inside.plan("seeds", PROFILES[name])
        scored = [case for case in plan.cells if case.scenario.name == "scored"]
        assert [case.technique for case in scored] == [f"calibrated, calibration seed {s}" for s in (4, 5)][
            :further
        ]
        assert (
            {case.deployment.artifact.calibration.seed for case in scored} == {4, 5}
            if further
            else scored == []
        )
        assert [c.technique for group in plan.groups.values() for c in group] == [
            "fp32",
            "calibrated",
            "plain",
        ]
    first = next(case for case in plan.cells if case.technique == "calibrated")
    assert first.deployment.artifact.calibration.count == 50


def test_an_expected_collapse_covers_its_further_seeds(inside):
    more = '[calibration]\nseeds = [0, 1]\n[[expect]]\ntechnique = "calibrated"\nreason = "known"\n'
    inside.suite("known", {"calibrated": '[{ use = "fake_calibrated" }]'} | INT8, more=more)
    plan = inside.plan("known", PROFILES["standard"])
    assert [case.technique for case in plan.cells if plan.expected(case)] == [
        "calibrated",
        "calibrated, calibration seed 1",
    ]


def test_the_estimate_grows_with_the_work(inside):
    inside.suite("all", INT8)
    quick, standard = (inside.plan("all", PROFILES[name]).estimate_s for name in ("quick", "standard"))
    assert 0 < quick < standard


def test_a_plan_starts_nothing_and_names_cells_by_content(inside):
    inside.suite("all", INT8)
    first, second = inside.plan("all"), inside.plan("all")
    assert first == second
    assert not (inside.cache / "artifacts").exists()
    assert not (inside.root / "results").exists()


def test_one_thread_in_the_gates_profile(inside):
    inside.suite("all", INT8)
    assert {case.deployment.threads for case in inside.plan("all", PROFILES["gate"]).cells} == {1}


@pytest.mark.usefixtures("inside")
def test_a_rigorous_run_compiles_every_package_three_times():
    """On the real way to a package: the compiling hop alone differs, so that all before it is shared."""
    suite = replace(load_suite("vision"), backends=["onnxruntime", "aot_inductor"])
    reached = reach(load_profiles("cpu"), suite.backends)
    narrow = Selection(models=("resnet-glyphs",), techniques=("pt2e int8",))
    if any(target.probes["aot_inductor"].absent for target in reached.targets):
        pytest.skip("there is no compiler here")
    plan = make_plan(suite, PROFILES["rigorous"], reached, narrow)
    one = [case for case in plan.cells if case.scenario.batch == 1 and case.scenario.name == "single"]
    told = [(case.technique, case.role) for case in one if case.deployment.backend == "aot_inductor"]
    assert told == [
        ("fp32", "fp32"), ("fp32, build 1", "float"), ("fp32, build 2", "float"),
        ("pt2e int8", "technique"), ("pt2e int8, build 1", "technique"), ("pt2e int8, build 2", "technique"),
    ]  # fmt: skip
    assert not any("build" in case.technique for case in one if case.deployment.backend == "onnxruntime")
    packages = [case for case in one if case.deployment.backend == "aot_inductor"]
    ways = {case.technique: case.deployment.artifact.way for case in packages}
    assert ways["fp32"][:-1] == ways["fp32, build 1"][:-1]
    assert ways["fp32"][-1] != ways["fp32, build 1"][-1]
    standard = make_plan(suite, PROFILES["standard"], reached, narrow)
    assert not any("build" in case.technique for case in standard.cells)
