"""Two networks in one ONNX file: the second answers where the first is unsure.

Source:
    Wang et al. 2018, "IDK Cascades", arXiv:1706.00885, section 4: the cascade by a threshold on the first
    network's confidence, here its largest probability after softmax.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from qbench.quant.qdq_graph import copied

ESCALATED = "escalated"  # the file's last output, (1,): 1 where the second network has answered, else 0
CONFIDENCE = "gate/confidence"  # the tensor, (1,): the largest probability of the first network
AXES_ARE_AN_INPUT = 18  # the operator set from which on ReduceMax takes its axes so
NEVER, ALWAYS = 0.0, 1.0  # thresholds


def escalated_at(names: Sequence[str]) -> int | None:
    """Return which of a network's outputs says that its second network answered; None where none does."""
    return names.index(ESCALATED) if ESCALATED in names[1:] else None


def cascaded(low: Any, high: Any, threshold: float) -> Any:
    """Return one model of both, for one input at a time: `high` answers unless `low` is surer than this.

    Both have the same inputs and one output, class scores, first dimension the batch; neither is changed. An
    answer that is not a number is unsure too. The branch holds its own weights: onnxruntime 1.31 does not
    rearrange convolutions whose weights lie outside of their branch (a float branch took twice as long).
    """
    from onnx import helper, numpy_helper

    scores = low.graph.output[0].name
    low, high = _for_one(low, "low/"), _for_one(high, "high/")
    sets = {entry.domain: entry.version for model in (high, low) for entry in model.opset_import}
    version = sets.get("", sets.get("ai.onnx", AXES_ARE_AN_INPUT))
    first, node = low.graph.output[0].name, helper.make_node
    stays = helper.make_graph([node("Identity", [first], ["gate/kept"])], "stays", [], [low.graph.output[0]])
    stays.output[0].name = "gate/kept"
    parts = high.graph
    goes_on = helper.make_graph(list(parts.node), "goes on", [], list(parts.output), list(parts.initializer))
    gate = [
        node("Softmax", [first], ["gate/probabilities"], axis=1),
        _largest(version),
        node("Greater", [CONFIDENCE, "gate/threshold"], ["gate/sure"]),
        node("Not", ["gate/sure"], ["gate/unsure"]),
        node("If", ["gate/unsure"], [scores], then_branch=goes_on, else_branch=stays),
        node("Cast", ["gate/unsure"], [ESCALATED], to=1),
    ]
    stored = [
        *low.graph.initializer,
        numpy_helper.from_array(np.array(threshold, "f4"), "gate/threshold"),
        numpy_helper.from_array(np.array([1]), "gate/axes"),
    ]
    answer = helper.make_empty_tensor_value_info(scores)
    answer.type.CopyFrom(low.graph.output[0].type)
    outputs = [answer, helper.make_tensor_value_info(ESCALATED, 1, [1])]
    graph = helper.make_graph([*low.graph.node, *gate], "cascade", list(low.graph.input), outputs, stored)
    imports = [helper.make_opsetid(*entry) for entry in sets.items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=max(low.ir_version, high.ir_version))


def _largest(version: int) -> Any:
    """Return the node that takes the largest probability of every input, in this operator set."""
    from onnx import helper

    if version < AXES_ARE_AN_INPUT:
        return helper.make_node("ReduceMax", ["gate/probabilities"], [CONFIDENCE], axes=[1], keepdims=0)
    return helper.make_node("ReduceMax", ["gate/probabilities", "gate/axes"], [CONFIDENCE], keepdims=0)


def _for_one(model: Any, prefix: str) -> Any:
    """Return a copy that takes one input at a time, its tensors under its own names; inputs keep theirs."""
    import onnx

    own = copied(model)
    del own.graph.value_info[:]  # of another batch
    for value in (*own.graph.input, *own.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    return onnx.compose.add_prefix(own, prefix, rename_inputs=False)


def fitted(confidence: np.ndarray, low: np.ndarray, high: np.ndarray, max_drop: float) -> float:
    """Return the lowest threshold with which no more than this share of the examples is lost.

    Lost is counted against the second network alone. Tried are 0 and every confidence seen; the largest makes
    the second network answer all, so that one of them always does.

    Shapes:
        confidence: (count,), float32; low, high: (count,), which examples each network has right.
    """
    order = np.argsort(confidence, kind="stable")
    steps = confidence[order]
    gained = np.concatenate([[0], np.cumsum(high[order].astype(int) - low[order].astype(int))])
    lost = gained[-1] - gained  # after so many of the least sure have gone on
    whole = np.concatenate([[True], steps[1:] > steps[:-1], [True]])  # equally sure ones go on together
    count = int(np.argmax(whole & (lost <= max_drop * len(steps) + 1e-9)))
    return float(steps[count - 1]) if count else NEVER
