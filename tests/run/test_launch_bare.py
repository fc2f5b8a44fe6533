"""A device with numpy and its engine and nothing else: the worker answers there."""

import sys
from importlib.metadata import packages_distributions

import pytest
from prepared import FP32, INT8, asked, deployment

from qbench.backends.base import Probe
from qbench.measure.instructions import KINDS
from qbench.records import Failed, Measured, find
from qbench.run.launch import Worker
from qbench.run.protocol import ProbeRequest

BARE = """
import importlib.abc, runpy, sys

class Bare(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Bare())
sys.argv = sys.argv[2:]  # -m qbench.run.worker
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Return the command of a device on which only numpy and onnxruntime are installed."""
    absent = set(packages_distributions()) - {"numpy", "onnxruntime", "qbench"}
    assert {"torch", "onnx", "pandas", "pydantic", "transformers", "scipy", "PIL", "rich", "typer"} <= absent
    path = tmp_path_factory.mktemp("bare") / "python.py"
    path.write_text(BARE.format(absent=absent))
    return (sys.executable, str(path))


@pytest.fixture(scope="module")
def worker(bare):
    with Worker(("onnxruntime",), prefix=bare) as running:
        yield running


def test_the_engine_is_probed(worker):
    probe = worker.ask(ProbeRequest("onnxruntime")).result
    assert isinstance(probe, Probe)
    assert probe.on("cpu").absent is None


def test_an_engine_that_is_not_installed_is_absent_and_no_crash(worker):
    assert "not installed" in worker.ask(ProbeRequest("openvino")).result.absent


@pytest.mark.parametrize("chain", [FP32, INT8], ids=["fp32", "int8"])
def test_a_deployment_is_scored(worker, chain):
    reply = worker.ask(asked("score", deployment(chain)))
    assert isinstance(reply.result, Measured), reply.result
    assert len(find(reply.result, "correct").samples) == 50
    assert find(reply.result, "reference_error")


def test_a_count_says_that_nothing_counts(worker):
    reply = worker.ask(asked("count", deployment(INT8)))
    assert isinstance(reply.result, Measured), reply.result
    assert {withheld.metric for withheld in reply.result.withheld} == set(KINDS.values())


def test_the_device_is_as_bare_as_it_says(bare):
    with Worker(("onnx",), prefix=bare) as worker:
        reply = worker.ask(ProbeRequest("onnxruntime"))
    assert isinstance(reply.result, Failed)
    assert "No module named 'onnx'" in reply.result.error
