"""Names to plug-ins: found by scanning and by entry points, and never the end of the program."""

import subprocess
import sys
from pathlib import Path

import pytest

from qbench.errors import UnknownName
from qbench.registry import Registry, did_you_mean

ROOT = Path(__file__).parent.parent


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with a registry of its own; returns a function that adds a leaf, and the registry."""
    name = f"leaves_{abs(hash(tmp_path))}"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "base.py").write_text(
        f"from qbench.registry import Registry\nTHINGS = Registry('thing', '{name}')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    def add(leaf, body):
        (folder / f"{leaf}.py").write_text(f"from {name}.base import THINGS\n{body}\n")

    def things():
        return __import__(f"{name}.base", fromlist=["THINGS"]).THINGS

    return add, things


def test_leaves_are_found_by_themselves_in_alphabetical_order(package):
    add, things = package
    add("one", "THINGS.register('zebra')(1)\nTHINGS.register('ape')(2)")
    registry = things()
    assert list(registry) == ["ape", "zebra"]
    assert registry["ape"] == 2
    assert registry.name_of(1) == "zebra"
    assert "zebra" in registry
    assert "lion" not in registry


@pytest.mark.parametrize(
    "body", ["raise RuntimeError('broken')", "import no_such_module", "import sys; sys.exit(3)", "def ("]
)
def test_a_leaf_that_breaks_at_import_takes_nothing_else_down(package, body):
    add, things = package
    add("good", "THINGS.register('good')(1)")
    add("bad", body)
    registry = things()
    assert list(registry) == ["good"]
    assert set(registry.failures) == {"bad"}
    with pytest.raises(UnknownName, match=r"the thing 'bad' is here but cannot be loaded: \w+"):
        registry["bad"]


def test_two_of_a_name_are_a_failure_of_the_second(package):
    add, things = package
    add("a_first", "THINGS.register('same')(1)")
    add("b_second", "THINGS.register('same')(2)")
    registry = things()
    assert registry["same"] == 1
    assert "two plug-ins both register the thing 'same'" in registry.failures["b_second"]


def test_a_misspelt_name_is_answered_with_the_nearest_and_all():
    registry = Registry("technique", "qbench.strategies")
    registry._scanned = True
    registry.register("static_int8")(1)
    registry.register("bf16")(2)
    with pytest.raises(
        UnknownName,
        match=r"no technique is called 'static_int9'\n  fix: did you mean 'static_int8'\? known: bf16, static_int8",  # noqa: E501
    ):
        registry["static_int9"]


def test_the_words_of_a_fix():
    assert did_you_mean("x", []) == "known: none"
    assert did_you_mean("bf61", ["bf16", "int8"]) == "did you mean 'bf16'? known: bf16, int8"


def listing(*paths):
    done = subprocess.run(
        [sys.executable, "-m", "qbench", "list", "techniques"],
        env={"PYTHONPATH": ":".join(map(str, (*paths, ROOT))), "PATH": "/usr/bin:/bin", "COLUMNS": "200"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_strangers_package_is_found_by_its_entry_points_alone():
    assert "fake_int8" not in listing()
    told = listing(ROOT / "tests" / "plugins" / "faulty")
    assert "fake_int8" in told
    assert "collapsing_onnx" in told


def test_a_strangers_package_that_breaks_is_listed_with_its_reason(tmp_path):
    (tmp_path / "stranger.py").write_text("raise RuntimeError('made for another version')")
    info = tmp_path / "stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[qbench.strategies]\nstranger = stranger\n")
    told = listing(tmp_path)
    assert "cannot be loaded" in told
    assert "RuntimeError: made for another version" in told
    assert "static_int8" in told
