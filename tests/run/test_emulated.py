"""The worker on an emulated ARM: it probes, scores and counts there, and what is wrong there is told.

Needs a set-up by tools/setup_arm.sh: in the folder QBENCH_ARM, or where the program looks for it.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from prepared import FP32, INT8, asked, deployment

from qbench.folders import cache_folder
from qbench.records import Failed, Measured, find
from qbench.run import probe
from qbench.run.launch import Worker, ask_counting, ask_fresh
from qbench.run.probe import probe_on
from qbench.run.protocol import Limits, SelfRequest, StepRequest
from qbench.run.steps.kept import answers_file, kept

ARM = Path(
    os.environ.get("QBENCH_ARM") or cache_folder() / "arm"
)  # before the tests get a cache of their own
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (ARM / "device.json").is_file(),
        reason=f"no emulated ARM in {ARM}: run tools/setup_arm.sh, or set QBENCH_ARM to its folder",
    ),
]
CPUS = ["neoverse-n1", "cortex-a72"]
THREADS = 2  # the interpreter's, and one of the emulator's own, which knows of forks
CHAINS = {"fp32": FP32, "int8": INT8}


def on(cpu, *count):
    return (str(ARM / "run"), cpu, *count)


def counting(cpu):
    return on(cpu, "--count", "{out}")


@pytest.fixture(scope="module")
def worker():
    """Return a function that gives the fork server of an engine on a CPU."""
    running = {}

    def give(cpu, engine="onnxruntime"):
        if (cpu, engine) not in running:
            running[cpu, engine] = Worker((engine,), prefix=on(cpu))
        return running[cpu, engine]

    yield give
    for server in running.values():
        server.close()


def scored(request, ask):
    """Return the outcome and the outputs."""
    outcome = ask(request).result
    assert isinstance(outcome, Measured), outcome
    data_id = next(fact.found for fact in outcome.evidence if fact.what == "data id")
    return outcome, kept(answers_file(request.step.subject, data_id))[0]


def emulated(chain, cpu, **more):
    return deployment(chain, hardware=cpu, reached="emulated", **more)


# --- the server -------------------------------------------------------------------------------------


def test_a_server_there_has_one_thread_and_forks(worker):
    server = worker("neoverse-n1")
    before = server.ask(SelfRequest(("torch", "onnx", "pydantic"))).result
    assert (before.threads, before.loaded) == (THREADS, ())
    assert isinstance(server.ask(asked("score", emulated(INT8, "neoverse-n1"), count=2)).result, Measured)
    assert server.ask(SelfRequest()).result.pid == before.pid


def test_a_child_there_is_stopped_at_its_limit_and_the_server_goes_on(worker):
    server = worker("neoverse-n1")
    request = asked("score", emulated(FP32, "neoverse-n1"), count=50)
    reply = server.ask(StepRequest(request.step, request.data_ids, limits=Limits(time_s=0.3)))
    assert reply.result == Failed("score", "stopped: it took longer than its limit of 0.3 s")
    assert server.ask(SelfRequest()).result.threads == THREADS


def test_a_library_of_this_host_is_not_loaded_there(monkeypatch):
    monkeypatch.setenv("LD_PRELOAD", "/lib/x86_64-linux-gnu/libm.so.6")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "SkylakeX")
    with Worker(("numpy",), prefix=on("cortex-a72")) as server:
        server.wait_until_ready()
        assert server._said() == ""  # the guest's loader complains of what it cannot preload


def test_a_cpu_that_there_is_not_is_told():
    reply = ask_fresh(asked("score", emulated(INT8, "z80"), count=2), on("z80"))
    assert "no CPU is called 'z80'" in reply.result.error


# --- probing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cpu", CPUS)
def test_the_engines_answer_there_and_are_asked_once(cpu, monkeypatch):
    manifest = (ARM / "device.json").read_text()
    names = ["onnxruntime", "openvino", "torch_eager"]
    probes = probe_on(on(cpu), names, manifest)
    packages = json.loads(manifest)["packages"]
    assert probes["onnxruntime"].version == packages["onnxruntime"]
    assert probes["openvino"].version.startswith(packages["openvino"])
    assert probes["onnxruntime"].on("cpu").absent is None
    assert probes["openvino"].on("cpu").absent is None
    assert probes["onnxruntime"].on("cuda").absent  # whatever device files the host has
    assert "not installed" in probes["torch_eager"].on("cpu").absent
    monkeypatch.setattr(probe, "ask_fresh", lambda *_: pytest.fail("asked again"))
    assert probe_on(on(cpu), names, manifest) == probes
    with pytest.raises(pytest.fail.Exception):
        probe_on(on(cpu), names, manifest + "another")


# --- scoring ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cpu", CPUS)
def test_integers_give_the_very_answers_of_this_host(worker, cpu):
    _, here = scored(asked("score", deployment(INT8)), ask_fresh)
    outcome, there = scored(asked("score", emulated(INT8, cpu)), worker(cpu).ask)
    assert np.ptp(here) > 1
    np.testing.assert_array_equal(there, here)
    assert find(outcome, "low_bit_kernels").samples[0] > 0
    assert len(find(outcome, "correct").samples) == 50


@pytest.mark.parametrize("cpu", CPUS)
def test_floats_give_the_answers_of_this_host_but_for_the_order_of_sums(worker, cpu):
    _, here = scored(asked("score", deployment(FP32)), ask_fresh)
    _, there = scored(asked("score", emulated(FP32, cpu)), worker(cpu).ask)
    assert np.abs(there - here).max() < 1e-5 * np.ptp(here)
    np.testing.assert_array_equal(there.argmax(axis=1), here.argmax(axis=1))


def test_an_engine_that_answers_with_nothing_there_is_a_failure_in_words(worker):
    """OpenVINO's integer convolution on a core without dot products: an empty output, and no error."""
    server = worker("cortex-a72", "openvino")
    reply = server.ask(asked("score", emulated(INT8, "cortex-a72", backend="openvino")))
    assert isinstance(reply.result, Failed)
    assert "openvino gave outputs of shape (0, 10)" in reply.result.error
    assert isinstance(
        server.ask(asked("score", emulated(FP32, "cortex-a72", backend="openvino"))).result, Measured
    )


# --- counting ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def counted():
    """Return a function that counts once a CPU and chain."""
    made = {}

    def give(cpu, chain):
        if (cpu, chain) not in made:
            reply = ask_counting(asked("count", emulated(CHAINS[chain], cpu)), counting(cpu))
            assert isinstance(reply.result, Measured), reply
            assert not reply.result.withheld
            made[cpu, chain] = reply.result
        return made[cpu, chain]

    return give


RUNS = {("neoverse-n1", "int8"): "dot", ("cortex-a72", "int8"): "widening"} | {
    (cpu, "fp32"): "fmla" for cpu in CPUS
}


@pytest.mark.parametrize(("cpu", "chain"), RUNS)
def test_each_cpu_multiplies_with_its_own_instructions(counted, cpu, chain):
    outcome = counted(cpu, chain)
    for kind in ("fmla", "dot", "mmla", "widening"):
        samples = find(outcome, f"instructions_{kind}").samples
        assert len(samples) == 3
        assert (min(samples) > 10_000) == (kind == RUNS[cpu, chain]), f"{kind}: {samples}"
        assert min(samples) == max(samples), "what is multiplied does not depend on the call"


def test_what_is_counted_is_the_networks_own_work(counted):
    """The multiply-accumulates that ran are those of the network, and some of padded tiles."""
    outcome = counted("neoverse-n1", "fp32")
    ran = next(float(fact.found) for fact in outcome.evidence if fact.what.endswith("executed: fp32"))
    macs = 1_356_416  # from the shapes of its convolutions and its last layer
    assert macs <= ran < 1.2 * macs
    total, share = find(outcome, "instructions").samples, find(outcome, "instructions_simd").samples
    assert all(part < whole for part, whole in zip(share, total, strict=True))


@pytest.mark.parametrize("cpu", CPUS)
def test_integers_take_fewer_instructions(counted, cpu):
    assert max(find(counted(cpu, "int8"), "instructions").samples) < min(
        find(counted(cpu, "fp32"), "instructions").samples
    )


def test_a_larger_batch_takes_more(counted):
    one = find(counted("neoverse-n1", "int8"), "instructions_dot").samples[0]
    reply = ask_counting(asked("count", emulated(INT8, "neoverse-n1"), batch=4), counting("neoverse-n1"))
    four = find(reply.result, "instructions_dot").samples[0]
    assert 3.5 * one < four < 4.5 * one


# What the interpreter does around a call depends a little on what it did before; the products do not.
APART = {"instructions": 1000, "instructions_load_store": 500, "instructions_simd": 10}


@pytest.mark.parametrize("chain", CHAINS)
def test_counted_again_it_is_the_same(counted, chain):
    first = counted("neoverse-n1", chain)
    reply = ask_counting(asked("count", emulated(CHAINS[chain], "neoverse-n1")), counting("neoverse-n1"))
    for measurement in first.measurements:
        again = find(reply.result, measurement.metric).samples
        most = APART.get(measurement.metric, 0)
        for one, other in zip(measurement.samples, again, strict=True):
            assert abs(one - other) <= most, f"{measurement.metric}: {one} and {other}"


def test_an_engine_with_threads_of_its_own_is_not_counted():
    request = asked("count", emulated(FP32, "neoverse-n1", backend="openvino"))
    outcome = ask_counting(request, counting("neoverse-n1")).result
    assert isinstance(outcome, Measured)
    assert "threads, and what several execute at once is not counted whole" in outcome.withheld[0].reason
