"""The cases of the folder `shared` beside a checkout; without it the tests are skipped and say so."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CASES = HERE.parents[2] / "shared" / "cases"
sys.path.insert(0, str(HERE.parent / "foreign"))  # what runs `qbench try` and what judges by hand


@pytest.fixture(scope="session")
def case(tmp_path_factory):
    """Return a function: build the case of this number in a copy of its folder, and try it."""
    from tried import tried

    kept = {}

    def give(number, *more):
        if not CASES.is_dir():
            pytest.skip(f"the reported cases are not here: no folder {CASES}")
        if (number, more) not in kept:
            folder = built(number)
            working = tmp_path_factory.mktemp(f"run{number}")
            kept[number, more] = (
                folder,
                tried(folder / "model.onnx", folder / "samples.npz", working, *more, short=True),
            )
        return kept[number, more]

    def built(number):
        source = next(CASES.glob(f"{number}-*"))
        beside = tmp_path_factory.mktemp("cases")
        shutil.copy(CASES / "common.py", beside)
        shutil.copytree(source, folder := beside / source.name)
        command = [sys.executable, "-W", "ignore", "make.py"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=280
        )  # noqa: E501
        assert done.returncode == 0, done.stderr
        return folder

    return give
