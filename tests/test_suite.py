"""Suites, hardware profiles and the TOML behind them."""

import pytest

from qbench.cases import SIMULATED, Choice
from qbench.errors import BadSuite, UnknownName
from qbench.hardware import load_profiles
from qbench.suite_file import load_suite
from qbench.sweep import expanded
from qbench.toml_file import names_of

GOOD = """
name = "mine"
about = "a test"
backends = ["fake"]
[[model]]
use = "net"
[[technique]]
name = "fp32"
role = "fp32"
chain = []
[[technique]]
name = "int8"
chain = [{ use = "static_int8" }]
[[scenario]]
batch = 1
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text, kind="suites", name="mine"):
        (tmp_path / kind).mkdir(exist_ok=True)
        (tmp_path / kind / f"{name}.toml").write_text(text)

    return write


def test_every_suite_that_is_shipped_can_be_read():
    for name in names_of("suites"):
        suite = load_suite(name)
        assert suite.name == name
        assert expanded(suite)


def test_every_hardware_profile_that_is_shipped_can_be_read():
    assert [profile.name for profile in load_profiles("all")] == sorted(names_of("hardware_profiles"))


def test_a_suite_is_named_by_name_or_path(write, tmp_path):
    write(GOOD)
    named = load_suite("mine")
    assert named.file == str(tmp_path / "suites" / "mine.toml")
    assert load_suite(named.file) == named


@pytest.mark.parametrize(("change", "words"), [
    (("about", "abuot"), r"unknown key 'abuot'\n  fix: did you mean 'about'"),
    (('batch = 1', 'btach = 1'), r"unknown key 'btach' in scenario\[1\]\n  fix: did you mean 'batch'"),
    (('name = "mine"', 'name = "mine"\nfile = "x"'), r"unknown key 'file'"),
    (('name = "mine"', 'name = "../mine"'), r"name = '../mine' cannot name a file of results"),
    (('about = "a test"', ""), r"about: .*missing\n  fix: add about there"),
    (('batch = 1', 'batch = "1"'), r"scenario.1.batch: .*found '1'"),
    (('batch = 1', 'batch = true'), r"scenario.1.batch"),
    (('batch = 1', 'batch = 1.0'), r"scenario.1.batch"),
    (('batch = 1', 'batch = 0'), r"batch = 0: all must be at least 1"),
    (('batch = 1', 'name = "singel"'), r"scenario.1.name: .*found 'singel'\n  fix: write one of 'single'"),
    (('role = "fp32"', ""), r"0 techniques have role fp32 \(none\)"),
    (('chain = [{ use = "static_int8" }]', 'role = "fp32"\nchain = []'), r"2 techniques have role fp32 \(fp32, int8\)"),  # noqa: E501
    (('name = "int8"', 'name = "fp32"'), r"technique: 'fp32' is there twice"),
    (('chain = [{ use = "static_int8" }]', "chain = []"), r"'int8' has chain = \[\]: it would be fp32"),
    (('["fake"]', '["fake", "fake"]'), r"backends: 'fake' is there twice"),
    (('batch = 1', 'batch = 1\n[[scenario]]\nbatch = 1'), r"scenario: 'single, batch 1' is there twice"),
    (('batch = 1', 'batch = 1\n[calibration]\nseeds = []'), r"no scenario or no calibration seed"),
    (('batch = 1', 'batch = 1\n[calibration]\nseeds = [1, 1]'), r"calibration.seeds: '1' is there twice"),
    (('batch = 1', 'batch = 1\n[[expect]]\ntechnique = "int8"\nreason = "r"\nstage = "chek"'), r"expect\[1\].stage.*'chek'\n  fix: did you mean 'check'"),  # noqa: E501
    (('batch = 1', 'batch = 1\n[[expect]]\ntechnique = "int8"\nreason = "r"\nbackend = "onnx"'), r"expect\[1\].backend.*'onnx'\n  fix: "),  # noqa: E501
    (('batch = 1', 'batch = 1\n[[expect]]\ntechnique = "in8"\nreason = "r"'), r"expect\[1\].*'in8'\n  fix: did you mean 'int8'"),  # noqa: E501
    (('"static_int8" }', '"static_int8", bits = [[8]] }'), r"technique 'int8', chain\[1\]: bits = \[8\] is no single value"),  # noqa: E501
    (("[[model]]", "[[model"), r"no TOML"),
])  # fmt: skip
def test_a_mistake_is_told_with_file_place_and_fix(write, change, words):
    assert change[0] in GOOD
    write(GOOD.replace(*change, 1))
    with pytest.raises(BadSuite, match=r"suites/mine\.toml(:| is) .*" + words) as told:
        load_suite("mine")
    assert "\n  fix: " in str(told.value)


def test_a_file_that_is_no_text_or_cannot_be_read(write, tmp_path):
    write("")
    (tmp_path / "suites" / "mine.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(BadSuite, match="is no TOML"):
        load_suite("mine")


def test_a_misspelt_device_is_answered_with_the_nearest(write):
    with pytest.raises(
        UnknownName, match=r"no hardware profile is called 'cuad'\n  fix: did you mean 'cuda'"
    ):
        load_profiles("cpu,cuad")
    with pytest.raises(UnknownName, match="names no device"):
        load_profiles(" , ")
    write('name = "x"\ntitle = "t"\ndevice = "cpu"\nbackends = "fake"\n', "hardware_profiles", "x")
    with pytest.raises(BadSuite, match=r"x\.toml: backends: .*found 'fake'"):
        load_profiles("x")


# --- one technique against another ----------------------------------------------------------------

TWIN = GOOD.replace(
    'chain = [{ use = "static_int8" }]',
    'simulated = true\nchain = [{ use = "static_int8", observer = ["minmax", "mse"] }]',
)


def test_a_technique_that_is_simulated_too_brings_a_twin_that_is_held_against_it(write):
    write(TWIN)
    twins = [one for one in expanded(load_suite("mine")) if one.name.endswith(SIMULATED)]
    assert [one.name for one in twins] == [f"int8 (observer={name}){SIMULATED}" for name in ("minmax", "mse")]
    for twin in twins:
        assert twin.chain[-1] == Choice("simulate")
        assert twin.against == twin.name.removesuffix(SIMULATED)
        assert not twin.timed


def test_what_a_technique_is_held_against_must_be_there(write):
    write(TWIN.replace("simulated = true", 'against = "int7 (observer=mse)"'))
    with pytest.raises(BadSuite, match=r"(?s)against = 'int7 \(observer=mse\)'.*did you mean 'int8 \(obs"):
        load_suite("mine")
