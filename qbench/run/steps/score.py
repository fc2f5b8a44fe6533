"""Score a deployment: are its outputs right, did its kernels run as claimed, and how good are its answers?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from qbench.backends.base import KernelProof
from qbench.cases import Case, Deployment, Float, key
from qbench.errors import DoesNotFit, QbenchError
from qbench.folders import cache_folder
from qbench.formats import cache
from qbench.formats.artifact import float_state
from qbench.formats.proof import claimed_bits, coverage, each_once, weights_of
from qbench.formats.reference import read_reference, relative_error
from qbench.measure.energy import why_unavailable
from qbench.measure.verdict import collapsed, not_finite
from qbench.metrics import CATALOGUE
from qbench.records import Evidence, Measured, Measurement, Verdict, Withheld, find
from qbench.run.protocol import StepRequest, Trace
from qbench.run.steps.session import Opened, open_case

BATCH = 50  # scoring batch: accuracy does not depend on it, and it keeps a worker small
REFERENCE_LIMIT = 1e-3  # of the outputs' range: float32 engines differ by 1e-6 to 1e-5 (measured on this zoo)
LEAST_COVERAGE = 0.1  # of the work, and of the kernels: below it a speed says nothing of the technique
KERNEL_SHARE = 0.5  # of the weights stored in low bits, at least this share must have run in low-bit kernels


class WrongOutputs(QbenchError):
    """An engine answered with something that cannot be the network's output."""


def logits_file(deployment: Deployment, data_id: str) -> Path:
    """Return where a deployment's outputs are kept for the comparisons with it."""
    return cache_folder() / "logits" / f"{key(deployment)}-{data_id}.npy"


def score(request: StepRequest, trace: Trace) -> Measured:
    """Check, prove and score; of a network with several outputs, the first one.

    Raises:
        WrongOutputs: empty or misshapen outputs, or a float engine that does not meet the source's answers.
        DoesNotFit: weights are stored as integers, and the kernels ran in float.
    """
    opened = open_case(request, trace)
    trace.stage = "check"
    checked, no_reference = _meets_reference(opened)
    trace.measurements += checked
    trace.stage = "proof of kernel"
    proof = opened.session.prove(opened.some())
    trace.measurements += [
        Measurement("low_bit_kernels", (proof.low_bit,)),
        Measurement("other_kernels", (proof.other,)),
    ]
    _kernels_ran_as_claimed(opened, proof)
    trace.stage = "score"
    outputs = _answers(opened)
    measurements, withheld = opened.task.score(outputs, opened.examples)
    compared, absent = _against_float(outputs, request)
    trace.measurements += [*measurements, *compared]
    verdict = _collapse(opened, outputs, request, trace)
    kept = logits_file(opened.case.deployment, opened.examples.data_id)
    kept.parent.mkdir(parents=True, exist_ok=True)
    np.save(kept, outputs)
    withheld = (*withheld, *no_reference, *absent, *_no_speed(opened, request, proof, verdict))
    evidence = (Evidence("data id", opened.examples.data_id), *proof.evidence)
    return Measured(tuple(trace.measurements), withheld, (verdict,) if verdict else (), evidence)


def _answers(opened: Opened) -> np.ndarray:
    """Return the first output for every example, in order."""
    size, count = opened.fixed_batch or BATCH, len(opened.examples)
    parts = []
    for start in range(0, count, size):
        wanted = min(size, count - start)
        answer = _first(opened, opened.batch(start, size), rows=opened.fixed_batch or wanted)
        parts.append(answer[:wanted])
    return np.concatenate(parts)


def _first(opened: Opened, inputs: dict[str, np.ndarray], *, rows: int) -> np.ndarray:
    """Return the first output, which must have one row for every example."""
    outputs = opened.session.run(inputs)
    shape = outputs[0].shape if outputs else ()
    if not shape or shape[0] != rows or 0 in shape:
        raise WrongOutputs(
            f"{opened.case.deployment.backend} gave an output of shape {shape} for {rows} examples",
            fix="leave this engine out for this network (--backend), or export it with the batch first",
        )
    return outputs[0]


def _meets_reference(opened: Opened) -> tuple[list[Measurement], tuple[Withheld, ...]]:
    """Compare with what the source network says; a technique's product may differ, an engine may not."""
    kept = read_reference(cache.folder_of(opened.case.deployment.artifact))
    if kept is None:
        reason = "the source is a file: no other engine's answers to compare with"
        return [], (Withheld("reference_error", reason),)
    inputs, wanted = kept
    size = opened.fixed_batch or len(wanted)
    answers = []
    for start in range(0, len(wanted), size):
        part = {name: array[start : start + size] for name, array in inputs.items()}
        answers.append(_first(opened, part, rows=min(size, len(wanted) - start)))
    outputs = np.concatenate(answers)
    backend = opened.case.deployment.backend
    if outputs.shape != wanted.shape:
        raise WrongOutputs(
            f"{backend} gave outputs of shape {outputs.shape}; the source gives {wanted.shape}",
            fix="leave this engine out for this network (--backend)",
        )
    error = relative_error(outputs, wanted)
    untouched = float_state(opened.artifact.state) and not opened.case.deployment.artifact.chain
    if untouched and error > REFERENCE_LIMIT:
        raise WrongOutputs(
            f"{backend} differs from the source network by {error:.2g} of the outputs' range, "
            f"in the same 32-bit float (limit {REFERENCE_LIMIT})",
            fix="leave this engine out for this network (--backend), and report it to the engine's makers",
        )
    if not np.isfinite(error):
        return [], (Withheld("reference_error", "outputs hold NaN or infinity"),)
    return [Measurement("reference_error", (error,))], ()


def _kernels_ran_as_claimed(opened: Opened, proof: KernelProof) -> None:
    state = opened.artifact.state
    if float_state(state) or state.kind == "fake_quant":
        return
    bits = claimed_bits(state)
    multiplied = [weight for weight in each_once(weights_of(opened.artifact)) if weight.multiplied]
    stored = sum(weight.bits <= bits for weight in multiplied)
    if proof.low_bit < max(1, stored * KERNEL_SHARE):
        what = state.dtype if isinstance(state, Float) else f"{bits}-bit integer"
        raise DoesNotFit(
            f"the file stores {stored} weights in {bits} bits, but only {proof.low_bit} multiply-accumulate "
            f"kernels ran in {what} and {proof.other} in 32-bit float",
            fix="this engine does not speed this technique up; leave the pair out, or try another engine",
        )


def _against_float(outputs: np.ndarray, request: StepRequest) -> tuple[list[Measurement], list[Withheld]]:
    """Return divergence and signal-to-noise against the float model's outputs on the same engine."""
    names = ("kl_divergence", "sqnr")
    if request.baseline is None:
        itself = isinstance(request.step.subject, Case) and request.step.subject.role == "fp32"
        reason = "this is the float baseline itself" if itself else "its float baseline was not scored"
        return [], [Withheld(name, reason) for name in names]
    wanted = np.load(request.baseline.logits)
    if outputs.shape != wanted.shape:
        reason = f"the float model's outputs have shape {wanted.shape}, and these have {outputs.shape}"
    elif outputs.dtype.kind != "f" or wanted.dtype.kind != "f":
        reason = f"the outputs are {outputs.dtype}, no real numbers"
    elif not (np.isfinite(outputs).all() and np.isfinite(wanted).all()):
        reason = "outputs hold NaN or infinity"
    else:
        return _divergences(outputs, wanted)
    return [], [Withheld(name, reason) for name in names]


def _divergences(outputs: np.ndarray, wanted: np.ndarray) -> tuple[list[Measurement], list[Withheld]]:
    found, withheld = [], []
    if outputs.ndim == 2 and outputs.shape[1] > 1:
        found.append(Measurement("kl_divergence", tuple(kl_divergence(wanted, outputs).tolist())))
    else:
        withheld.append(Withheld("kl_divergence", "the outputs are no class scores"))
    signal = float(np.square(wanted.astype(np.float64)).sum())
    noise = float(np.square(outputs.astype(np.float64) - wanted).sum())
    if signal and noise:
        found.append(Measurement("sqnr", (10 * float(np.log10(signal / noise)),)))
    elif signal:
        withheld.append(Withheld("sqnr", "no noise: the outputs are those of the float model, bit for bit"))
    else:
        withheld.append(Withheld("sqnr", "no signal: the float model's outputs are all zero"))
    return found, withheld


def kl_divergence(wanted: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Return KL(softmax(wanted) || softmax(given)) in nats, one number a row.

    Shapes:
        wanted, given: (count, classes), finite.
        returns: (count,), float64, never below zero.

    Source:
        Kullback and Leibler 1951; computed from log-softmax, so that large logits do not overflow.
    """

    def log_softmax(logits: np.ndarray) -> np.ndarray:
        shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))

    p, q = log_softmax(wanted), log_softmax(given)
    return np.maximum((np.exp(p) * (p - q)).sum(axis=1), 0.0)


def _collapse(opened: Opened, outputs: np.ndarray, request: StepRequest, trace: Trace) -> Verdict | None:
    bad = int((~np.isfinite(outputs.reshape(len(outputs), -1)).all(axis=1)).sum())
    verdict = not_finite(bad, len(outputs))
    if verdict or request.baseline is None:
        return verdict
    correct = find(Measured(tuple(trace.measurements)), "correct")
    chance = opened.task.chance(opened.examples)
    if correct and chance is not None and request.baseline.accuracy is not None:
        return collapsed(float(np.mean(correct.samples)), request.baseline.accuracy, chance)
    return _disagrees(outputs, np.load(request.baseline.logits))


def _disagrees(outputs: np.ndarray, wanted: np.ndarray) -> Verdict | None:
    """Judge without labels: the float model's first answers stand in for them, so its accuracy is 1."""
    if outputs.shape != wanted.shape or outputs.ndim != 2 or outputs.shape[1] < 2:
        return None  # no class scores: nothing here has a first answer
    answers = wanted.argmax(axis=1)
    chance = float(np.bincount(answers).max() / len(answers))
    return collapsed(float(np.mean(outputs.argmax(axis=1) == answers)), 1.0, chance)


def _no_speed(
    opened: Opened, request: StepRequest, proof: KernelProof, verdict: Verdict | None
) -> tuple[Withheld, ...]:
    """Say why a cell that will not be timed has no speed; energy has its reason everywhere."""
    reason = None
    if opened.artifact.state.kind == "fake_quant":
        reason = "simulated: this would be the speed of float kernels"
    elif verdict:
        reason = f"{verdict.kind}: the speed of a network that answers wrongly is no gain"
    elif request.baseline is None and opened.case.role != "fp32":
        reason = "its float baseline was not scored: nothing says that its answers are right"
    elif opened.case.scenario.name == "scored":
        reason = "a further calibration seed: scored to show the spread, not timed"
    elif not float_state(opened.artifact.state):
        reason = _barely_covered(opened, proof)
    if reason is None:
        return (Withheld("energy", why_unavailable()),)
    return tuple(Withheld(name, reason) for name, metric in CATALOGUE.items() if metric.needs_native)


def _barely_covered(opened: Opened, proof: KernelProof) -> str | None:
    """Return why the speed would be that of float kernels: nearly all of the network is float still."""
    share = coverage(opened.artifact)
    ran = proof.low_bit / (proof.low_bit + proof.other)  # low_bit is not 0: the proof of kernel came before
    if min(share, ran) >= LEAST_COVERAGE:
        return None
    bits, kernels = claimed_bits(opened.artifact.state), proof.low_bit + proof.other
    return (
        f"barely covered: {share:.2%} of the network and {proof.low_bit} of {kernels} kernels "
        f"are in {bits} bits, so this would be the speed of float kernels"
    )
