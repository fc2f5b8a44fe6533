"""The weight reader finds what is multiplied: each input of a product stored in turn, as a network has it."""

from math import prod

import numpy as np
import pytest
from cases import published, stored_alone

from qbench.quant.qdq_graph import weights_in

# From the standard's own text: operator -> the inputs that it multiplies the data with, or that with them.
MULTIPLIED = {
    "Conv": {1}, "ConvTranspose": {1}, "ConvInteger": {1}, "QLinearConv": {3}, "DeformConv": {1},
    "Gemm": {0, 1}, "MatMul": {0, 1}, "MatMulInteger": {0, 1}, "QLinearMatMul": {0, 3},
    "LSTM": {1, 2}, "GRU": {1, 2}, "RNN": {1, 2},
}  # fmt: skip
ADDED = {
    "Gemm": {2},
    "DeformConv": {2, 4},
    "LSTM": {3, 5, 6, 7},
    "GRU": {3, 5},
    "RNN": {3, 5},
}  # biases, states, offsets
BYTES = {"float32": 4, "float64": 8, "float16": 2, "int8": 1, "uint8": 1, "int32": 4, "int64": 8}
ALONE = [node for node in published() if len(node.model.graph.node) == 1]
PRODUCTS = [node for node in ALONE if node.operators & set(MULTIPLIED)]


def is_matrix(array):
    return isinstance(array, np.ndarray) and array.dtype.kind == "f" and sum(s > 1 for s in array.shape) > 1


@pytest.mark.parametrize("node", PRODUCTS, ids=lambda node: node.name)
def test_what_is_multiplied_is_found_with_its_bytes(node):
    (operator,) = node.model.graph.node
    for position in MULTIPLIED[operator.op_type]:
        name = operator.input[position]
        array = node.given[name]
        (weight,) = [one for one in weights_in(stored_alone(node, name)) if one.name == name]
        assert weight.operator == operator.op_type
        assert weight.multiplied
        assert weight.elements == prod(array.shape)
        assert weight.stored_bytes == prod(array.shape) * BYTES[array.dtype.name]
        assert weight.bits == 8 * BYTES[array.dtype.name]
        assert weight.channels == max(array.shape)


def test_a_matrix_that_no_known_operator_multiplies_is_listed_all_the_same():
    seen = 0
    for node in ALONE:
        (operator,) = node.model.graph.node
        added = {operator.input[at] for at in ADDED.get(operator.op_type, ()) if at < len(operator.input)}
        for name, array in node.given.items():
            if name not in added and is_matrix(array):
                listed = [one for one in weights_in(stored_alone(node, name)) if one.name == name]
                assert listed, f"{node.name}: {name} is in the file and in no list"
                assert {one.elements for one in listed} == {array.size}, node.name
                seen += 1
    assert seen > 500
