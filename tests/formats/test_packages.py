"""Compiling packages: what is baked in, what is left behind, and what is said where it cannot be done."""

import os
import subprocess
import sys

import numpy as np
import pytest

from qbench.backends.base import BACKENDS, Placement
from qbench.errors import NotAvailable
from qbench.formats import packages
from qbench.formats.packages import baked_in, no_compiler, to_package
from qbench.quant.package import NAME, package_constants

FORKED = """
import os, sys
from pathlib import Path
import torch
from torch import nn
from qbench.cases import Float
from qbench.formats.artifact import Artifact, TensorSpec
from qbench.formats.edges import export, named
pid = os.fork()
if pid == 0:
    code = 1
    try:
        spec = (TensorSpec("x", "float32", (None, 4)),)
        source = Artifact("torch", Float(), spec, spec, module=nn.Sequential(nn.Linear(4, 4), nn.ReLU()))
        folder = Path(sys.argv[1])
        named("to_package").convert(export(source, folder), folder / "made")
        code = 0
    finally:
        os._exit(code)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""


def test_nothing_but_the_package_and_its_note_stays(in_format):
    path = in_format("pt2").path
    assert sorted(os.listdir(path.parent)) == sorted([NAME, path.name])


def test_weights_of_convolutions_lie_blocked_in_the_package(in_format):
    """Else every call would block them anew; 'blocked' is in the names that our own pass gives."""
    convolutions = [c for c in package_constants(in_format("pt2").path) if len(c.sizes) == 4]
    assert len(convolutions) == 2
    assert all(c.name.endswith("_blocked") for c in convolutions)


def test_the_users_settings_of_the_compiler_are_left_as_they_are(in_format, monkeypatch):
    import torch._inductor.config as config

    monkeypatch.setenv(packages.CACHE_VARIABLE, "/nowhere")
    with packages._own_cache(in_format("pt2").path.parent):
        assert os.environ[packages.CACHE_VARIABLE] != "/nowhere"
    assert os.environ[packages.CACHE_VARIABLE] == "/nowhere"
    assert not config.freezing
    assert config.post_grad_custom_pre_pass is None


def test_without_a_compiler_it_is_said_before_and_during(in_format, monkeypatch, tmp_path):
    assert no_compiler() is None
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "no C++ compiler (no-such-compiler)" in no_compiler()
    assert "no C++ compiler" in BACKENDS["aot_inductor"]().probe().on("cpu").absent
    with pytest.raises(NotAvailable, match=r"no C\+\+ compiler(.|\n)*fix: install g"):
        to_package(in_format("exported"), tmp_path)


def test_what_is_baked_in_names_the_processor_and_the_compiler(monkeypatch):
    here = baked_in()
    assert here == baked_in()
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert baked_in() != here


def test_a_package_is_made_in_the_child_of_a_fork_server_without_its_own_processes(tmp_path):
    (tmp_path / "made").mkdir()
    environment = os.environ | {
        "OPENBLAS_NUM_THREADS": "1",
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "users"),
    }
    done = subprocess.run(
        [sys.executable, "-c", FORKED, str(tmp_path)], capture_output=True, text=True, check=False,
        env=environment, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "made" / "model.pt2").is_file()
    users = (tmp_path / "users").rglob("*")  # made when the compiler is imported, and left empty
    assert not any(path.is_file() for path in users)


@pytest.mark.slow
def test_the_same_program_twice_answers_the_same(in_format, images, tmp_path):
    again = to_package(in_format("exported"), tmp_path)
    answers = [
        BACKENDS["aot_inductor"]().load(artifact, Placement()).run({"images": images})[0]
        for artifact in (in_format("pt2"), again)
    ]
    np.testing.assert_array_equal(*answers)


def test_the_compilers_own_folder_has_no_space_in_it_wherever_the_cache_lies(tmp_path):
    spaced = tmp_path / "of two words"
    spaced.mkdir()
    with packages._own_cache(spaced):
        assert " " not in os.environ[packages.CACHE_VARIABLE]
    assert not list(spaced.iterdir())
