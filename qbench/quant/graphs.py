"""Every graph of an ONNX file: the main one, bodies of control flow, and functions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def graphs_in(graph: Any) -> Iterator[Any]:
    """Yield a graph, or a function, and the bodies of its control flow, however deep."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for body in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from graphs_in(body)


def graphs_and_functions(model: Any) -> Iterator[Any]:
    """Yield every graph and function of a file, and what is inside them."""
    for holder in (model.graph, *model.functions):
        yield from graphs_in(holder)
