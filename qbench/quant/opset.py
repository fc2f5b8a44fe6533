"""Raising the operator set of an ONNX network by converting it: the number alone says nothing of the nodes.

Softmax below 13 flattens its input to a matrix, and from 13 on it works along one axis: a network whose
number was only written anew answers something else, and no reader complains. Nor does onnx's own converter
do all that it takes (seen with onnx 1.23.2): it drops functions of the file itself, it leaves the noted
shapes of values that it has made as scalars, it does not raise the file format's version with the operators',
a second import of the same operators stays at the old number, and Hardmax and Resize change their answers.
What it gets wrong is mended here (`qbench.quant.old_forms`), or refused.
"""

from __future__ import annotations

from typing import Any

from qbench.errors import DoesNotFit
from qbench.quant.graphs import graphs_and_functions, graphs_in
from qbench.quant.old_forms import after_raising, before_raising
from qbench.reasons import reason_of

STANDARD = ("", "ai.onnx")  # two names of one domain: the specification's own operators
WITHOUT_LISTED = 4  # the first version of the file format in which a stored tensor need not be an input too

# What onnx's converter leaves as it is, and the operator set from which it means something else:
# before 9, Scan had a batch axis in front of what it scans (seen with onnx 1.23.2).
WRONG = {"Scan": 9}


def opset_of(model: Any) -> int:
    """Return which version of the standard's operators the network uses; 0 where it uses none of them."""
    return max((entry.version for entry in model.opset_import if entry.domain in STANDARD), default=0)


def raised(model: Any, opset: int) -> Any:
    """Return the network converted to this operator set; the one that is given stays as it is.

    Names of inputs, outputs and stored tensors stay. Calls of functions that the file brings are written out.
    One that is new enough already is returned itself.

    Raises:
        DoesNotFit: there is no exact conversion, or what came of it is no valid network.

    Source:
        onnx.version_converter; the checks are onnx.checker's, with the types of all values inferred.
    """
    import onnx
    from onnx import helper, version_converter

    before = opset_of(model)
    if before >= opset:
        return model
    whole = without_functions(with_one_standard_domain(model))
    if not before and not _uses_the_standard(whole):  # operators of other domains alone: nothing to convert
        return _importing(whole, opset)
    changed = _wrongly_converted(whole, before)
    if changed:
        raise DoesNotFit(
            f"this network is in ONNX operator set {before} and cannot be raised to {opset}: {changed} means "
            f"something else from {WRONG[changed]} on, and onnx's converter writes it as it stands",
            fix=f"export it again with opset_version={opset} or newer",
        )
    try:
        after = version_converter.convert_version(before_raising(whole, before, opset), opset)
        after_raising(after, before, opset)
        _take_off_stale_shapes(after)
        after.ir_version = max(after.ir_version, helper.find_min_ir_version_for(after.opset_import, True))
        if after.ir_version >= WITHOUT_LISTED:
            take_off_listed_tensors(after)
        onnx.checker.check_model(after, full_check=_is_sound(whole))
    except Exception as error:  # onnx raises its own ConvertError, RuntimeError and more
        raise DoesNotFit(
            f"this network is in ONNX operator set {before} and cannot be raised to {opset}: "
            f"{_reason(error)}",
            fix=f"export it again with opset_version={opset} or newer",
        ) from error
    for prop in model.metadata_props:
        if prop.key not in {kept.key for kept in after.metadata_props}:
            after.metadata_props.add(key=prop.key, value=prop.value)
    return after


def with_one_standard_domain(model: Any) -> Any:
    """Return the network with the standard's operators under one name; itself, where it is so already.

    Where the two names stand with different numbers, the larger one holds: it is what onnxruntime takes.
    """
    import onnx

    names = [entry.domain for entry in model.opset_import]
    nodes = [node for graph in graphs_and_functions(model) for node in graph.node]
    if names.count("") <= 1 and "ai.onnx" not in names and not any(n.domain == "ai.onnx" for n in nodes):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for holder in (copy, *copy.functions):
        _unify(holder)
    for graph in graphs_and_functions(copy):
        for node in graph.node:
            if node.domain == "ai.onnx":
                node.domain = ""
    return copy


def without_functions(model: Any) -> Any:
    """Return the network with every call of a function of its own written out; itself, where it has none."""
    from onnx import inliner

    return inliner.inline_local_functions(model, convert_version=True) if model.functions else model


def take_off_listed_tensors(model: Any) -> int:
    """Take stored tensors off the list of inputs, in place; return how many were there.

    Format version 3 demanded them there. From 4 on they would be inputs with a default, which no engine may
    fold into what follows.
    """
    stored = {tensor.name for tensor in model.graph.initializer}
    listed = [value for value in model.graph.input if value.name in stored]
    for value in listed:
        model.graph.input.remove(value)
    return len(listed)


def _unify(holder: Any) -> None:
    """Import the standard's operators once, under their short name."""
    versions = [entry.version for entry in holder.opset_import if entry.domain in STANDARD]
    others = [(entry.domain, entry.version) for entry in holder.opset_import if entry.domain not in STANDARD]
    if not versions:
        return
    del holder.opset_import[:]
    for domain, version in (("", max(versions)), *dict(others).items()):
        holder.opset_import.add(domain=domain, version=version)


def _uses_the_standard(model: Any) -> bool:
    return any(node.domain in STANDARD for graph in graphs_in(model.graph) for node in graph.node)


def _importing(model: Any, opset: int) -> Any:
    """Return a copy that imports the standard's operators, for whoever adds some."""
    from onnx import helper

    copy = type(model)()
    copy.CopyFrom(model)
    copy.opset_import.add(domain="", version=opset)
    copy.ir_version = max(copy.ir_version, helper.find_min_ir_version_for(copy.opset_import, True))
    return copy


def _wrongly_converted(model: Any, before: int) -> str | None:
    """Return the first operator that onnx's converter takes over although its meaning has changed."""
    for graph in graphs_in(model.graph):
        for node in graph.node:
            if node.domain == "" and before < WRONG.get(node.op_type, 0):
                return str(node.op_type)
    return None


def _take_off_stale_shapes(model: Any) -> None:
    for graph in graphs_in(model.graph):
        del graph.value_info[:]


def _is_sound(model: Any) -> bool:
    """Tell whether types could be inferred before: what they were broken by is not the conversion then."""
    import onnx

    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception:  # it raises its own kinds and the shape inference's
        return False
    return True


def _reason(error: Exception) -> str:
    """Return the part of onnx's message that has the reason, without the source file that it begins with."""
    text = reason_of(str(error))
    return text.partition("` failed: ")[2] or text
