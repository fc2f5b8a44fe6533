"""The commands that measure nothing: they answer a stranger, and a mistake is met with its fix."""

import io
import re
import subprocess
import sys

import pytest
from rich.console import Console

from qbench import __version__, doctor
from qbench.doctor import examine, findings
from qbench.errors import BadFile, UnknownName
from qbench.machine import machine
from qbench.models.base import MODELS
from qbench.models.builtin import ZooModel
from qbench.show import show_list


def qbench(*words, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "qbench", *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
        timeout=120,
    )


def said(show, *arguments):
    """What a function prints on a terminal of 120 columns."""
    console = Console(width=120, file=io.StringIO())
    result = show(*arguments, console)
    return console.file.getvalue(), result


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("suites", "vision"),
        ("models", "resnet-glyphs"),
        ("techniques", "observer=minmax"),
        ("backends", "runs onnx"),
        ("tasks", "image_classification"),
        ("data", "10,000"),
        ("profiles", "rigorous"),
        ("metrics", "Kullback-Leibler"),
    ],
)
def test_every_kind_of_thing_can_be_listed(kind, words):
    text, _ = said(show_list, kind)
    assert words in text


def test_hardware_has_the_flags_name_too():
    assert said(show_list, "hw")[0] == said(show_list, "hardware")[0]


def test_a_kind_that_is_none_is_answered_with_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'techniques'"):
        said(show_list, "technique")


def test_the_help_names_every_command():
    done = qbench("--help")
    assert done.returncode == 0
    for command in ("run", "try", "plan", "list", "doctor", "report"):
        assert f" {command} " in done.stdout


def test_a_flag_that_is_none_is_wrong_usage():
    done = qbench("run", "--sweet", "vision")
    assert done.returncode == 2
    assert "--sweet" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_report_of_nothing_says_what_to_run_first(tmp_path):
    done = qbench("report", cwd=tmp_path)
    assert done.returncode == 2
    assert "there are no results in results" in done.stderr
    assert "qbench run --suite vision" in done.stderr


@pytest.mark.parametrize(
    ("limit", "words"), [("10", "no number with a unit"), ("10 lightyears", "no unit of it")]
)
def test_a_limit_without_a_unit_is_refused_before_anything_runs(limit, words, tmp_path):
    done = qbench("run", "--suite", "smoke", "--time-limit", limit, cwd=tmp_path)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())
    assert not (tmp_path / "results").exists()


def test_doctor_finds_nothing_wrong_where_nothing_is():
    text, problems = said(examine)
    assert problems == 0, text
    assert "ready to measure" in text


def test_doctor_says_that_an_engine_is_installed_twice(monkeypatch):
    class Named:
        def __init__(self, name):
            self.metadata = {"Name": name}

    both = [Named("onnxruntime"), Named("onnxruntime-gpu")]
    monkeypatch.setattr(doctor, "distributions", lambda: both)
    (found,) = [finding for finding in findings() if finding.what == "onnxruntime"]
    assert found.level == "problem"
    assert "pip uninstall" in found.fix


def test_doctor_names_a_missing_weight_file_and_how_to_get_it_back(monkeypatch):
    def gone(self):
        raise BadFile(f"the weights of {self.name} are gone", fix="restore them")

    monkeypatch.setattr(ZooModel, "content", gone)
    text, problems = said(examine)
    assert problems == len([name for name in MODELS if isinstance(MODELS[name], ZooModel)])
    assert "the weights of resnet-glyphs are gone" in text
    assert "fix: restore them" in text


def test_doctor_notes_a_cache_that_cannot_be_written(monkeypatch):
    monkeypatch.setenv("QBENCH_CACHE", "/proc/qbench")
    found = [finding for finding in findings() if finding.what == "cache"]
    assert [finding.level for finding in found] == ["problem"]
    assert "QBENCH_CACHE" in found[0].fix


def test_the_version_is_told():
    done = qbench("--version")
    assert (done.returncode, done.stdout) == (0, f"qbench {__version__}\n")


def test_a_plan_tells_capped_cells_apart_and_a_narrowed_one_is_short_on_what_is_elsewhere():
    done = qbench("plan", "--suite", "processor", "-b", "openvino")
    assert done.returncode == 0, done.stderr
    if "avx512f" in machine().features:  # else there is nothing that the cap takes away
        assert re.search(r"thr, avx2\b", done.stdout)
    assert "`qbench list hardware` says why" in done.stdout
    assert "raspberry-pi" not in done.stdout
