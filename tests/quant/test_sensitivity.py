"""What each layer's rounding costs: a layer that was made sensitive is found, and noise is told by hand."""

from dataclasses import replace

import numpy as np
import pytest
from small_networks import convolutions, damaged, network, node, products, ready, relative, said, some

from qbench.quant import ptq
from qbench.quant.affine import WeightGrid
from qbench.quant.qdq_model import QdqModel
from qbench.quant.recipe import FLOAT, Recipe, Settled
from qbench.quant.sensitivity import Layer, alone, layers_of, losses, moved, outputs_of, snr

ROWS = some(96, 8)


def test_the_layers_and_what_they_take():
    made = ready(convolutions(), some(16, 3, 6, 6))
    found = layers_of(made.ptq, Recipe())
    assert [(one.node, one.name, one.elements, one.channels) for one in found] == [
        ("Conv_0", "w1", 162, 6), ("Conv_2", "w2", 162, 6), ("Gemm_6", "w3", 270, 5),
    ]  # fmt: skip
    assert [found[2].stored_bytes(bits) for bits in (FLOAT, 8, 4)] == [1080, 270 + 20, 135 + 20]
    assert Layer("", "", 3, 1).stored_bytes(4) == 2 + 4


@pytest.mark.parametrize("which", [1, 2])
def test_the_layer_that_was_made_sensitive_comes_first(which):
    made = ready(damaged(which), ROWS)
    recipe = Recipe(WeightGrid(8))
    found = list(alone(made.ptq, recipe, layers_of(made.ptq, recipe), (8, 4)))
    assert [(node, bits) for node, bits, _ in found] == [
        (f"Gemm_{2 * number}", bits) for number in range(3) for bits in (8, 4)
    ]
    harm = {node: far for node, bits, far in found if bits == 4}
    assert max(harm, key=harm.get) == f"Gemm_{2 * which}"
    assert all(far >= 0 for far in harm.values())


def test_fewer_bits_move_the_answers_further():
    made = ready(products(), ROWS)
    found = {
        (n, bits): far for n, bits, far in alone(made.ptq, Recipe(), layers_of(made.ptq, Recipe()), (8, 4, 2))
    }
    for layer in ("Gemm_0", "Gemm_2"):
        assert 0 < found[layer, 8] < found[layer, 4] < found[layer, 2]


def test_alone_means_that_nothing_else_is_rounded():
    """Two layers of large numbers, which cancel, would drown this layer's own rounding."""
    large = np.eye(8, dtype="f4") * 1e4
    stored = {"w": some(8, 8) / 3, "big": large, "m": some(8, 8, seed=1) / 3 - large}
    nodes = [
        node("Gemm", ["x", "w"], ["g"]),
        node("Gemm", ["x", "big"], ["up"]),
        node("Gemm", ["x", "m"], ["down"]),
        node("Add", ["up", "down"], ["s"]),
        node("Add", ["g", "s"], ["y"]),
    ]
    made = ready(network(nodes, (8,), stored), ROWS)
    layers = [layer for layer in layers_of(made.ptq, Recipe()) if layer.node == "Gemm_0"]
    (_, _, far), = alone(made.ptq, Recipe(), layers, (8,))  # fmt: skip
    everything = moved(made.wanted, said(made.ptq.quantized(Recipe()).simulated(), ROWS))
    assert far < 1e-3 < everything


def test_outputs_are_those_of_all_examples_in_order():
    made = ready(products(), ROWS)
    np.testing.assert_allclose(outputs_of(made.ptq.network, made.ptq.batches()), made.wanted, atol=1e-5)


def test_how_far_answers_moved_by_hand():
    # (0, ln 3) are a quarter and three quarters, (0, 0) a half each
    wanted, found = np.array([[0, np.log(3)]]), np.array([[0.0, 0.0]])
    by_hand = 0.25 * np.log(0.25 / 0.5) + 0.75 * np.log(0.75 / 0.5)
    assert moved(wanted, found) == pytest.approx(by_hand)
    assert moved(wanted, wanted + 5) == pytest.approx(0, abs=1e-12)
    wanted = np.array([[0.0], [2], [4], [6]])  # variance 5
    assert moved(wanted, wanted + np.array([[1], [1], [0], [0]])) == pytest.approx(0.1)


def test_noise_by_hand():
    # the float layer answers 3 and 4, the other one 3.5 and 4: a signal of 25 and a noise of a quarter
    def one(weight):
        stored = {"w": np.array([[weight, 0], [0, 1]], "f4")}
        return ready(network([node("Gemm", ["x", "w"], ["y"])], (2,), stored), np.array([[1, 4]], "f4"))

    made, other = one(3.0), one(3.5)
    found = snr(made.ptq, other.ptq.network, [Layer("Gemm_0", "w", 4, 2)], made.ptq.batches())
    assert found == {"Gemm_0": pytest.approx(20, abs=1e-3)}


def test_noise_falls_by_six_decibels_a_bit():
    made = ready(products(wide=32, deep=1), some(64, 32))
    layers = layers_of(made.ptq, Recipe())

    def decibels(bits):
        product = made.ptq.quantized(Recipe(WeightGrid(bits), activation_bits=16))
        return snr(made.ptq, product.simulated(), layers, made.ptq.batches())["Gemm_0"]

    np.testing.assert_allclose(np.diff([decibels(bits) for bits in (4, 6, 8)]), 12.04, atol=1.5)


@pytest.mark.parametrize("bits", [8, 4])
def test_every_layers_noise_is_told_where_a_relu_has_gone(bits):
    made = ready(convolutions(), some(32, 3, 6, 6))
    recipe = Recipe(WeightGrid(bits))
    simulated = made.ptq.quantized(recipe).simulated()
    found = snr(made.ptq, simulated, layers_of(made.ptq, recipe), made.ptq.batches())
    assert set(found) == {"Conv_0", "Conv_2", "Gemm_6"}
    assert all((25 if bits == 8 else 10) < decibels < 60 for decibels in found.values())
    whole = -20 * np.log10(relative(said(simulated, made.x), made.wanted))
    assert found["Gemm_6"] == pytest.approx(whole, abs=1)


def test_a_damaged_layer_in_float_brings_answers_back():
    made = ready(damaged(1, 2), ROWS)
    first = made.wanted.argmax(1)
    found = losses(made.ptq, Recipe(), [{"x": ROWS}], lambda outputs: outputs.argmax(1) == first)
    by_node = {loss.layer.node: loss for loss in found.layers}
    back = {name: loss.right.mean() - found.right.mean() for name, loss in by_node.items()}
    assert back["Gemm_2"] == max(back.values()) > 0.1
    assert by_node["Gemm_2"].snr_db < by_node["Gemm_0"].snr_db - 6
    assert [loss.layer.name for loss in found.layers] == ["w0", "w1"]


def test_what_is_right_is_kept_example_by_example():
    made = ready(products(), ROWS)
    shares = iter([0.5, 0.5, 0.75])  # right as a whole, with the first layer in float, with the second
    found = losses(made.ptq, Recipe(), [{"x": ROWS}], lambda o: np.arange(len(o)) < next(shares) * len(o))
    assert [right.sum() for right in (found.right, *(loss.right for loss in found.layers))] == [48, 48, 72]


def test_a_layer_in_float_already_is_not_among_them():
    made = ready(products(), ROWS)
    found = losses(made.ptq, Recipe(layers={"Gemm_0": FLOAT}), [{"x": ROWS}], lambda o: o[:, 0] > 0)
    assert [loss.layer.node for loss in found.layers] == ["Gemm_2"]


def asked(made, recipe):
    """Return the outputs that `losses` has judged: of the whole, then with each layer in float."""
    heard = []

    def right(outputs):
        heard.append(outputs)
        return outputs[:, 0] > 0

    losses(made.ptq, recipe, made.ptq.batches(), right)
    return heard


def made_anew(made, recipe, layer):
    """Return the outputs of the network quantized from the start with this layer in float."""
    product = made.ptq.quantized(replace(recipe, layers={layer: FLOAT}))
    return outputs_of(product.simulated(), made.ptq.batches())


@pytest.mark.parametrize("recipe", [
    Recipe(), Recipe(WeightGrid(4), activation_bits=4, keep_ends=True),
    Recipe(WeightGrid(4), activation_bits=32), Recipe(WeightGrid(4, symmetric=False)),
    Recipe(WeightGrid(4, "per_tensor"), symmetric=True),
], ids=["8", "4 and 4", "weights alone", "asymmetric", "per tensor"])  # fmt: skip
def test_plainly_rounded_a_layer_back_in_float_is_the_network_made_anew(recipe):
    made = ready(convolutions(), some(32, 3, 6, 6))
    whole, *parts = asked(made, recipe)
    for found, layer in zip(parts, ("Conv_0", "Conv_2", "Gemm_6"), strict=True):
        np.testing.assert_array_equal(found, made_anew(made, recipe, layer))
        assert np.abs(found - whole).max() > 0


LEARNED = Recipe(WeightGrid(3), rounding="adaround", bias_correction=True)


def test_adaround_and_bias_correction_are_asked_once_a_layer(monkeypatch):
    counts = dict.fromkeys(("adaround", "shift"), 0)

    def counting(name):
        true = getattr(ptq, name)

        def call(*arguments):
            counts[name] += 1
            return true(*arguments)

        return call

    for name in counts:
        monkeypatch.setattr(ptq, name, counting(name))
    made = ready(convolutions(), some(32, 3, 6, 6))
    assert len(asked(made, LEARNED)) == 4
    assert counts == {"adaround": 3, "shift": 3}


def codes_and_biases(model):
    opened = QdqModel(model)
    codes = {weight.node.name: weight.codes for weight in opened.weights}
    return codes, {weight.node.name: opened.bias(weight.node) for weight in opened.weights}


def test_the_layers_beside_one_in_float_stay_as_they_were_learned():
    """Learned anew beside a layer in float, the others would come out otherwise: that is not compared."""
    made = ready(convolutions(), some(32, 3, 6, 6))
    whole = made.ptq.quantized(LEARNED, settled=Settled())
    kept = made.ptq.quantized(replace(LEARNED, layers={"Conv_0": FLOAT}), settled=whole.settled)
    (first, biases), (second, same) = (codes_and_biases(product.model) for product in (whole, kept))
    assert set(first) - set(second) == {"Conv_0"}
    for name, codes in second.items():
        np.testing.assert_array_equal(codes, first[name])
        np.testing.assert_array_equal(same[name], biases[name])
    _, found, *_ = asked(made, LEARNED)
    assert np.abs(found - made_anew(made, LEARNED, "Conv_0")).max() > 0


def test_nothing_is_kept_of_a_product_unless_it_is_asked_for():
    assert ready(products(), ROWS).ptq.quantized(Recipe()).settled is None
