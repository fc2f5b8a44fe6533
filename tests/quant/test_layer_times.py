"""Every layer has a time, whatever kernel runs it."""

import numpy as np
import pytest
from small_networks import convolutions, network, node, products, ready, some

from qbench.errors import DoesNotFit
from qbench.quant.layer_times import layer_times
from qbench.quant.recipe import Recipe

TRANSPOSED = [node("ConvTranspose", ["x", "w"], ["h"]), node("Relu", ["h"], ["y"])]
MATMUL = [node("MatMul", ["x", "w"], ["h"]), node("Sigmoid", ["h"], ["y"])]


@pytest.mark.parametrize("made", [
    ready(convolutions(), some(4, 3, 6, 6)),
    ready(products(), some(4, 8)),
    ready(network(TRANSPOSED, (3, 4, 4), {"w": some(3, 4, 2, 2)}), some(4, 3, 4, 4)),
    ready(network(MATMUL, (6,), {"w": some(6, 4)}), some(4, 6)),
], ids=["convolutions", "products", "transposed", "matmul"])  # fmt: skip
def test_float_and_integer_layers_have_a_time(made):
    kinds = ("Conv", "Gemm", "MatMul", "ConvTranspose")
    names = [name for name, n in made.ptq.nodes.items() if n.op_type in kinds]
    one = {"x": made.x[:1]}
    for model in (made.ptq.network, made.ptq.quantized(Recipe()).model):
        found = layer_times(model, one, names)
        assert list(found) == names
        assert all(0 < seconds < 1 for seconds in found.values())


def test_nodes_whose_names_begin_alike_are_told_apart():
    wide = {"w": some(256, 256), "v": some(256, 256), "u": some(256, 1)}
    nodes = [
        node("Gemm", ["x", "w"], ["a"], "g_1"),
        node("Sin", ["a"], ["b"]),
        node("Gemm", ["b", "v"], ["c"], "g_10"),
    ]
    nodes += [node("Sin", ["c"], ["d"]), node("Gemm", ["d", "u"], ["y"], "g_11")]
    model = network(nodes, (256,), wide)
    found = layer_times(model, {"x": some(512, 256)}, ["g_1", "g_10", "g_11"])
    assert len(found) == 3
    assert found["g_1"] < 1.8 * found["g_10"]  # not the sum of all three


def test_only_the_layers_asked_for_must_be_found():
    nodes = [node("MatMul", ["v", "w"], ["k"], "folded"), node("MatMul", ["x", "k"], ["y"], "kept")]
    model = network(nodes, (4,), {"v": some(4, 4), "w": some(4, 4)})
    one = {"x": np.zeros((1, 4), "f4")}
    assert set(layer_times(model, one, ["kept"])) == {"kept"}
    with pytest.raises(DoesNotFit, match='no kernel for layer folded .*\n  fix: write budget = "bytes"'):
        layer_times(model, one, ["folded"])
