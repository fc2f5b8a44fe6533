"""adaptive: a budget that is kept in the file, a search that ends, and what it refuses."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qbench.backends.base import BACKENDS, Placement
from qbench.cases import Float, Quantized, Scheme
from qbench.errors import BadParameter, DoesNotFit
from qbench.formats.artifact import Artifact
from qbench.formats.proof import prove
from qbench.quant.qdq_graph import onnx_weights
from qbench.strategies.adaptive import TRIES
from qbench.strategies.base import STRATEGIES, Calibration, Selection

Adaptive = STRATEGIES["adaptive"]
WHOLE = 4 * (3 * 16 * 9 + 16 * 32 * 9 + 32 * 9 * 10)  # bytes of the small network's weights in float


@pytest.fixture
def applied(in_format, images, tmp_path):
    chosen = np.random.default_rng(1).standard_normal((200, 3, 8, 8)).astype("f4")

    def give(source=None, selection=True, right=None, data=None, **parameters):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        select = Selection("more images", {"images": chosen}, right) if selection else None
        given = data or Calibration("images", {"images": images}, selection=select)
        return Adaptive(**parameters).apply(source or in_format("onnx"), given, folder)

    return give


def answers(artifact, images):
    return BACKENDS["onnxruntime"]().load(artifact, Placement()).run({"images": images})[0]


def spent(product):
    """Return the bytes of the file's weights and of their scales."""
    found = [weight for weight in onnx_weights(product.path) if weight.multiplied]
    channels = (16, 32, 10)
    return sum(w.code_bytes + 4 * own * (w.bits < 32) for w, own in zip(found, channels, strict=True))


def bits(product):
    return [weight.bits for weight in onnx_weights(product.path) if weight.multiplied]


@pytest.mark.parametrize(("parameters", "words"), [
    ({"budget": "energy"}, r"no budget 'energy'\n  fix: write budget = \"bytes\" or \"latency\" or"),
    ({"assign": "greedy"}, r"no assign 'greedy'\n  fix: write assign = \"milp\" or \"random\" or"),
    ({"limit": 0.0}, r"limit = 0 is no share between 0 and 1\n  fix: write limit = 0.1875"),
    ({"limit": 1.0}, r"limit = 1 is no share"),
    ({"seed": 3}, r"seed = 3 says nothing to assign = \"milp\".*\n  fix: write assign = \"random\""),
    ({"seed": 3, "assign": "largest"}, r"seed = 3 says nothing to assign = \"largest\""),
    ({"float_layers": False, "assign": "random"}, r"float_layers = false says nothing to assign = \"random\""
     ", .*\n  fix: write assign = \"milp\" beside it, or leave float_layers out"),
    ({"float_layers": False, "assign": "largest"}, r"false says nothing to assign = \"largest\""),
    ({"assign": "random", "budget": "accuracy"}, r"at equal bytes, not by accuracy\n  fix: write budget"),
    ({"assign": "largest", "budget": "latency"}, r"compared at equal bytes, not by latency"),
])  # fmt: skip
def test_a_value_that_cannot_be_is_told_with_one_that_can(parameters, words):
    with pytest.raises(BadParameter, match=words):
        Adaptive(**parameters)


def test_the_state_says_mixed():
    assert Adaptive().state(Float()) == Quantized(Scheme(8, 8, "per_channel", mixed=True))
    with pytest.raises(DoesNotFit, match="put it first"):
        Adaptive().state(Quantized(Scheme(8, 8, "per_channel")))


@pytest.mark.parametrize("limit", [0.14, 0.19, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("assign", ["milp", "random", "largest"])
def test_the_budget_of_bytes_is_kept_in_the_file(limit, assign, applied):
    product = applied(limit=limit, assign=assign)
    assert spent(product) <= limit * WHOLE
    assert prove(product).failure is None
    if assign == "milp" and limit == 0.9:
        assert 32 in bits(product)
    note = next(note.found for note in product.notes if note.what == "bytes of all layers")
    assert note.startswith(f"{spent(product)} of {WHOLE} in float")


def test_more_bytes_buy_nearer_answers(applied, in_format, images):
    wanted = answers(in_format("onnx"), images)
    errors = [
        ((answers(applied(limit=limit), images) - wanted) ** 2).mean() for limit in (0.14, 0.2, 0.27, 0.6)
    ]
    assert errors == sorted(errors, reverse=True)


def test_layers_in_float_can_be_ruled_out(applied):
    assert 32 in bits(applied(limit=0.9))
    assert set(bits(applied(limit=0.9, float_layers=False))) == {8}


def test_every_layer_is_told_with_its_bits(applied):
    product = applied(limit=0.2)
    told = {note.what: note.found for note in product.notes}
    listed = [found for about, found in told.items() if about.startswith("layers in")]
    assert sum(int(found.split(":")[0]) for found in listed) == 3
    assert {"0.weight", "2.weight", "5.weight"} == {
        name.strip() for found in listed for name in found.split(":")[1].split(",")
    }


def test_the_lot_falls_by_seed(applied):
    drawn = {tuple(bits(applied(limit=0.21, assign="random", seed=seed))) for seed in range(6)}
    assert len(drawn) > 1


def test_a_budget_below_four_bits_is_told_with_how_much_more(applied):
    with pytest.raises(DoesNotFit, match=r"the budget is .*\n  fix: raise limit by 1\.\d\d times or more"):
        applied(limit=0.1)


def test_a_loss_that_no_network_keeps_within_is_told_with_what_was_tried(applied):
    never = iter(range(100))
    with pytest.raises(DoesNotFit, match=r"no network of 7 lost 0.1 points or less \(0.1.* of the bytes"):
        applied(budget="accuracy", limit=0.001, right=lambda o: np.full(len(o), next(never) == 0))


# --- by accuracy --------------------------------------------------------------------------------------


def lost(product, source, chosen=200):
    images = np.random.default_rng(1).standard_normal((chosen, 3, 8, 8)).astype("f4")
    first = answers(source, images).argmax(1)
    return (answers(product, images).argmax(1) != first).mean()


@pytest.mark.parametrize("limit", [0.05, 0.2])
def test_a_search_by_accuracy_ends_within_what_may_be_lost(limit, applied, in_format):
    product = applied(budget="accuracy", limit=limit)
    assert lost(product, in_format("onnx")) <= limit + 0.02  # kernels and simulation differ at the last bit
    told = {note.what: note.found for note in product.notes}["searched"]
    assert 1 <= told.count("points lost") <= TRIES


def test_a_search_ends_at_once_where_the_fewest_bytes_lose_nothing(applied):
    product = applied(budget="accuracy", limit=0.01, right=lambda outputs: np.ones(len(outputs), bool))
    told = {note.what: note.found for note in product.notes}["searched"]
    assert told.count("points lost") == 1
    assert set(bits(product)) == {4}


def test_every_network_is_judged_on_the_selection_examples(applied, in_format):
    asked = []

    def right(outputs):
        asked.append(outputs)
        return np.ones(len(outputs), bool)

    applied(budget="accuracy", limit=0.01, right=right)
    chosen = np.random.default_rng(1).standard_normal((200, 3, 8, 8)).astype("f4")
    wanted = answers(in_format("onnx"), chosen)
    first, other = asked  # in float, and in the fewest bytes
    np.testing.assert_allclose(first, wanted, atol=1e-4)
    assert 0 < np.abs(other - wanted).mean() < 0.2 * np.abs(wanted).mean()


def test_the_fewest_bytes_are_searched_from_below(applied):
    tight, loose = (spent(applied(budget="accuracy", limit=limit)) for limit in (0.02, 0.3))
    assert loose <= tight


def test_without_examples_to_choose_by_there_is_no_search(applied):
    with pytest.raises(DoesNotFit, match=r"there are none\n  fix: .* or write budget = \"bytes\""):
        applied(budget="accuracy", limit=0.01, selection=False)
    assert applied(selection=False)  # by bytes none are needed


def test_outputs_that_are_no_scores_have_no_accuracy(tmp_path):
    source = one_product(tmp_path, np.linspace(-1, 1, 6, dtype="f4")[:, None], (6,))
    x = np.random.default_rng(0).standard_normal((40, 6)).astype("f4")
    data = Calibration("x", {"x": x}, selection=Selection("x", {"x": x}))
    with pytest.raises(DoesNotFit, match=r"outputs are no class scores\n  fix: write budget = \"bytes\""):
        Adaptive(budget="accuracy", limit=0.01).apply(source, data, tmp_path)


def one_product(folder, weight, shape, kind="MatMul"):
    ends = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", ["n", *shape]), ("y", None))
    ]
    graph = helper.make_graph(
        [helper.make_node(kind, ["x", "w"], ["y"])],
        "one",
        ends[:1],
        ends[1:],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "one.onnx")
    return Artifact("onnx", Float(), (), (), folder / "one.onnx")


# --- by latency ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["MatMul", "ConvTranspose"])
def test_a_budget_of_time_is_one_of_the_layers_own(kind, tmp_path, monkeypatch):
    """What the profiler says is put in: how long this machine takes is its own affair."""
    from qbench.strategies import adaptive

    weight, shape = ((6, 4), (6,)) if kind == "MatMul" else ((6, 4, 2, 2), (6, 4, 4))
    source = one_product(tmp_path, np.ones(weight, "f4"), shape, kind)
    x = np.random.default_rng(0).standard_normal((8, *shape)).astype("f4")
    real, seen = adaptive.layer_times, []

    def told(network, inputs, names):
        found = real(network, inputs, names)
        seen.append(found)
        return dict.fromkeys(found, 1.0 if len(seen) == 1 else 0.4)

    monkeypatch.setattr(adaptive, "layer_times", told)
    (tmp_path / "p").mkdir()
    product = Adaptive(budget="latency", limit=0.5).apply(source, Calibration("x", {"x": x}), tmp_path / "p")
    assert [set(found) for found in seen] == [{f"{kind}_0"}] * 2
    assert all(seconds > 0 for found in seen for seconds in found.values())
    assert set(bits(product)) <= {4, 8}
    seen.clear()
    with pytest.raises(DoesNotFit, match="the budget is"):
        Adaptive(budget="latency", limit=0.3).apply(source, Calibration("x", {"x": x}), tmp_path / "p")


# --- fixed batches ------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [3, 100, 150])
def test_a_network_of_a_fixed_batch_that_divides_nothing(batch, in_format, applied, tmp_path):
    model = onnx.load(in_format("onnx").path)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
    del model.graph.value_info[:]
    (tmp_path / "fixed").mkdir()
    onnx.save(model, tmp_path / "fixed" / "model.onnx")
    source = replace(in_format("onnx"), path=tmp_path / "fixed" / "model.onnx")
    images = np.random.default_rng(0).standard_normal((300, 3, 8, 8)).astype("f4")
    data = Calibration("x", {"images": images}, batch, selection=Selection("s", {"images": images}))
    assert spent(applied(source, data=data, limit=0.2)) <= 0.2 * WHOLE
