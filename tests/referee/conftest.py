"""A small network for the voices of these tests, and what it is asked."""

import sys
from pathlib import Path

import pytest
from onnx import helper

sys.path.insert(0, str(Path(__file__).parent))  # for the voices' own processes too

from asked_network import WEIGHTS, X, saved  # noqa: E402


@pytest.fixture
def small(tmp_path):
    """Two products with a Relu behind each, and a sum at the end."""
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["b"], "bend"),
        helper.make_node("MatMul", ["b", "w1"], ["c"], "second"),
        helper.make_node("Relu", ["c"], ["d"], "bend_again"),
        helper.make_node("Add", ["d", "x"], ["y"], "end"),
    ]
    stored = dict(zip(("w0", "w1"), WEIGHTS, strict=True))
    return saved(tmp_path, nodes, [("x", ["N", 4])], [("y", ["N", 4])], stored)


@pytest.fixture
def calls():
    """One example, then three."""
    return [{"x": X[:1]}, {"x": X}]
