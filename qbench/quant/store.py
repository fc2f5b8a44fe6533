"""The tensors stored in an ONNX model, opened for change: what others share is not changed under them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import numpy as np

from qbench.quant.qdq_graph import OnnxGraph


class Store:
    """A model whose stored tensors are replaced in place."""

    def __init__(self, model: Any) -> None:
        """Index the model."""
        self.model = model
        self.graph = OnnxGraph(model)

    def array(self, name: str) -> np.ndarray:
        """Return a stored tensor."""
        from onnx import numpy_helper

        return numpy_helper.to_array(self.graph.stored[name])

    def put(self, name: str, array: np.ndarray) -> None:
        """Replace an initializer or a Constant, or add an initializer."""
        from onnx import numpy_helper

        self.put_tensor(numpy_helper.from_array(np.asarray(array, order="C"), name))

    def give(self, nodes: list[Any], position: int, array: np.ndarray, word: str) -> None:
        """Let these nodes, and no other, take this array as this input; what others share with them stays.

        Raises:
            KeyError: a name is no stored tensor.
        """
        names = {node.input[position] if position < len(node.input) else "" for node in nodes}
        within = {node.output[0] for node in nodes}
        users = [node for node in self.graph.nodes if names.intersection(node.input)]
        name = next(iter(names))
        if len(names) > 1 or not name or any(user.output[0] not in within for user in users):
            name = self.free_name(f"{nodes[0].output[0]}_{word}")
            for node in nodes:
                node.input.extend([""] * (position + 1 - len(node.input)))
                node.input[position] = name
        self.put(name, array)

    def free_name(self, wanted: str) -> str:
        """Return a name that nothing in the file has: the one wanted, or with a number behind it."""
        taken = {*self.graph.stored, *self.graph.maker, *(value.name for value in self.model.graph.input)}
        return next(name for name in _numbered(wanted) if name not in taken)

    def put_tensor(self, tensor: Any) -> None:
        """Replace an initializer or a Constant by this one, or add it."""
        self._drop_constant(tensor.name)
        for kept in self.model.graph.initializer:
            if kept.name == tensor.name:
                kept.CopyFrom(tensor)
                break
        else:
            self.model.graph.initializer.append(tensor)
            kept = self.model.graph.initializer[-1]
        self.graph.stored[tensor.name] = kept

    def drop(self, name: str) -> None:
        """Take an initializer or a Constant out."""
        self._drop_constant(name)
        for tensor in self.model.graph.initializer:
            if tensor.name == name:
                self.model.graph.initializer.remove(tensor)
                break
        self.graph.stored.pop(name, None)

    def _drop_constant(self, name: str) -> None:
        constant = self.graph.maker.get(name)
        if constant is not None and constant.op_type == "Constant":
            self.model.graph.node.remove(constant)
            del self.graph.maker[name]


def _numbered(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}_{number}" for number in count(2))
