"""Post-training quantization: what is stored, what stays in float, and what rounding costs."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from small_networks import convolutions, initializers, network, node, products, ready, relative, said, some

from qbench.errors import DoesNotFit
from qbench.quant.affine import WeightGrid
from qbench.quant.layer_inputs import LayerInputs
from qbench.quant.moments import loss
from qbench.quant.ptq import Ptq
from qbench.quant.qdq_model import QdqModel
from qbench.quant.recipe import FLOAT, Recipe, Scales

IMAGES = some(48, 3, 6, 6)
ROWS = some(64, 8)
W4 = Recipe(WeightGrid(4))


@pytest.fixture
def images():
    return ready(convolutions(), IMAGES)


@pytest.fixture
def rows():
    return ready(products(), ROWS)


def weights(model):
    return {w.node.name: w for w in QdqModel(model).weights}


# --- file, simulation and kernels agree ---------------------------------------------------------------


@pytest.mark.parametrize("recipe", [
    Recipe(), W4, Recipe(observer="minmax"), Recipe(WeightGrid(8, "per_tensor")), Recipe(activation_bits=16),
    Recipe(WeightGrid(4), bias_correction=True),
    Recipe(WeightGrid(4), keep_ends=True), Recipe(layers={"Conv_0": FLOAT, "Gemm_6": 4}),
], ids=str)  # fmt: skip
def test_the_simulation_says_what_the_file_says(recipe, images):
    product = images.ptq.quantized(recipe)
    onnx.checker.check_model(product.model)
    simulated = said(product.simulated(), IMAGES)
    kinds = {n.op_type for n in product.simulated().graph.node}
    assert not kinds & {"QuantizeLinear", "DequantizeLinear"}
    step = np.ptp(images.wanted) / 255
    np.testing.assert_allclose(said(product.model, IMAGES), simulated, atol=1.01 * step)
    assert relative(said(product.model, IMAGES), simulated) < 0.005
    kernels = said(product.model, IMAGES, optimized=True)
    assert relative(kernels, simulated) < 0.02
    assert 0 < relative(simulated, images.wanted) < 0.25


def test_fewer_bits_cost_more(images):
    def error(bits, **more):
        product = images.ptq.quantized(Recipe(WeightGrid(bits, observer="mse"), **more))
        return relative(said(product.simulated(), IMAGES), images.wanted)

    found = [error(bits) for bits in (8, 6, 4, 3, 2)]
    assert found == sorted(found)
    assert found[-1] > 10 * found[0]
    found = [error(8, activation_bits=bits) for bits in (16, 8, 6, 4)]
    assert found == sorted(found)


def test_adaround_and_corrected_biases_gain_at_three_bits(images):
    def error(**more):
        product = images.ptq.quantized(Recipe(WeightGrid(3, observer="mse"), **more))
        return relative(said(product.simulated(), IMAGES), images.wanted)

    assert error(rounding="adaround") < 0.8 * error()
    assert error(bias_correction=True) < error()


# --- what is stored -----------------------------------------------------------------------------------


def test_eight_bits_are_the_nearest_codes_by_hand():
    stored = {"w": np.array([[1, 0.5], [-0.25, 1.27]], "f4"), "b": np.array([0.1, -0.2], "f4")}
    model = network([node("Gemm", ["x", "w", "b"], ["y"])], (2,), stored)
    (weight,) = QdqModel(ready(model, some(16, 2)).ptq.quantized(Recipe()).model).weights
    np.testing.assert_allclose(weight.scale, [1 / 127, 0.01], rtol=1e-5)
    assert weight.codes.tolist() == [[127, 50], [-32, 127]]


def test_four_bits_are_stored_as_such(images):
    model = images.ptq.quantized(W4).model
    packed = [t for t in model.graph.initializer if t.data_type == TensorProto.INT4]
    assert len(packed) == 3
    assert [len(t.raw_data) for t in packed] == [81, 81, 135]  # two to a byte
    assert all(-7 <= numpy_helper.to_array(t).astype(int).min() < 0 for t in packed)


def test_half_the_bytes_where_weights_are_what_there_is():
    made = ready(products(wide=256), some(32, 256))
    eight, four = (len(made.ptq.quantized(recipe).model.SerializeToString()) for recipe in (Recipe(), W4))
    assert four < 0.56 * eight  # biases and scales are the rest


@pytest.mark.parametrize(("grid", "high"), [
    (WeightGrid(6), 31), (WeightGrid(3), 3), (WeightGrid(2), 1), (WeightGrid(8, "per_tensor"), 127),
])  # fmt: skip
def test_narrow_codes_fill_their_grid(grid, high, images):
    for weight in QdqModel(images.ptq.quantized(Recipe(grid)).model).weights:
        assert np.abs(weight.codes).max() == high
        assert weight.scale.size == (1 if grid.granularity == "per_tensor" else len(weight.codes))


@pytest.mark.parametrize("grid", [WeightGrid(4, "per_group", 9), WeightGrid(4, symmetric=False)], ids=str)
def test_what_no_type_holds_is_simulated_with_few_values(grid, images):
    stored = initializers(images.ptq.quantized(Recipe(grid)).simulated())
    matrices = [a.reshape(len(a), -1) for a in stored.values() if a.ndim > 1]
    assert len(matrices) == 3
    group = grid.group_size or None
    for matrix in matrices:
        for row in matrix:
            for cell in row.reshape(-1, group or len(row)):
                assert len(np.unique(cell)) <= 16


def test_the_biases_are_stored_in_steps_of_the_product(images):
    model = QdqModel(images.ptq.quantized(Recipe()).model)
    for weight in model.weights:
        exact = images.ptq._bias(images.ptq.nodes[weight.node.name], len(weight.codes))
        step = model.input_scale(weight.node) * weight.scale
        assert (np.abs(model.bias(weight.node) - exact) <= step / 2 * 1.01).all()


@pytest.mark.parametrize("size", [0, 1e-9, 1e-6])
@pytest.mark.parametrize("recipe", [Recipe(), W4, Recipe(WeightGrid(8, "per_tensor"))], ids=str)
def test_a_channel_with_next_to_no_weights_keeps_its_bias(size, recipe):
    stored = {"w": some(4, 3), "b": np.array([1, -2, 3], "f4")}
    stored["w"][:, 1] *= size
    made = ready(network([node("Gemm", ["x", "w", "b"], ["y"])], (4,), stored), some(32, 4))
    for optimized in (False, True):
        found = said(made.ptq.quantized(recipe).model, made.x, optimized=optimized)
        np.testing.assert_allclose(found[:, 1], -2, atol=0.05)


# --- what stays in float ------------------------------------------------------------------------------


def test_layers_that_are_kept_stay_in_float(images):
    stored = initializers(images.ptq.network)
    product = images.ptq.quantized(Recipe(layers={"Conv_2": FLOAT}))
    assert set(weights(product.model)) == {"Conv_0", "Gemm_6"}
    kept = next(n for n in product.model.graph.node if n.name == "Conv_2")
    np.testing.assert_array_equal(initializers(product.model)[kept.input[1]], stored["w2"])
    everything = dict.fromkeys(images.ptq.nodes, FLOAT)
    np.testing.assert_allclose(
        said(images.ptq.quantized(Recipe(layers=everything)).model, IMAGES), images.wanted, atol=1e-5
    )


def test_a_layers_own_bits_win(images):
    found = weights(images.ptq.quantized(replace(W4, layers={"Conv_0": 8, "Conv_2": 2})).model)
    assert {name: np.abs(w.codes).max() for name, w in found.items()} == {
        "Conv_0": 127, "Conv_2": 1, "Gemm_6": 7
    }  # fmt: skip


def test_weights_alone_are_rounded_where_activations_stay_in_float(images):
    product = images.ptq.quantized(Recipe(WeightGrid(4), activation_bits=32))
    made = product.simulated()
    assert [n.op_type for n in made.graph.node] == [n.op_type for n in images.ptq.network.graph.node]
    by_file = {name: weight.restored for name, weight in weights(product.model).items()}
    stored = initializers(made)
    for n in made.graph.node:
        if n.name in by_file:
            np.testing.assert_allclose(stored[n.input[1]], by_file[n.name], atol=1e-6)
    both = images.ptq.quantized(W4)
    errors = [relative(said(p.simulated(), IMAGES), images.wanted) for p in (product, both)]
    assert 0 < errors[0] < errors[1]


def test_the_network_given_is_not_changed_by_quantizing_it(images):
    before = images.ptq.network.SerializeToString(deterministic=True)
    for recipe in (W4, Recipe(activation_bits=32, bias_correction=True), Recipe(layers={"Conv_2": FLOAT})):
        images.ptq.quantized(recipe)
    assert images.ptq.network.SerializeToString(deterministic=True) == before


# --- narrow activations -------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [4, 6])
def test_narrow_activations_have_few_values_and_ends_have_not(bits, images):
    product = images.ptq.quantized(Recipe(activation_bits=bits))
    simulated = product.simulated()
    assert {"r1", "r2"} <= set(product.narrow)
    assert not {"x", "y"} & set(product.narrow)
    for tensor in product.narrow:
        values = said(_with(simulated, f"{tensor}_DequantizeLinear_Output"), IMAGES)
        assert len(np.unique(values)) <= 2**bits
    assert len(np.unique(said(simulated, IMAGES))) > 2**bits


def _with(model, name):
    """Return the model with this tensor, written as a float, as its one output."""
    other = onnx.ModelProto()
    other.CopyFrom(model)
    del other.graph.output[:]
    other.graph.output.append(onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return other


def test_what_stays_wide_has_the_range_of_wide_codes():
    # one value in a thousand is far out: four bits would cut it off, eight need not
    x = some(64, 8)
    x[::16, 0] *= 4
    made = ready(products(), x)
    wide, narrow = (made.ptq.quantized(Recipe(activation_bits=bits)).model for bits in (8, 4))
    scales = [{a.tensor: a.scale.item() for a in QdqModel(m).activations} for m in (wide, narrow)]
    assert scales[1]["x"] == pytest.approx(scales[0]["x"], rel=1e-4)
    assert scales[1]["r0"] > 5 * scales[0]["r0"]


def test_the_ends_keep_their_weights_and_what_they_read(images):
    product = images.ptq.quantized(Recipe(WeightGrid(2), activation_bits=4, keep_ends=True))
    found = {name: np.abs(w.codes).max() for name, w in weights(product.model).items()}
    assert found == {"Conv_0": 127, "Conv_2": 1, "Gemm_6": 127}
    assert set(product.narrow) == {
        "r1"
    }  # the last layer's input is the second Relu's output, pooled and flat
    values = said(_with(product.simulated(), "f_DequantizeLinear_Output"), IMAGES)
    assert len(np.unique(values)) > 16


# --- corrected biases ---------------------------------------------------------------------------------


@pytest.mark.parametrize("activation_bits", [8, 32])
def test_a_corrected_bias_leaves_no_mean_error(activation_bits, images):
    def shifted(**more):
        recipe = Recipe(WeightGrid(3), activation_bits, **more)
        product = images.ptq.quantized(recipe)
        return product, np.abs((said(product.simulated(), IMAGES) - images.wanted).mean(0))

    before, (product, after) = shifted()[1], shifted(bias_correction=True)
    assert product.corrected == 3
    assert after.max() < 0.1 * before.max()
    if activation_bits == 32:
        np.testing.assert_allclose(after, 0, atol=1e-4)


def test_a_gemm_without_a_bias_is_given_one():
    made = ready(network([node("Gemm", ["x", "w"], ["y"])], (4,), {"w": some(4, 3)}), some(64, 4) + 1)
    product = made.ptq.quantized(Recipe(WeightGrid(2), bias_correction=True))
    assert product.corrected == 1
    onnx.checker.check_model(product.model)
    for model, optimized in ((product.model, False), (product.model, True), (product.simulated(), False)):
        np.testing.assert_allclose(
            (said(model, made.x, optimized=optimized) - made.wanted).mean(0), 0, atol=0.1
        )
    plain = made.ptq.quantized(Recipe(WeightGrid(2)))
    assert (plain.corrected, np.abs((said(plain.model, made.x) - made.wanted).mean(0)).max() > 0.2) == (
        0,
        True,
    )


def test_a_matrix_product_has_no_bias_to_correct():
    made = ready(network([node("MatMul", ["x", "w"], ["y"])], (4,), {"w": some(4, 3)}), some(64, 4))
    assert made.ptq.quantized(Recipe(WeightGrid(2), bias_correction=True)).corrected == 0


def test_layers_kept_in_an_earlier_recipe_are_corrected_in_a_later_one(images):
    first = images.ptq.quantized(Recipe(WeightGrid(3), bias_correction=True, layers={"Conv_2": FLOAT}))
    assert first.corrected == 2
    assert images.ptq.quantized(Recipe(WeightGrid(3), bias_correction=True)).corrected == 3


def test_a_transposed_convolution_is_quantized_and_its_inputs_are_not_known():
    stored = {"w": some(3, 4, 2, 2), "b": some(4)}
    made = ready(
        network([node("ConvTranspose", ["x", "w", "b"], ["y"], strides=[2, 2])], (3, 4, 4), stored),
        some(32, 3, 4, 4),
    )  # noqa: E501
    product = made.ptq.quantized(Recipe(bias_correction=True, rounding="adaround"))
    assert product.corrected == 0
    assert relative(said(product.model, made.x), made.wanted) < 0.02


def test_adaround_is_better_in_the_loss_it_is_told_of():
    rows = ready(products(), some(64, 2) @ some(2, 8) + 0.1 * ROWS)  # inputs that go together

    def losses(rounding):
        product = rows.ptq.quantized(Recipe(WeightGrid(3), rounding=rounding))
        model = QdqModel(product.model)
        weight = model.weights[0]
        seen = LayerInputs().moments(model, weight, rows.ptq, product)
        true = rows.ptq.weight_of(weight)[1]
        return loss(true.T[None], weight.restored.T[None], seen)

    assert (losses("adaround") <= losses("nearest") * (1 + 1e-5)).all()
    assert losses("adaround").sum() < 0.9 * losses("nearest").sum()


def test_adaround_leaves_the_mean_to_a_bias_that_is_corrected():
    """Inputs of one large mean and nothing else in common: only errors that add up can be made up for."""
    signs = np.array([[1.0]])
    for _ in range(4):  # columns at right angles, all but the first of mean 0
        signs = np.block([[signs, signs], [signs, -signs]])
    x = (10 + signs[:, 1:9]).astype("f4")
    made = ready(network([node("Gemm", ["x", "w", "b"], ["y"])], (8,), {"w": some(8, 6), "b": some(6)}), x)

    def codes(**more):
        product = made.ptq.quantized(Recipe(WeightGrid(3), activation_bits=32, **more))
        return weights(product.model)["Gemm_0"].codes

    assert not np.array_equal(codes(rounding="adaround"), codes())
    np.testing.assert_array_equal(codes(rounding="adaround", bias_correction=True), codes())


# --- networks of every kind ---------------------------------------------------------------------------


def test_a_network_of_a_fixed_batch():
    made = ready(convolutions(batch=16), IMAGES[:16])
    product = made.ptq.quantized(Recipe(WeightGrid(4), bias_correction=True))
    assert relative(said(product.model, IMAGES[:16]), made.wanted) < 0.2


def shared(bias="c"):
    nodes = [
        node("Gemm", ["x", "w", "b"], ["h"]),
        node("Relu", ["h"], ["r"]),
        node("Gemm", ["r", "w", bias], ["y"]),
    ]
    return network(nodes, (6,), {"w": some(6, 6), "b": some(6), "c": 5 * some(6, seed=1)})


@pytest.mark.parametrize("recipe", [
    Recipe(), W4, Recipe(WeightGrid(4, observer="mse")), Recipe(WeightGrid(4), rounding="adaround"),
    Recipe(WeightGrid(4), bias_correction=True),
], ids=str)  # fmt: skip
def test_a_weight_that_two_nodes_share(recipe):
    made = ready(shared(), some(64, 6))
    product = made.ptq.quantized(recipe)
    simulated, kernels = said(product.simulated(), made.x), said(product.model, made.x, optimized=True)
    assert relative(simulated, made.wanted) < 0.1
    assert relative(kernels, simulated) < 0.02  # an engine takes a bias in steps of its own weight's scale
    if recipe.bias_correction:
        assert product.corrected == 2
        plain = made.ptq.quantized(replace(recipe, bias_correction=False))
        errors = [np.abs((said(p.simulated(), made.x) - made.wanted).mean(0)).max() for p in (plain, product)]
        assert errors[1] < 0.5 * errors[0]


def test_a_shared_weight_is_rounded_in_both_places_where_activations_stay_in_float():
    made = ready(shared(), some(64, 6))
    product = made.ptq.quantized(Recipe(WeightGrid(2), activation_bits=32)).simulated()
    stored = initializers(product)
    first, second = (stored[n.input[1]] for n in product.graph.node if n.op_type == "Gemm")
    np.testing.assert_array_equal(first, second)
    assert len(np.unique(np.abs(first[:, 0]))) <= 2


def test_a_bias_that_two_nodes_share():
    made = ready(shared(bias="b"), some(64, 6))
    product = made.ptq.quantized(Recipe(WeightGrid(4)))
    simulated, kernels = said(product.simulated(), made.x), said(product.model, made.x, optimized=True)
    assert relative(simulated, made.wanted) < 0.1
    assert relative(kernels, simulated) < 0.02


def test_a_grouped_transposed_convolution_is_quantized_with_its_bias_apart():
    nodes = [
        node("Conv", ["x", "v"], ["h"]),
        node("ConvTranspose", ["h", "w", "b"], ["y"], group=2),
    ]
    stored = {"v": some(4, 3, 1, 1), "w": some(4, 3, 3, 3), "b": some(6)}
    made = ready(network(nodes, (3, 5, 5), stored), some(16, 3, 5, 5))
    product = made.ptq.quantized(Recipe())
    assert set(weights(product.model)) == {"Conv_0", "ConvTranspose_1"}
    assert relative(said(product.model, made.x), made.wanted) < 0.02


def test_numbers_that_are_none_in_the_network_are_named():
    nodes = [node("Log", ["x"], ["h"]), node("Gemm", ["h", "w"], ["y"])]
    made = Ptq(network(nodes, (4,), {"w": some(4, 3)}), lambda: [{"x": some(8, 4)}], "a test")
    with pytest.raises(DoesNotFit, match="a test cannot take a scale from 'h'"):
        made.quantized(Recipe())


def test_one_example_is_enough(rows):
    one = Ptq(products(), lambda: [{"x": ROWS[:1]}], "a test")
    product = one.quantized(Recipe(bias_correction=True, rounding="adaround"))
    assert relative(said(product.model, ROWS[:1]), rows.wanted[:1]) < 0.05


# --- the same network again ---------------------------------------------------------------------------


def test_ranges_are_those_of_all_the_data_whatever_is_looked_at(images):
    """A layer kept in float rounds other tensors than were seen before."""
    fresh = Ptq(convolutions(), images.ptq.batches, "a test")
    few = fresh.looking_at(lambda: [{"x": IMAGES[:1] * 0.1}])
    kept = Recipe(layers={"Conv_2": FLOAT})
    found, wanted = (
        {a.tensor: a.scale.item() for a in QdqModel(p.quantized(kept).model).activations}
        for p in (few, images.ptq)
    )
    assert found == wanted
    assert fresh._seen is few._seen


def test_scales_that_were_learned_are_taken(rows):
    before = QdqModel(rows.ptq.quantized(Recipe()).model)
    steps = {a.tensor: a.scale.item() for a in before.activations}
    given = Scales({"Gemm_0": np.full((8, 1), 0.02, "f4")}, {"x": 99.0, "r0": steps["r0"] / 2})
    after = QdqModel(rows.ptq.quantized(Recipe(), given).model)
    found = {a.tensor: a.scale.item() for a in after.activations}
    assert found["r0"] == pytest.approx(steps["r0"] / 2)
    assert found["x"] == pytest.approx(99)
    first, second = after.weights
    np.testing.assert_array_equal(first.scale, np.full(8, 0.02, "f4"))
    np.testing.assert_array_equal(second.codes, before.weights[1].codes)


def test_a_scale_that_was_learned_lets_nothing_through_that_a_clip_cut_off():
    nodes = [
        node("Gemm", ["x", "w"], ["h"]),
        node("Clip", ["h", "low", "high"], ["c"]),
        node("Gemm", ["c", "w"], ["y"]),
    ]
    made = ready(network(nodes, (8,), {"w": some(8, 8), "low": np.float32(0), "high": np.float32(1.5)}), ROWS)
    recipe = Recipe(observer="minmax")
    before = made.ptq.quantized(recipe)
    assert "Clip" not in {n.op_type for n in before.model.graph.node}
    assert made.ptq.widest(QdqModel(before.model), {}) == {"c": pytest.approx(1.5 / 255)}
    after = made.ptq.quantized(recipe, Scales({}, {"x": 0.1, "c": 0.1}))
    found = {a.tensor: a.scale.item() for a in QdqModel(after.model).activations}
    assert (found["x"], found["c"]) == (pytest.approx(0.1), pytest.approx(1.5 / 255))
    assert said(_with(after.simulated(), "c_DequantizeLinear_Output"), ROWS).max() == pytest.approx(1.5)


def test_another_network_of_the_same_nodes_takes_the_same_ranges(rows):
    rows.ptq.quantized(Recipe())
    other = products()
    for tensor in other.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 3, tensor.name))
    found, wanted = (
        {a.tensor: a.scale.item() for a in QdqModel(p.quantized(Recipe()).model).activations}
        for p in (rows.ptq.trained(other), rows.ptq)
    )
    assert found == wanted
