"""What every strategy promises: parametrized over the registry, so that a new leaf inherits every test."""

import hashlib
import subprocess
import sys
from dataclasses import fields, replace
from types import SimpleNamespace
from typing import Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest

from qbench.backends.base import BACKENDS, KernelProof, Placement
from qbench.cases import (
    ArtifactSpec,
    Case,
    Choice,
    DataSpec,
    Deployment,
    FakeQuant,
    Float,
    Hop,
    Quantized,
    Scenario,
    Scheme,
    Step,
)
from qbench.errors import BadParameter, DoesNotFit
from qbench.formats.artifact import load, save
from qbench.formats.proof import prove
from qbench.metrics import CATALOGUE
from qbench.records import Measured
from qbench.run.executor import Executor
from qbench.run.protocol import StepRequest
from qbench.run.steps.score import _no_speed
from qbench.strategies.base import STRATEGIES

ROUTES = [
    pytest.param(name, route, id=f"{name}-{route.takes}-{route.gives}")
    for name in STRATEGIES
    for route in STRATEGIES[name].routes
]
PARAMETERS = [
    pytest.param(name, route, field.name, id=f"{name}-{route.takes}-{field.name}")
    for name in STRATEGIES
    for route in STRATEGIES[name].routes
    for field in fields(STRATEGIES[name])
]
# A field whose type offers nothing else to try yet; it must leave this set when a second choice arrives.
NO_ALTERNATIVE: set[tuple[str, str]] = set()
COVERING = (
    "static_int8", "ptq", "adaptive", "dynamic_int8", "nncf_int8", "nncf_accuracy_control", "weight_only",
)  # fmt: skip
# What a field says to one format alone, where the other refuses it, or what leaves nothing of the one product
# in the small network; on larger ones see the strategies' own tests.
REFUSED = {
    (name, format, field)
    for name, format in (("dynamic_int8", "torch"), ("weight_only", "onnx"))
    for field in ("operators", "keep_float")
} | {("smooth_quant", "onnx", "outliers")}
LEARNING = ("magnitude_prune", "n_m_prune", "channel_prune", "distill")
# A second value for a field whose type does not suggest one (free text, or a number with odd limits).
TRY = {
    ("weight_only", "group_size"): 16,
    ("static_int8", "percentile"): 95.0,
    ("ptq", "percentile"): 95.0,
    ("ptq", "granularity"): "per_tensor",  # groups need their size beside them: see group_size
    ("ptq", "group_size"): 9,
    ("qat", "batch"): 16,  # there are forty images: more in a batch are the same one
    ("qat", "minutes"): 1e-9,  # one epoch
    ("adaptive", "budget"): "accuracy",  # latency depends on the machine's hour: see its own tests
    ("adaptive", "limit"): 0.5,
    ("adaptive", "seed"): 5,  # draws the largest layer first, where 0 draws it last
    # all but "arm": for a file whose weights have no zero points it is "s8s8" (see its own tests)
    ("requantize", "to"): ("u8s8", "symmetric", "per_tensor", "power_of_two", "int4"),
    ("number_format", "block_size"): 32,
    ("native_format", "format"): "nvfp4",  # blocks of nf4 do not divide rows of 288
    ("native_format", "block_size"): 16,
    ("nncf_accuracy_control", "max_drop"): 0.2,
    ("channel_prune", "share"): 0.5,  # an eighth of 32 channels is no multiple of 8
    ("channel_prune", "multiple"): 1,
    **{(name, "minutes"): 1e-9 for name in LEARNING},
    **{(name, "batch"): 8 for name in LEARNING},  # of forty images
    ("cascade", "max_drop"): 0.2,
    ("mixed_int8", "quantizer"): "nncf_int8",  # the other one begins best on the small network
    ("mixed_int8", "limit"): 0.01,
    ("mixed_int8", "budget_s"): 1e-9,
    ("cascade", "threshold"): 0.5,
    **{(name, "operators"): "Conv" for name in COVERING},
    **{(name, "keep_float"): "0.weight" for name in COVERING},
    ("weight_only", "operators"): "MatMul",
    ("weight_only", "keep_float"): "5.weight",
    ("nncf_int8", "preset"): "mixed",  # auto is performance, but for a transformer
    ("nncf_int8", "model_type"): "transformer",
    ("nncf_int8", "smooth_quant"): 0.5,
    ("nncf_accuracy_control", "model_type"): "transformer",
    ("smooth_quant", "outliers"): 100.0,  # more than the one product of the small network has
}
# What must stand beside a field for it to matter, or for the small network (rows of 288) to take it.
GROUPED = {"bits": 4, "group_size": 32}
BESIDE = {
    ("weight_only", "bits"): {"group_size": 32},
    ("weight_only", "group_size"): GROUPED,
    ("weight_only", "all_layers"): GROUPED,
    ("static_int8", "percentile"): {"observer": "percentile"},
    ("static_int8", "symmetric"): {"scheme": "s8s8"},
    ("ptq", "percentile"): {"observer": "percentile"},
    ("ptq", "group_size"): {"granularity": "per_group", "group_size": 3},
    ("ptq", "keep_ends"): {"weight_bits": 4},
    ("qat", "keep_ends"): {"weight_bits": 4},
    ("qat", "seed"): {"batch": 16},  # an order
    ("adaptive", "assign"): {"limit": 0.5},  # the program may leave layers in float, the others none
    ("adaptive", "seed"): {"limit": 0.21, "assign": "random"},
    ("adaptive", "float_layers"): {"limit": 0.9},
    ("number_format", "block_size"): {"format": "nf4"},
    ("native_format", "block_size"): {"format": "nf4", "block_size": 32},
    **{
        (name, field): {"epochs": 2, "batch": 16}  # seeds differ where an epoch is several batches
        for name in LEARNING
        for field in ("batch", "learning_rate", "seed", "minutes")
    },
    ("cascade", "high"): {"low": "w4a8"},
    ("mixed_int8", "budget_s"): {"limit": 0.01},  # else there is nothing to search for
    ("nncf_int8", "smooth_quant"): {"model_type": "transformer"},
    ("nncf_accuracy_control", "model_type"): {"max_drop": 0.2},  # else the first layer returns to float
    ("dynamic_int8", "keep_float"): {"operators": "Conv,Gemm"},  # beside it one layer is left
}
# The network that a field matters on, where it says nothing to the usual one.
BODY = {("equalize", "relu6"): "bounded activations"}


def fingerprint(artifact):
    """Return what a network is, without what merely names it: its tensors and its graph."""
    if artifact.format == "torch":
        return {
            name: tensor.float().numpy().tobytes() for name, tensor in artifact.module.state_dict().items()
        }
    if artifact.format == "onnx":
        import onnx

        graph = onnx.load(artifact.path).graph
        tensors = {tensor.name: onnx.numpy_helper.to_array(tensor).tobytes() for tensor in graph.initializer}
        return tensors | {"graph": [node.SerializeToString(deterministic=True) for node in graph.node]}
    if artifact.format == "exported":
        import torch

        program = torch.export.load(artifact.path)
        stored = program.state_dict.items()
        tensors = {name: tensor.detach().float().numpy().tobytes() for name, tensor in stored}
        return tensors | {"graph": program.graph_module.code}
    if artifact.format == "openvino":
        import openvino

        model = openvino.Core().read_model(artifact.path)
        option = ["runtime_options", "DYNAMIC_QUANTIZATION_GROUP_SIZE"]
        asked = model.get_rt_info(option).value if model.has_rt_info(option) else None
        return asked, [told(operator) for operator in model.get_ordered_ops()]
    return {path.name: digest(path) for path in artifact.path.parent.iterdir()}


def told(operator):
    """Return an operator without its name, which is another one every time it is made."""
    content = operator.data.tobytes() if operator.get_type_name() == "Constant" else b""
    return operator.get_type_name(), str(operator.get_attributes()), str(operator.outputs()), content


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(("name", "route"), ROUTES)
def test_the_network_given_comes_back_unchanged(name, route, source_for, product_of):
    source = source_for(STRATEGIES[name](), route)
    before, file = fingerprint(source), source.path and digest(source.path)
    product = product_of(STRATEGIES[name](), route)
    assert fingerprint(source) == before
    assert (source.path and digest(source.path)) == file
    assert product.path is None or product.path != source.path


@pytest.mark.parametrize(("name", "route"), ROUTES)
def test_the_same_twice_gives_the_same_tensors_and_graph(name, route, product_of):
    assert fingerprint(product_of(STRATEGIES[name](), route)) == fingerprint(
        product_of(STRATEGIES[name](), route)
    )


@pytest.mark.parametrize(("name", "route"), ROUTES)
def test_the_product_is_not_the_network_given(name, route, source_for, product_of):
    assert fingerprint(product_of(STRATEGIES[name](), route)) != fingerprint(
        source_for(STRATEGIES[name](), route)
    )


@pytest.mark.parametrize(("name", "route", "field"), PARAMETERS)
def test_every_parameter_changes_the_product(name, route, field, product_of):
    values = alternatives(name, field)
    if not values:
        assert (name, field) in NO_ALTERNATIVE, f"say in TRY which other value {name}.{field} takes"
        return
    assert (name, field) not in NO_ALTERNATIVE
    kind, beside = STRATEGIES[name], BESIDE.get((name, field), {})
    body = BODY.get((name, field), "network")
    if (name, route.takes, field) in REFUSED:
        with pytest.raises(DoesNotFit):
            product_of(kind(**(beside | {field: values[0]})), route, body)
        return
    usual = fingerprint(product_of(kind(**beside), route, body))
    for value in values:
        changed = kind(**(beside | {field: value}))
        assert fingerprint(product_of(changed, route, body)) != usual, f"{field}={value!r}"


def alternatives(name, field):
    """Return other values for a field: all of a Literal's, the other bool, a number that is accepted."""
    kind = STRATEGIES[name]
    hint, usual = get_type_hints(kind)[field], getattr(kind(), field)
    if (name, field) in TRY:
        other = TRY[name, field]
        return list(other) if isinstance(other, tuple) else [other]
    if get_origin(hint) is Literal:
        return [value for value in get_args(hint) if value != usual]
    if hint is bool:
        return [not usual]
    numbers = [usual * 2, usual // 2, usual + 1] if hint is int else [usual / 2] if hint is float else []
    beside = BESIDE.get((name, field), {})
    return [value for value in numbers if value != usual and builds(kind, beside | {field: value})][:1]


def builds(kind, parameters):
    try:
        kind(**parameters)
    except BadParameter:  # out of range
        return False
    return True


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_what_says_that_it_explains_does_so_itself(name):
    assert STRATEGIES[name].explains == ("explain" in vars(STRATEGIES[name]))


@pytest.mark.parametrize(("name", "route"), ROUTES)
def test_what_it_says_is_what_the_file_bears_out(name, route, product_of, on_file):
    product = on_file(product_of(STRATEGIES[name](), route))
    proof = prove(product)
    assert proof.failure is None
    found = {m.metric: m.samples[0] for m in proof.measurements}
    if product.state.kind != "fake_quant" and product.state != Float():  # they store all that they had
        assert 0 < found["covered_weights"] < found["covered_float"]
        assert 0 < found["covered_macs"] <= found["model_macs"]


@pytest.mark.parametrize(("name", "route"), ROUTES)
def test_the_state_and_format_announced_are_those_given(name, route, source_for, product_of):
    strategy = STRATEGIES[name]()
    product = product_of(strategy, route)
    assert product.state == strategy.state(source_for(strategy, route).state)
    assert product.format == route.gives


@pytest.mark.parametrize(("name", "route"), ROUTES)
def test_the_product_survives_being_saved(name, route, product_of, on_file, images):
    product = on_file(product_of(STRATEGIES[name](), route))
    backend = engine_for(product)
    some = {"images": images[: product.inputs[0].shape[0] or 4]}
    before = backend.load(product, Placement()).run(some)[0]
    hop = Hop("source", Choice("any"), product.format, Float(), "")
    save(product, product.path.parent, ArtifactSpec(Choice("any"), (hop,)))
    loaded = load(product.path.parent)
    assert (loaded.state, loaded.inputs, loaded.outputs) == (product.state, product.inputs, product.outputs)
    after = backend.load(loaded, Placement()).run(some)[0]
    np.testing.assert_array_equal(after, before)
    assert np.isfinite(after).all()


ALONE = """
import sys
from pathlib import Path
sys.modules.update(dict.fromkeys(("torchao", "nncf", "onnxruntime", "openvino")))
from qbench.quant.program import read_program
read_program(Path(sys.argv[1]))
"""
OF_TORCH = [param for param in ROUTES if param.values[1].gives in ("torch", "exported")]


@pytest.mark.parametrize(("name", "route"), OF_TORCH)
def test_a_program_is_read_where_the_library_that_made_it_is_missing(name, route, product_of, on_file):
    product = on_file(product_of(STRATEGIES[name](), route))
    code = [sys.executable, "-c", ALONE, str(product.path)]
    done = subprocess.run(code, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def engine_for(product):
    engines = [BACKENDS[name]() for name in BACKENDS if product.format in BACKENDS[name].runs]
    reasons = []
    for engine in engines:
        reasons.append(engine.refuses(product.state, engine.probe().on("cpu")))
        if reasons[-1] is None:
            return engine
    assert engines, f"no engine runs {product.format}"
    pytest.skip("; ".join(reasons))


@pytest.mark.parametrize(("name", "route"), ROUTES)
def test_a_network_without_a_layer_to_cover_is_refused_by_the_kinds_it_has(name, route, product_of):
    with pytest.raises(DoesNotFit, match=r"(?i)relu(.|\n)*fix: ."):
        product_of(STRATEGIES[name](), route, "nothing to quantize")


def broken(images):
    images = images.copy()
    images[7, 0, 3, 3] = np.nan
    return images


@pytest.mark.parametrize(("change", "words"), [
    (lambda images: {"images": broken(images)}, r"input 'images': 1 of its 40 .* number 7\n  fix: repair"),
    (lambda images: {"images": images[:, :1]}, r"'images' of shape \(40, 1, 8, 8\)\n  fix: give 'images' of"),
    (lambda images: {"pictures": images}, r"has 'pictures' of .*\n  fix: give 'images' of shape \(N, 3, 8"),
    (lambda images: {}, "there is none\n  fix: give one"),
], ids=["no number", "another shape", "another name", "none"])  # fmt: skip
@pytest.mark.parametrize(
    ("name", "route"), [param for param in ROUTES if STRATEGIES[param.values[0]].needs_calibration]
)
def test_calibration_data_that_the_network_cannot_take_is_refused(name, route, change, words, product_of):
    with pytest.raises(DoesNotFit, match=words):
        product_of(
            STRATEGIES[name](), route, change=lambda data: replace(data, inputs=change(data.inputs["images"]))
        )


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_a_strategy_says_what_it_is_and_where_it_comes_from(name):
    kind = STRATEGIES[name]
    assert kind.about
    assert kind.source
    assert kind.routes
    assert hash(kind()) == hash(kind())


# --- simulated is never timed ---------------------------------------------------------------------

INT8 = Scheme(8, 8, "per_channel")


def a_case(state):
    hop = Hop("technique", Choice("any"), "onnx", state, "")
    deployment = Deployment(ArtifactSpec(Choice("any"), (hop,)), "onnxruntime", "cpu", 1, "")
    return Case("tests", "any", "technique", deployment, DataSpec(Choice("agreement"), "test", 8), Scenario())


@pytest.mark.parametrize(
    ("state", "never"), [(FakeQuant(INT8), True), (Quantized(INT8), False), (Float(), False)]
)
def test_a_simulated_network_is_scored_and_never_timed(state, never):
    case = a_case(state)
    executor = Executor(SimpleNamespace(cells=(), metered=()), None, "", None, None, None)
    before = Step("data", case.evaluation), Step("prepare", case.deployment.artifact), Step("score", case)
    executor._outcomes = {step.key: Measured(()) for step in before}
    assert not executor._pointless(Step("score", case))
    assert executor._pointless(Step("time", case)) is never
    assert executor._pointless(Step("deploy", case)) is never


def test_a_simulated_network_has_no_number_that_needs_native_kernels():
    opened = SimpleNamespace(artifact=SimpleNamespace(state=FakeQuant(INT8)), case=a_case(FakeQuant(INT8)))
    withheld = _no_speed(opened, StepRequest(Step("score", opened.case)), KernelProof(0, 0, ()), None)
    assert {w.metric for w in withheld} == {name for name, m in CATALOGUE.items() if m.needs_native}
    assert all("simulated" in w.reason for w in withheld)
