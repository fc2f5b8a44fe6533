"""The way from a model to a file that an engine runs: the shortest, or an error that names the obstacle."""

import inspect
import platform
import tomllib
from pathlib import Path

import pytest

from qbench.backends.base import BACKENDS
from qbench.cases import ArtifactSpec, Choice, DataSpec, Float, Hop
from qbench.errors import BadParameter, DoesNotFit, UnknownName
from qbench.formats.edges import EDGES, Edge
from qbench.machine import Machine
from qbench.run import way
from qbench.run.choose import at, strategy_of, task_of
from qbench.run.way import Goal, digest_of, find_way, makers
from qbench.strategies import adaptive
from qbench.strategies.base import STRATEGIES
from qbench.sweep import choice_of

TORCH = Hop("source", Choice("net"), "torch", Float(), "s")
CALIBRATION = DataSpec(Choice("t"), "calibration", 8, 0)


def edge(takes, gives, survives=lambda state: True):
    return Edge(f"{takes}_to_{gives}", takes, gives, "numpy", survives, lambda artifact, folder: artifact)


ONNX = Goal("onnxruntime", frozenset({"onnx"}))


def go(source, chain, *goals):
    found = find_way(
        source,
        tuple(Choice(name) for name in chain),
        Goal("any", frozenset(goals)),
        lambda split: CALIBRATION,
    )
    return [str(hop) for hop in found[1:]]


@pytest.fixture
def edges(monkeypatch):
    return lambda *those: monkeypatch.setattr(way, "EDGES", those)


def test_an_engine_that_runs_the_source_needs_no_way():
    assert go(TORCH, [], "torch") == []


def test_edges_are_put_in_where_formats_do_not_meet():
    assert go(TORCH, ["static_int8"], "onnx") == ["to exported", "to onnx", "static_int8"]


def test_the_shortest_way_wins(edges):
    edges(edge("torch", "b"), edge("b", "c"), edge("c", "goal"), edge("b", "goal"))
    assert go(TORCH, [], "goal") == ["to b", "to goal"]


def test_a_circle_of_edges_ends(edges):
    edges(edge("torch", "b"), edge("b", "torch"))
    with pytest.raises(DoesNotFit, match="no way leads from torch to goal"):
        go(TORCH, [], "goal")


@pytest.mark.parametrize("those", [
    (edge("torch", "b"), edge("b", "goal"), edge("torch", "c"), edge("c", "goal")),
    (edge("torch", "b"), edge("torch", "c"), edge("b", "d"), edge("c", "d"), edge("d", "goal")),
])  # fmt: skip
def test_a_tie_is_an_error_that_names_both(edges, those):
    edges(*those)
    with pytest.raises(
        DoesNotFit, match="two ways are equally short: to b > .* or to c > .*\n  fix: name the conversion"
    ):
        go(TORCH, [], "goal")


def test_an_edge_that_a_state_does_not_survive_is_no_way(edges):
    edges(edge("torch", "goal", lambda state: state == Float()))
    assert go(TORCH, [], "goal") == ["to goal"]
    with pytest.raises(DoesNotFit, match=r"through bf16 \(.*\) to goal"):
        go(TORCH, ["bf16"], "goal")


def test_a_step_that_refuses_the_state_gives_its_own_words():
    with pytest.raises(
        DoesNotFit, match="static_int8 takes a 32-bit float network, and this one is quantized already"
    ):
        go(TORCH, ["static_int8", "static_int8"], "onnx")


def test_no_way_names_what_each_link_takes_and_what_the_engine_runs():
    with pytest.raises(
        DoesNotFit, match=r"from torch through static_int8 \(onnx to onnx\) to exported or torch"
    ):
        go(TORCH, ["static_int8"], "torch", "exported")


@pytest.mark.parametrize(("chain", "engine", "formats", "fix"), [
    (["static_int8"], "torch_eager", {"exported"}, "choose onnxruntime or openvino, which a way leads to"),
    (["static_int8", "magnitude_prune"], "torch_eager", {"exported"},
     'write chain = .{ use = "magnitude_prune" }, { use = "static_int8" }. and choose onnxruntime or op'),
])  # fmt: skip
def test_no_way_names_the_engines_that_one_leads_to(chain, engine, formats, fix):
    links = tuple(Choice(name) for name in chain)
    with pytest.raises(DoesNotFit, match=f"fix: {fix}"):
        find_way(TORCH, links, Goal(engine, frozenset(formats)), lambda split: CALIBRATION)


PRUNED = Choice("magnitude_prune", (("epochs", 0), ("sparsity", 0.5)))
SIGNED = Choice("static_int8", (("per_channel", True), ("scheme", "s8s8")))
PRUNED_TOML = '{ use = "magnitude_prune", epochs = 0, sparsity = 0.5 }'
SIGNED_TOML = '{ use = "static_int8", per_channel = true, scheme = "s8s8" }'
NNCF, TO_IR = Choice("nncf_int8"), Choice("to_ir")


@pytest.mark.parametrize(("chain", "engine", "fix"), [
    # the same links in another order, with their parameters
    ((SIGNED, PRUNED), "onnxruntime", f"write chain = [{PRUNED_TOML}, {SIGNED_TOML}]"),
    ((SIGNED, Choice("equalize"), PRUNED), "openvino",
     f'write chain = [{{ use = "equalize" }}, {PRUNED_TOML}, {SIGNED_TOML}]'),
    # no order works: one link less, and the one that quantizes stays
    ((NNCF, TO_IR), "onnxruntime", 'write chain = [{ use = "nncf_int8" }]'),
    ((NNCF, TO_IR), "openvino", 'write chain = [{ use = "nncf_int8" }]'),
    ((Choice("bf16"), SIGNED), "onnxruntime", f"write chain = [{SIGNED_TOML}]"),
    ((SIGNED, NNCF, PRUNED), "onnxruntime", f"write chain = [{PRUNED_TOML}, {SIGNED_TOML}]"),
    # what is left out may be what was wanted: the technique's own words stay beside ours
    ((Choice("weight_only"), Choice("requantize")), "onnxruntime",
     'write chain = [{ use = "weight_only" }], or put a static technique before it: chain = [{ use'),
])  # fmt: skip
def test_a_chain_that_leads_nowhere_is_told_with_one_that_does(chain, engine, fix):
    goal = Goal(engine, BACKENDS[engine].runs)
    with pytest.raises(DoesNotFit) as told:
        find_way(TORCH, chain, goal, lambda split: CALIBRATION)
    assert told.value.fix.startswith(fix)
    offered = tomllib.loads(told.value.fix.removeprefix("write ").partition(", or ")[0])["chain"]
    again = tuple(choice_of(link, "the fix") for link in offered)
    assert find_way(TORCH, again, goal, lambda split: CALIBRATION)[-1].gives in goal.formats


def test_where_nothing_works_it_says_so(edges):
    edges()  # a live network that nothing can convert
    with pytest.raises(DoesNotFit) as told:
        find_way(TORCH, (SIGNED, PRUNED), ONNX, lambda split: CALIBRATION)
    assert "through static_int8 (onnx to onnx) > magnitude_prune (onnx to onnx) to onnx" in told.value.problem
    assert told.value.fix == (
        "choose other techniques: no way leads to any engine, "
        "in any order of these links or without one of them"
    )


def test_a_chain_that_would_quantize_nothing_is_never_offered():
    with pytest.raises(DoesNotFit) as told:
        find_way(TORCH, (PRUNED, Choice("requantize")), ONNX, lambda split: CALIBRATION)
    assert told.value.fix.startswith("put a static technique before it: chain = ")


def test_only_what_looks_at_data_names_it():
    hops = find_way(TORCH, (Choice("static_int8"),), ONNX, lambda split: CALIBRATION)
    assert [hop.calibration for hop in hops] == [None, None, None, CALIBRATION]
    hops = find_way(
        TORCH,
        (Choice("dynamic_int8"),),
        ONNX,
        lambda split: pytest.fail("asked for data"),
    )
    assert hops[-1].calibration is None


@pytest.mark.parametrize(("name", "parameters", "splits"), [
    ("number_format", {}, {"calibration"}),
    ("number_format", {"activations": False}, set()),
    *(("number_format", {"format": name}, set()) for name in ("nf4", "mxfp4", "nvfp4")),
    ("ptq", {}, {"calibration"}),
    ("ptq", {"activation_bits": 32}, set()),
    ("ptq", {"activation_bits": 32, "rounding": "adaround"}, {"calibration"}),
    ("ptq", {"activation_bits": 32, "bias_correction": True}, {"calibration"}),
    *((name, {}, set()) for name in ("magnitude_prune", "n_m_prune", "channel_prune")),
    *((name, {"epochs": 1}, {"train"}) for name in ("magnitude_prune", "n_m_prune", "channel_prune")),
    ("distill", {}, {"train"}),
    ("qat", {}, {"calibration", "train"}),
    *(("adaptive", {"budget": budget}, {"calibration"}) for budget in ("bytes", "latency")),
    ("adaptive", {"budget": "accuracy"}, {"calibration", "selection"}),
    ("cascade", {}, {"calibration", "selection"}),
    ("cascade", {"threshold": 0.9}, {"calibration"}),
])  # fmt: skip
def test_only_the_data_that_these_parameters_look_at_is_asked_for(name, parameters, splits):
    asked = set()

    def examples(split):
        asked.add(split)
        return CALIBRATION

    find_way(TORCH, (Choice(name, tuple(parameters.items())),), Goal("onnxruntime", {"onnx"}), examples)
    assert asked == splits


def test_the_servers_that_prepare_import_what_the_hops_call_and_nothing_more():
    torch_way = find_way(TORCH, (Choice("dynamic_int8"),), ONNX, lambda split: CALIBRATION)
    assert {"torch", "onnx"} <= set(makers([ArtifactSpec(Choice("net"), torch_way)]))
    onnx = Hop("source", Choice("a.onnx"), "onnx", Float(), "s")
    own = find_way(onnx, (Choice("dynamic_int8"),), ONNX, lambda split: CALIBRATION)
    assert set(makers([ArtifactSpec(Choice("a.onnx"), own)])) == {"numpy", "onnx", "onnxruntime"}
    assert makers([]) == ("numpy",)


# --- choosing by name -------------------------------------------------------------------------------


@pytest.mark.parametrize(("choice", "kind", "words"), [
    (Choice("static_int9"), UnknownName, "no technique is called 'static_int9'\n  fix: did you mean 'static_int8'"),  # noqa: E501
    (Choice("static_int8", (("observr", "minmax"),)), BadParameter, "no parameter 'observr'.*\n  fix: did you mean 'observer'"),  # noqa: E501
    (Choice("static_int8", (("observer", "maxmin"),)), BadParameter, "observer='maxmin' is no 'minmax'"),
    (Choice("static_int8", (("per_channel", "yes"),)), BadParameter, "per_channel='yes' is no bool\n  fix: write per_channel = true"),  # noqa: E501
    (Choice("static_int8", (("per_channel", 1),)), BadParameter, "per_channel=1 is no bool"),
])  # fmt: skip
def test_a_wrong_name_or_value_is_told_with_the_nearest(choice, kind, words):
    with pytest.raises(kind, match=words):
        strategy_of(choice)


def test_a_task_is_chosen_by_the_same_rules():
    with pytest.raises(UnknownName, match="did you mean 'agreement'"):
        task_of(Choice("agrement"))
    with pytest.raises(UnknownName, match="did you mean 'digits'"):
        task_of(Choice("image_classification", (("dataset", "digit"),)))


@pytest.mark.usefixtures("faulty")
def test_a_parameter_out_of_range_and_of_a_wrong_type():
    assert strategy_of(Choice("fake_int8", (("speedup", 3),))).speedup == 3  # a whole number is a number
    with pytest.raises(BadParameter, match=r"speedup = -1.0 is not above 0\n  fix: write speedup = 2.0"):
        strategy_of(Choice("fake_int8", (("speedup", -1.0),)))
    with pytest.raises(BadParameter, match="speedup='fast' is no float\n  fix: write speedup = 0.5"):
        strategy_of(Choice("fake_int8", (("speedup", "fast"),)))


def test_the_place_stands_in_front_and_the_kind_of_error_stays():
    with pytest.raises(UnknownName, match=r"^a\.toml: chain\[1\]: no x\n  fix: y"), at("a.toml: chain[1]"):
        raise UnknownName("no x", fix="y")
    with pytest.raises(DoesNotFit, match="^no"), at("a.toml"):
        raise DoesNotFit("no", fix="y")


def test_what_a_conversion_bakes_in_enters_the_key():
    here = Path(__file__)
    assert digest_of(here, "numpy", "avx2") != digest_of(here, "numpy", "avx512")
    assert digest_of(here, "numpy") == digest_of(here, "numpy", "")
    compiles = next(edge for edge in EDGES if edge.gives == "pt2")
    assert platform.machine() in compiles.bakes()


@pytest.mark.parametrize(("technique", "splits"), [
    ("ptq", ["calibration"]), ("qat", ["calibration", "train"]), ("cascade", ["calibration", "selection"]),
])  # fmt: skip
def test_a_technique_names_the_splits_that_it_needs(technique, splits):
    def examples(split):
        return DataSpec(Choice("t"), split, 8)

    hop = find_way(TORCH, (Choice(technique),), ONNX, examples)[-1]
    assert [spec.split for spec in hop.data] == splits
    assert [hop.calibration, hop.training, hop.selection] == [
        examples(split) if split in splits else None for split in ("calibration", "train", "selection")
    ]


def sources(*chain):
    """Return the digests of a chain's links, by which their products are kept."""
    hops = find_way(TORCH, chain, ONNX, lambda split: CALIBRATION)
    return [hop.source for hop in hops if hop.kind == "technique"]


def test_only_what_is_chosen_by_a_processors_times_is_kept_for_that_processor(monkeypatch):
    choices = {
        "latency": Choice("adaptive", (("budget", "latency"),)),
        "bytes": Choice("adaptive"),
        "accuracy": Choice("adaptive", (("budget", "accuracy"),)),
        "int8": Choice("static_int8"),
    }
    kept = {name: set() for name in choices}
    for features in ({"avx2"}, {"avx2", "avx512_vnni"}):
        here = Machine("x86_64", "Linux", frozenset(features), processor="a processor")
        monkeypatch.setattr(adaptive, "machine", lambda here=here: here)
        for name, choice in choices.items():
            kept[name].update(sources(choice))
    assert {name: len(found) for name, found in kept.items()} == {
        "latency": 2, "bytes": 1, "accuracy": 1, "int8": 1,
    }  # fmt: skip


def test_of_what_holds_nothing_of_the_machine_code_and_versions_alone_are_the_key():
    leaf = Path(inspect.getfile(STRATEGIES["static_int8"]))
    (route,) = STRATEGIES["static_int8"].routes
    assert sources(Choice("static_int8")) == [digest_of(leaf, route.provider)]
    timed = [name for name in STRATEGIES if strategy_of(Choice(name)).bakes()]
    assert timed == []  # as they are by default
