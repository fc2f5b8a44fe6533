"""Proof of quantization: what the deployed file holds, read from the file and not from the technique's word.

Every multiply-accumulate operator's weight is traced back to the bytes that are stored for it. A technique
that claims eight bits and stored thirty-two is found out here (users have met it: MQBench issue 207,
llm-compressor issue 1566). That the kernels also *ran* in integers is another proof, made by each backend.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from qbench.formats.artifact import Artifact
from qbench.formats.fake import fake_weights
from qbench.quant.qdq_graph import Weight, exported_weights, onnx_weights
from qbench.records import Evidence, Float, Measurement, State

# Covered bytes over float bytes: the code's own share plus room for scales and zero points.
LIMITS = {16: 0.55, 8: 0.35, 4: 0.25}


@dataclass(frozen=True, slots=True)
class Proof:
    """What was found; `failure` says in words why it does not bear out the claimed state."""

    measurements: tuple[Measurement, ...]
    evidence: tuple[Evidence, ...]
    failure: str | None


def prove(artifact: Artifact) -> Proof:
    """Compare the weights in the artifact's file with the state that it claims.

    Raises:
        BadFile: the file cannot be read.
    """
    weights = weights_of(artifact)
    bits = claimed_bits(artifact.state)
    covered = [weight for weight in weights if weight.bits <= bits] if bits < 32 else []
    stored = sum(weight.stored_bytes for weight in covered)
    as_float = sum(weight.float_bytes for weight in covered)
    measurements = [
        Measurement("covered_weights", (stored,)),
        Measurement("covered_float", (as_float,)),
        Measurement("model_float", (sum(weight.float_bytes for weight in weights),)),
    ]
    if all(weight.macs is not None for weight in weights):
        measurements += [
            Measurement("covered_macs", (sum(weight.macs or 0 for weight in covered),)),
            Measurement("model_macs", (sum(weight.macs or 0 for weight in weights),)),
        ]
    kinds = sorted({(weight.operator, weight.bits) for weight in weights})
    evidence = tuple(
        Evidence(f"{operator} with {bits}-bit weights", str(sum((w.operator, w.bits) == (operator, bits) for w in weights)))
        for operator, bits in kinds
    )
    return Proof(tuple(measurements), evidence, _failure(artifact.state, weights, covered))


def weights_of(artifact: Artifact) -> list[Weight]:
    """Return the weights in the artifact's file, each as it is stored.

    Raises:
        BadFile: the file cannot be read.
    """
    return READERS[artifact.format](artifact.path)


def claimed_bits(state: State) -> int:
    """Return the width in bits at which this state says that weights are stored."""
    if isinstance(state, Float):
        return 32 if state.dtype == "fp32" else 16
    return state.scheme.weight_bits


def _failure(state: State, weights: list[Weight], covered: list[Weight]) -> str | None:
    bits = claimed_bits(state)
    if bits == 32 or state.kind == "fake_quant":
        return None
    if not weights:
        return "the deployed file holds no multiply-accumulate operator with stored weights"
    if not covered:
        widths = ", ".join(str(width) for width in sorted({weight.bits for weight in weights}))
        return (
            f"it claims {bits}-bit weights, but none of the {len(weights)} weights in the deployed file is "
            f"stored in {bits} bits (found: {widths} bits)"
        )
    limit = LIMITS[min(width for width in LIMITS if width >= bits)]
    share = sum(weight.stored_bytes for weight in covered) / sum(weight.float_bytes for weight in covered)
    if share > limit:
        return f"the covered weights take {share:.2f} of their float bytes; {bits} bits must take at most {limit}"
    return None


READERS: dict[str, Callable[[Path | None], list[Weight]]] = {
    "onnx": onnx_weights,
    "exported": exported_weights,
    "fake": fake_weights,
}
