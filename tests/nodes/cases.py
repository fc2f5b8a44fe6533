"""The node tests that the onnx package ships: models of one operator with published inputs and answers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Node:
    """A published case: the model, and by name what it is given and what it has to answer."""

    name: str
    model: Any
    given: dict[str, Any]
    answers: dict[str, Any]
    rtol: float
    atol: float

    @property
    def operators(self) -> set[str]:
        """Return the kinds of its nodes."""
        return {node.op_type for node in self.model.graph.node}

    @property
    def expanded(self) -> bool:
        """Tell whether it is another case with the operator written out in simpler ones."""
        return self.name.endswith("_expanded") or "_expanded_ver" in self.name


@cache
def published() -> tuple[Node, ...]:
    """Return the cases in the order of their names."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package computes its answers to overflows when it is loaded
        found = load_model_tests(kind="node")
    nodes = sorted((_node(case) for case in found), key=lambda node: node.name)
    return tuple(node for node in nodes if not _left_out(node))


# Cases that no list can hold to: their answers are one draw of many, or depend on this machine.
DRAWN = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
OF_THIS_MACHINE = {"StringNormalizer", "ImageDecoder"}  # its locales; its libraries of images


def _left_out(node: Node) -> bool:
    return bool(node.operators & (DRAWN | OF_THIS_MACHINE)) or node.name.startswith("training_dropout")


def _node(case: Any) -> Node:
    ((given, answers),) = case.data_sets
    graph = case.model.graph
    return Node(
        case.name.removeprefix("test_"),
        case.model,
        {value.name: _plain(one) for value, one in zip(graph.input, given, strict=True)},
        {value.name: _plain(one) for value, one in zip(graph.output, answers, strict=True)},
        case.rtol,
        case.atol,
    )


def _plain(value: Any) -> Any:
    """Return an array, a list of arrays or None; numpy's own scalars become arrays."""
    from onnx import TensorProto, numpy_helper

    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return None if value is None else np.asarray(value)


def stored(node: Node, free: int = 1) -> Any:
    """Return the case's model with all inputs but the first stored in it, as weights of a network are."""
    names = [value.name for value in node.model.graph.input][free:]
    return _storing(node, [name for name in names if _is_array(node.given[name])])


def stored_alone(node: Node, name: str) -> Any:
    """Return the case's model with this one input stored in it."""
    return _storing(node, [name])


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind not in "OUS"


def _storing(node: Node, names: list[str]) -> Any:
    import onnx
    from onnx import numpy_helper

    model = onnx.ModelProto()
    model.CopyFrom(node.model)
    for value in [value for value in model.graph.input if value.name in names]:
        model.graph.initializer.append(numpy_helper.from_array(node.given[value.name], value.name))
        if model.ir_version > 3:  # up to 3, what is stored has to be an input as well
            model.graph.input.remove(value)
    return model


# What an answer may be off by, over the largest number in it: another order of a sum is no other answer.
STEPS = {"float16": 2e-3, "bfloat16": 1e-2}


def difference(node: Node, answers: Sequence[Any]) -> str | None:
    """Return what of these answers, in the order of the outputs, is not as published; None where all is."""
    if len(answers) != len(node.answers):
        return f"{len(answers)} outputs for {len(node.answers)}"
    for (name, right), found in zip(node.answers.items(), answers, strict=True):
        words = _differs(node, right, found)
        if words:
            return f"{name}: {words}" if len(node.answers) > 1 else words
    return None


def _differs(node: Node, right: Any, found: Any) -> str | None:
    if right is None or found is None:
        return None if right is found else "nothing, or no nothing"
    if isinstance(right, list):
        if not isinstance(found, list) or len(found) != len(right):
            return "a sequence of another length"
        told = (_differs(node, one, two) for one, two in zip(right, found, strict=True))
        return next(filter(None, told), None)
    return _differ(node, right, np.asarray(found))


def _differ(node: Node, right: np.ndarray, found: np.ndarray) -> str | None:
    if found.shape != right.shape:
        return f"shape {found.shape} for {right.shape}"
    if _kind(right) != _kind(found):
        return f"{found.dtype} for {right.dtype}"
    if _kind(right) == "text":
        return None if [str(x) for x in right.flat] == [str(x) for x in found.flat] else "other strings"
    if _kind(right) in ("number", "bool"):
        return None if np.array_equal(right, found) else "other numbers"
    wide = "c16" if right.dtype.kind == "c" else "f8"
    one, two = right.astype(wide), found.astype(wide)
    size = np.abs(one[np.isfinite(one)]).max(initial=0.0)
    atol = max(node.atol, STEPS.get(right.dtype.name, 1e-5) * size)
    if np.allclose(two, one, rtol=node.rtol, atol=atol, equal_nan=True):
        return None
    off = np.abs(one - two)
    return f"off by {np.max(off[~np.isnan(off)], initial=0.0):.2g}"


def _kind(array: np.ndarray) -> str:
    """Return what an array holds; a reader may answer in a wider type of the same kind."""
    if array.dtype.kind in "iu" or array.dtype.name in ("int4", "uint4", "int2", "uint2"):
        return "number"
    return {"b": "bool", "O": "text", "U": "text", "S": "text"}.get(array.dtype.kind, "float")
