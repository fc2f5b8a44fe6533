"""Proof of quantization: what the deployed file holds, read from the file and not from the technique's word.

Every multiply-accumulate operator's weight is traced back to the bytes that are stored for it. A technique
that claims eight bits and stored thirty-two is found out here (users have met it: MQBench issue 207,
llm-compressor issue 1566). That the kernels also *ran* in integers is another proof, made by each backend.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from qbench.cases import State
from qbench.formats.artifact import Artifact, Covered, claimed_bits
from qbench.formats.fake import fake_weights
from qbench.quant.exported_graph import exported_weights
from qbench.quant.ir_graph import ir_weights
from qbench.quant.package import package_weights
from qbench.quant.qdq_graph import Sizes, Weight, onnx_weights
from qbench.records import Evidence, Measurement, Withheld

# Covered bytes over float bytes: the code's own share plus room for scales and zero points.
LIMITS = {16: 0.55, 8: 0.35, 4: 0.25}
# In a layer with short rows one scale and one zero point a channel weigh more than that, and are no pretence.
SCALE_BYTES = 8


@dataclass(frozen=True, slots=True)
class Proof:
    """What was found; `failure` says in words why it does not bear out the claimed state."""

    measurements: tuple[Measurement, ...]
    withheld: tuple[Withheld, ...]
    evidence: tuple[Evidence, ...]
    failure: str | None


def prove(artifact: Artifact) -> Proof:
    """Compare the weights in the artifact's file with the state that it claims.

    Bytes are those of the file: a tensor that two operators share counts once. Multiply-accumulates are those
    of every operator.

    Raises:
        BadFile: the file cannot be read.
    """
    weights = weights_of(artifact)
    bits = claimed_bits(artifact.state)
    covered = [weight for weight in weights if weight.bits <= bits] if bits < 32 else []
    measurements = [
        Measurement("covered_weights", (sum(weight.stored_bytes for weight in each_once(covered)),)),
        Measurement("covered_float", (sum(weight.float_bytes for weight in each_once(covered)),)),
        Measurement("model_float", (sum(weight.float_bytes for weight in each_once(weights)),)),
    ]
    withheld: tuple[Withheld, ...] = ()
    if artifact.state.kind == "fake_quant":  # none would be covered: that is no finding about the technique
        measurements = measurements[2:]
        reason = "simulated: the file holds its integers as floats, so none is covered"
        withheld = tuple(Withheld(name, reason) for name in ("covered_weights", "covered_float"))
    uncounted = sorted({weight.operator for weight in weights if weight.macs is None})
    if uncounted:
        reason = f"the shapes around {', '.join(uncounted)} are not known before it runs"
        withheld += (Withheld("covered_macs", reason), Withheld("model_macs", reason))
    else:
        if artifact.state.kind == "fake_quant":
            withheld += (Withheld("covered_macs", withheld[0].reason),)
        else:
            measurements.append(Measurement("covered_macs", (sum(weight.macs or 0 for weight in covered),)))
        measurements.append(Measurement("model_macs", (sum(weight.macs or 0 for weight in weights),)))
    moved = [weight.moved for weight in weights if weight.multiplied]
    if None in moved or not moved:
        reason = "the shapes around its products are not known before it runs"
        withheld += (Withheld("moved_activations", reason),)
    else:
        measurements.append(Measurement("moved_activations", (sum(filter(None, moved)),)))
    kinds = Counter((weight.operator, weight.bits) for weight in weights)
    evidence = tuple(
        Evidence(f"{operator} with {width}-bit weights", str(count))
        for (operator, width), count in sorted(kinds.items())
    )
    return Proof(tuple(measurements), withheld, evidence, _failure(artifact.state, weights, covered))


def covered(artifact: Artifact) -> Covered | None:
    """Return how much of the network is in the claimed width; None where it claims none below 32 bits.

    The share is of the work, counted in multiply-accumulates; where those of an operator are unknown, float
    bytes stand in.

    Raises:
        BadFile: the file cannot be read.
    """
    bits = claimed_bits(artifact.state)
    if bits == 32:
        return None
    weights = weights_of(artifact)
    counted = all(weight.macs is not None for weight in weights)

    def size(some: list[Weight]) -> int:
        return sum(w.macs or 0 for w in some) if counted else sum(w.float_bytes for w in each_once(some))

    whole, low = size(weights), [weight for weight in weights if weight.bits <= bits]
    multiplied = sum(weight.multiplied for weight in each_once(low))
    return Covered(multiplied, size(low) / whole if whole else 0.0)


def each_once(weights: list[Weight]) -> list[Weight]:
    """Return one weight for every tensor in the file, however many operators multiply with it."""
    return list({weight.name: weight for weight in weights}.values())


def weights_of(artifact: Artifact) -> list[Weight]:
    """Return the weights in the artifact's file, each as it is stored.

    Raises:
        BadFile: the file cannot be read.
    """
    if artifact.format in SIZED:
        return SIZED[artifact.format](
            artifact.path, {spec.name: spec.one for spec in artifact.inputs if spec.one}
        )
    return READERS[artifact.format](artifact.path)


def _failure(state: State, weights: list[Weight], covered: list[Weight]) -> str | None:
    bits = claimed_bits(state)
    if state.kind == "fake_quant":
        return None
    found = ", ".join(str(width) for width in sorted({weight.bits for weight in weights}))
    if bits == 32:
        narrow = sum(weight.bits < 32 for weight in weights)
        if not narrow:
            return None
        return (
            f"it claims 32-bit float, but {narrow} of the {len(weights)} weights in the file are stored in "
            f"less (found: {found} bits)"
        )
    if not weights:
        return "the deployed file holds no multiply-accumulate operator with stored weights"
    if not covered:
        return (
            f"it claims {bits}-bit weights, but none of the {len(weights)} weights in the deployed file is "
            f"stored in {bits} bits (found: {found} bits)"
        )
    limit = LIMITS[min(width for width in LIMITS if width >= bits)]
    stored = sum(weight.stored_bytes for weight in each_once(covered))
    as_float = sum(weight.float_bytes for weight in each_once(covered))
    needed = sum(weight.code_bytes + SCALE_BYTES * weight.channels for weight in each_once(covered))
    if stored > max(limit * as_float, needed):
        return (
            f"the covered weights take {stored / as_float:.2f} of their float bytes; "
            f"{bits} bits must take at most {limit}"
        )
    return None


READERS: dict[str, Callable[[Path | None], list[Weight]]] = {
    "onnx": onnx_weights,
    "exported": exported_weights,
    "openvino": ir_weights,
    "pt2": package_weights,
    "fake": fake_weights,
}
SIZED: dict[str, Callable[[Path | None, Sizes], list[Weight]]] = {  # they count work at the samples' sizes
    "onnx": onnx_weights,
    "openvino": ir_weights,
}
