"""Channels that leave a network for good: its weights become smaller ones, and the rest fits together still.

Ranked by the norm of the weights that make a channel, summed over all layers that share it (Li et al. 2017,
arXiv:1608.08710, sections 3.1 and 3.3).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import numpy as np

from qbench.errors import DoesNotFit
from qbench.quant.channel_spaces import Space, channel_spaces
from qbench.quant.pruning import finite_or_raise, kinds_in
from qbench.quant.qdq_graph import weights_in


@dataclass(frozen=True, slots=True)
class Narrowed:
    """What is gone; `stays` says which channels are left, by the name of every weight that makes some."""

    groups: int  # of coupled channels, in which some went
    whole: int  # groups that stay as they are
    channels: tuple[int, int]  # of all groups, before and after
    stays: dict[str, np.ndarray]

    def __str__(self) -> str:
        """Write it as the record does."""
        before, after = self.channels
        return (
            f"{before - after:,} of {before:,} channels ({1 - after / before:.1%}) are gone, "
            f"from {self.groups} groups of coupled layers; {self.whole} groups stay whole"
        )


def kept(size: int, share: float, multiple: int) -> int:
    """Return how many of so many channels stay: the nearest multiple, the larger of two as near, never 0.

    Fewer channels than a multiple are counted one by one.
    """
    step = multiple if size > multiple else 1
    nearest = floor(size * (1 - share) / step + 0.5) * step
    return min(max(nearest, step), size)


def narrow(model: Any, share: float, *, norm: str, multiple: int, technique: str, wish: str = "") -> Narrowed:
    """Take this share of every group of coupled channels out of the model itself, those of the least norm.

    wish: what the user wrote for the share, where that is another number.

    Raises:
        DoesNotFit: no group may be cut, or so small a share of none is a whole multiple; or a weight holds
            NaN or an infinite number.
    """
    from onnx import numpy_helper

    spaces = channel_spaces(model)
    cuttable = [space for space in spaces if space.cuttable]
    if not cuttable:
        raise _nothing(model, spaces, technique)
    arrays = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for name in [part.name for space in spaces for part in space.parts]:
        finite_or_raise(technique, name, arrays[name])
    chosen = {}
    for space in cuttable:
        count = kept(space.size, share, multiple)
        if count < space.size:
            order = np.argsort(-strengths(space, arrays, norm), kind="stable")  # of equals the earlier stays
            chosen[id(space)] = np.sort(order[:count])
    if not chosen:
        raise _too_little(cuttable, share, multiple, technique, wish)
    cut = [space for space in cuttable if id(space) in chosen]
    for space in cut:
        _cut(model, space, chosen[id(space)], arrays)
    for tensor in model.graph.initializer:
        if list(tensor.dims) != list(arrays[tensor.name].shape):
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(arrays[tensor.name]), tensor.name))
    before = sum(space.size for space in spaces)
    gone = sum(space.size - len(chosen[id(space)]) for space in cut)
    stays = {p.name: chosen[id(s)] for s in cut for p in s.parts if p.role == "makes"}
    return Narrowed(len(cut), len(spaces) - len(cut), (before, before - gone), stays)


def strengths(space: Space, arrays: dict[str, np.ndarray], norm: str) -> np.ndarray:
    """Return (channels,): the norm of the weights that make each, depthwise ones too, summed over layers.

    Source:
        Li et al. 2017, arXiv:1608.08710, section 3.1: the sum of a filter's absolute weights; l2 is the
        alternative of its section 4.4.
    """
    total = np.zeros(space.size)
    depthwise = {node.input[1] for node in space.grouped}
    for part in space.parts:
        if part.role == "makes" or part.name in depthwise:
            rows = np.abs(np.moveaxis(arrays[part.name], part.axis, 0).reshape(space.size, -1).astype("f8"))
            total += rows.sum(1) if norm == "l1" else np.sqrt((rows**2).sum(1))
    return total


def work_in_words(before: Any, after: Any) -> str:
    """Return the multiply-accumulates and bytes of two networks, as the record says them."""
    words = []
    for model in (before, after):
        macs = [weight.macs for weight in weights_in(model)]
        work = "" if None in macs else f"{sum(m or 0 for m in macs):,} multiply-accumulates and "
        words.append(f"{work}{model.ByteSize():,} bytes")
    return f"{words[0]} before, {words[1]} after"


def _cut(model: Any, space: Space, stays: np.ndarray, arrays: dict[str, np.ndarray]) -> None:
    from onnx import numpy_helper

    for part in space.parts:
        index = (stays[:, None] * part.repeat + np.arange(part.repeat)).reshape(-1)
        arrays[part.name] = np.take(arrays[part.name], index, part.axis)
    for node in space.grouped:
        next(a for a in node.attribute if a.name == "group").i = len(stays)
    for node, repeat in space.written:
        target = next(t for t in _constants(model) if t.name == node.input[1])
        shape = numpy_helper.to_array(target).copy()
        shape[1] = len(stays) * repeat
        name = f"{node.output[0]}_narrow"  # its own: other nodes may share the old one
        model.graph.initializer.append(numpy_helper.from_array(shape, name))
        arrays[name] = shape
        node.input[1] = name


def _constants(model: Any) -> list[Any]:
    """Return what is stored, Constant nodes under the names of their outputs."""
    found = list(model.graph.initializer)
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found.append(type(node.attribute[0].t)())
            found[-1].CopyFrom(node.attribute[0].t)
            found[-1].name = node.output[0]
    return found


def _nothing(model: Any, spaces: list[Space], technique: str) -> DoesNotFit:
    reasons = Counter(space.whole or "read by nothing" for space in spaces)
    why = ", ".join(f"{reason} x{count}" for reason, count in reasons.most_common()) or "no stored weight"
    return DoesNotFit(
        f"{technique} follows channels from one stored weight to the next, and may cut none of this network "
        f"(found: {kinds_in(model)}; they stay because of: {why})",
        fix=f"leave {technique} out for this network, or take magnitude_prune, which changes no shape",
    )


def _too_little(spaces: list[Space], share: float, multiple: int, technique: str, wish: str) -> DoesNotFit:
    sizes = sorted({space.size for space in spaces})
    tries = [hundredths / 100 for hundredths in range(ceil(share * 100), 100)]
    works = [s for s in tries if any(kept(size, s, multiple) < size for size in sizes)]
    asked = f"share = {works[0]:g} or more" if works else "a smaller multiple"
    if wish and works:
        asked = f"width = {1 - works[0]:g} or less"
    return DoesNotFit(
        f"{technique}: {wish or f'share = {share:g}'} takes none of "
        f"{', '.join(map(str, sizes))} channels, counted in multiples of {multiple}",
        fix=f"write {asked}" + ("" if multiple == 1 or wish else ", or multiple = 1"),
    )
