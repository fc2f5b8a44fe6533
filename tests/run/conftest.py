"""A working place with its own suites, hardware and cache, and the faulty plug-ins beside it."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the importlib mode of pytest adds no folder by itself

from workplace import CHECKOUT, FAULTY, Place

from qbench.models.base import MODELS
from qbench.strategies.base import STRATEGIES
from qbench.tasks.base import TASKS


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.fixture(scope="module")
def shared_place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("place"))


@pytest.fixture
def faulty(monkeypatch):
    """The faulty plug-ins in this process and in the workers that it starts; gone again afterwards."""
    for registry in (MODELS, STRATEGIES, TASKS):
        list(registry)  # scanned first, so that what is copied is whole
        monkeypatch.setattr(registry, "_items", dict(registry._items))
    monkeypatch.syspath_prepend(FAULTY)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(FAULTY), str(CHECKOUT)]))
    for name in [name for name in sys.modules if name.startswith("qbench_faulty")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("models", "tasks", "fake_strategies", "onnx_strategies"):
        __import__(f"qbench_faulty.{name}")


@pytest.fixture
def inside(place, faulty, monkeypatch):
    """The place as this process's own working folder and cache."""
    monkeypatch.chdir(place.root)
    monkeypatch.setenv("QBENCH_CACHE", str(place.cache))
    return place
