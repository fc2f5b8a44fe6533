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


def add_faulty(patch):
    """Add the faulty plug-ins to this process and to the workers that it starts, until `patch` is undone."""
    if "fake_network" in MODELS:  # a module's fixture has added them already
        return
    for registry in (MODELS, STRATEGIES, TASKS):
        list(registry)  # scanned first, so that what is copied is whole
        patch.setattr(registry, "_items", dict(registry._items))
    patch.syspath_prepend(FAULTY)
    patch.setenv("PYTHONPATH", os.pathsep.join([str(FAULTY), str(CHECKOUT)]))
    for name in [name for name in sys.modules if name.startswith("qbench_faulty")]:
        patch.delitem(sys.modules, name)
    for name in ("models", "tasks", "fake_strategies", "onnx_strategies"):
        __import__(f"qbench_faulty.{name}")


def enter(patch, place):
    """Make the place this process's own working folder and cache."""
    add_faulty(patch)
    patch.chdir(place.root)
    patch.setenv("QBENCH_CACHE", str(place.cache))
    return place


@pytest.fixture
def faulty(monkeypatch):
    add_faulty(monkeypatch)


@pytest.fixture
def inside(place, monkeypatch):
    return enter(monkeypatch, place)


@pytest.fixture(scope="module")
def shared_inside(shared_place):
    with pytest.MonkeyPatch.context() as patch:
        yield enter(patch, shared_place)
