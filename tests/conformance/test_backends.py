"""What every engine promises, present or future: parametrized over the registry."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from qbench.backends.base import BACKENDS, Placement, Probe
from qbench.cases import FakeQuant, Float, Quantized, Scheme
from qbench.formats.reference import relative_error
from qbench.records import Measured, find
from qbench.run.protocol import Trace
from qbench.run.steps.score import _kernels_ran_as_claimed, score
from qbench.run.steps.session import open_case
from qbench.strategies.base import STRATEGIES
from qbench.wire import from_plain, to_plain

ENGINES = [name for name in BACKENDS if not BACKENDS[name].for_tests]
RUNS = [
    pytest.param(name, kind, id=f"{name}-{kind}") for name in ENGINES for kind in sorted(BACKENDS[name].runs)
]
STATES = [
    Float("fp32"), Float("bf16"), Float("fp16"),
    *(state(Scheme(bits, activations, grain, dynamic))
      for state in (FakeQuant, Quantized) for bits in (8, 4) for activations in (8, None)
      for grain in ("per_tensor", "per_channel", "per_group") for dynamic in (False, True)),
]  # fmt: skip
PAIRS = [
    pytest.param(engine, technique, route, id=f"{engine}-{technique}-{route.takes}")
    for engine in ENGINES
    for technique in STRATEGIES
    for route in STRATEGIES[technique].routes
]


@pytest.fixture(scope="module")
def probed():
    return {name: BACKENDS[name]().probe() for name in ENGINES}


@pytest.mark.parametrize(("name", "kind"), RUNS)
def test_float_outputs_are_those_of_the_network(name, kind, in_format, images):
    import torch

    with torch.no_grad():
        wanted = in_format("torch").module(torch.from_numpy(images)).numpy()
    given = BACKENDS[name]().load(in_format(kind), Placement()).run({"images": images})
    assert relative_error(given[0], wanted) < 1e-3


@pytest.mark.parametrize(("name", "kind"), RUNS)
def test_a_session_takes_batches_of_any_size_in_any_order(name, kind, in_format, images):
    session = BACKENDS[name]().load(in_format(kind), Placement())
    parts = [session.run({"images": images[start:stop]})[0] for start, stop in ((0, 1), (1, 8), (8, 9))]
    whole = session.run({"images": images[:9]})[0]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("name", "kind"), RUNS)
def test_an_answer_is_kept_when_the_next_question_comes(name, kind, in_format, images):
    session = BACKENDS[name]().load(in_format(kind), Placement())
    first = session.run({"images": images[:2]})[0]
    kept = first.copy()
    session.run({"images": images[2:4]})
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize(("name", "kind"), RUNS)
def test_float_kernels_are_counted_as_float(name, kind, in_format, images):
    proof = BACKENDS[name]().load(in_format(kind), Placement()).prove({"images": images[:1]})
    assert (proof.low_bit, proof.other) == (0, 3)  # two convolutions and a matrix product
    assert proof.evidence


@pytest.mark.parametrize("name", ENGINES)
def test_a_probe_has_abilities_or_a_reason_for_every_device(name, probed):
    probe = probed[name]
    assert probe.version or probe.absent
    for device in probe.devices:
        assert device.absent or device.abilities
        assert device.absent or "fp32" in device.abilities
    assert probe.on("no such device").absent
    assert from_plain(Probe, json.loads(json.dumps(to_plain(probe)))) == probe


@pytest.mark.parametrize("name", ENGINES)
def test_every_state_runs_or_has_a_reason(name, probed):
    device = probed[name].on("cpu")
    answers = [BACKENDS[name]().refuses(state, device) for state in STATES]
    assert all(answer is None or answer.strip() for answer in answers)
    assert answers[0] is None  # whoever is here computes in 32-bit float


@pytest.mark.parametrize("name", ENGINES)
def test_simulated_networks_run_wherever_float_does(name, probed):
    device = probed[name].on("cpu")
    assert not any(BACKENDS[name]().refuses(state, device) for state in STATES if state.kind == "fake_quant")


# What an engine has kernels for, where it has none for a technique's usual parameters: openvino multiplies
# signed activations as integers only where their zero points are 0.
HERE = {("openvino", "requantize"): {"to": "symmetric"}}


@pytest.mark.parametrize(("name", "technique", "route"), PAIRS)
def test_what_an_engine_accepts_it_runs_in_the_techniques_own_kernels(
    name, technique, route, probed, product_of, on_file, deploy
):
    strategy = STRATEGIES[technique](**HERE.get((name, technique), {}))
    if route.engines and name not in route.engines:
        pytest.skip(f"{technique} makes no {route.gives} for {name}")
    product = product_of(strategy, route)
    if reason := BACKENDS[name]().refuses(product.state, probed[name].on("cpu")):
        pytest.skip(reason)
    product = on_file(product, BACKENDS[name].runs)
    if product.format not in BACKENDS[name].runs:
        pytest.skip(f"{name} runs no {product.format}")
    opened = open_case(deploy(product, name, f"{technique} from {route.takes}").request, Trace())
    proof = opened.session.prove(opened.some())
    if product.state.kind != "fake_quant":
        assert (proof.low_bit > 0) == (product.state != Float())  # pruned, say: float kernels and no others
    _kernels_ran_as_claimed(opened, proof)


@pytest.mark.parametrize("name", [name for name in ENGINES if "onnx" in BACKENDS[name].runs])
def test_an_onnx_worker_imports_its_engine_and_nothing_else_that_is_heavy(name, in_format, deploy):
    request = deploy(in_format("onnx"), name).request
    code = (
        "import json, sys; from qbench.run.perform import perform;"
        "from qbench.run.protocol import StepRequest;"
        "from qbench.wire import from_plain, to_plain;"
        "result = perform(from_plain(StepRequest, json.loads(sys.argv[1])));"
        "heavy = {'torch', 'transformers', 'pandas', 'pydantic', 'matplotlib', 'scipy'};"
        "print(json.dumps([to_plain(result), sorted(heavy & set(sys.modules))]))"
    )
    command = [sys.executable, "-c", code, json.dumps(to_plain(request))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    result, loaded = json.loads(done.stdout.splitlines()[-1])
    assert loaded == []
    assert find(from_plain(Measured, result), "other_kernels").samples == (3,)


def test_a_score_has_its_proofs_in_it(in_format, deploy):
    outcome = score(deploy(in_format("onnx"), "onnxruntime").request, Trace())
    assert find(outcome, "reference_error").samples[0] < 1e-5
    assert find(outcome, "low_bit_kernels").samples == (0,)
    assert {w.metric for w in outcome.withheld} >= {"correct", "sqnr", "kl_divergence", "energy"}
