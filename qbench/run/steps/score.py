"""Score a deployment: are its outputs right, did its kernels run as claimed, and how good are its answers?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from qbench.backends.base import KernelProof
from qbench.cases import Case, Deployment, Float, Quantized, State, key
from qbench.errors import DoesNotFit
from qbench.folders import cache_folder
from qbench.formats.artifact import Covered, claimed_bits, float_state
from qbench.measure.verdict import collapsed, drowned, not_finite
from qbench.metrics import CATALOGUE
from qbench.records import Evidence, Measured, Measurement, Verdict, Withheld, find
from qbench.run.protocol import StepRequest, Trace
from qbench.run.steps.check import BATCH, check, outputs_of
from qbench.run.steps.session import Opened, no_energy, open_case
from qbench.run.steps.twin import beside_twin

UNKNOWN = Covered(0, 0.0)  # of a file that nobody has looked into: it gets no speed
LEAST_COVERAGE = 0.1  # of the work, and of the kernels: below it a speed says nothing of the technique
KERNEL_SHARE = 0.5  # of the weights stored in low bits, at least this share must have run in low-bit kernels


def logits_file(deployment: Deployment, data_id: str) -> Path:
    """Return where a deployment's outputs are kept for the comparisons with it."""
    return cache_folder() / "logits" / f"{key(deployment)}-{data_id}.npy"


def score(request: StepRequest, trace: Trace) -> Measured:
    """Check, prove and score; of a network with several outputs, the first one.

    Raises:
        WrongOutputs: empty or misshapen outputs, a float engine that does not meet the source's answers, or
            an integer engine that does not meet those of the file.
        DoesNotFit: weights are stored as integers, and the kernels ran in float.
    """
    opened = open_case(request, trace)
    trace.stage = "check"
    no_reference = check(opened, trace)
    trace.stage = "proof of kernel"
    proof = opened.session.prove(opened.longest(opened.some()))
    trace.measurements += [
        Measurement("low_bit_kernels", (proof.low_bit,)),
        Measurement("other_kernels", (proof.other,)),
    ]
    _kernels_ran_as_claimed(opened, proof)
    _option_took_hold(opened, proof)
    trace.stage = "score"
    outputs, escalated = _answers(opened)
    measurements, withheld = opened.task.score(outputs, opened.examples)
    compared, absent = _against_float(outputs, request)
    beside, unlike = beside_twin(outputs, request)
    trace.measurements += [*measurements, *escalated, *compared, *beside]
    verdict = _collapse(opened, outputs, request, trace)
    kept = logits_file(opened.case.deployment, opened.examples.data_id)
    kept.parent.mkdir(parents=True, exist_ok=True)
    np.save(kept, outputs)
    withheld = (*withheld, *no_reference, *absent, *unlike, *_no_speed(opened, request, proof, verdict))
    told = (Evidence(f"option {name}", value) for name, value in opened.case.deployment.options)
    evidence = (Evidence("data id", opened.examples.data_id), *told, *proof.evidence)
    return Measured(tuple(trace.measurements), withheld, (verdict,) if verdict else (), evidence)


def _answers(opened: Opened) -> tuple[np.ndarray, list[Measurement]]:
    """Return the first output for every example, in order, and which of them a second network answered."""
    size, count = opened.fixed_batch or BATCH, len(opened.examples)
    parts, went = [], []
    for start in range(0, count, size):
        wanted = min(size, count - start)
        found = outputs_of(opened, opened.batch(start, size), rows=opened.fixed_batch or wanted)
        parts.append(found[0][:wanted])
        if opened.escalated is not None:
            went.append(float(found[opened.escalated][0]))
    return np.concatenate(parts), [Measurement("escalated", tuple(went))] if went else []


def _kernels_ran_as_claimed(opened: Opened, proof: KernelProof) -> None:
    state = opened.artifact.state
    covered = opened.artifact.covered or UNKNOWN
    if float_state(state) or state.kind == "fake_quant" or opened.simulated:
        return
    bits, stored = claimed_bits(state), covered.weights
    if proof.low_bit < max(1, stored * KERNEL_SHARE) and not _weights_only(state):
        what = state.dtype if isinstance(state, Float) else f"{bits}-bit integer"
        raise DoesNotFit(
            f"the file stores {stored} weights in {bits} bits, but only {proof.low_bit} multiply-accumulate "
            f"kernels ran in {what} and {proof.other} in 32-bit float",
            fix="this engine does not speed this technique up; leave the pair out, or try another engine",
        )


def _option_took_hold(opened: Opened, proof: KernelProof) -> None:
    """Hold the engine to the precision that it was told beside a float file."""
    placed = opened.case.deployment
    if placed.computes == placed.artifact.state:
        return
    if proof.low_bit < max(1.0, KERNEL_SHARE * (proof.low_bit + proof.other)):
        told = ", ".join(f"{name} = {value}" for name, value in placed.options)
        raise DoesNotFit(
            f"{placed.backend} was told {told}, and only {proof.low_bit} of "
            f"{proof.low_bit + proof.other} multiply-accumulate kernels ran in it",
            fix="leave this technique out for this network: its speed would be that of 32-bit float",
        )


def _weights_only(state: State) -> bool:
    """Tell whether the state says how weights are stored, and nothing of the arithmetic."""
    return isinstance(state, Quantized) and state.scheme.activation_bits is None


def _restored(opened: Opened, proof: KernelProof) -> str | None:
    """Return why narrow weights have no speed: the engine makes floats of most when it loads the file."""
    state, covered = opened.artifact.state, opened.artifact.covered or UNKNOWN
    if not _weights_only(state) or proof.low_bit >= max(1, covered.weights * KERNEL_SHARE):
        return None
    return (
        f"the file stores {covered.weights} weights in {claimed_bits(state)} bits, and only {proof.low_bit} "
        "kernels read such: the engine restores the others to float when it loads the file, so this would be "
        "the speed of float kernels"
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
    so_far = Measured(tuple(trace.measurements))
    if opened.task.judged_by == "signal":
        noise = find(so_far, "sqnr")
        return drowned(noise.samples[0]) if noise else None
    correct = find(so_far, "correct")
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
    if opened.case.deployment.reached == "emulated":
        reason = "emulated: what runs here has neither the device's clock nor its caches"
    elif opened.artifact.state.kind == "fake_quant":
        reason = "simulated: this would be the speed of float kernels"
    elif opened.simulated:
        reason = f"simulated: {opened.simulated}"
    elif restored := _restored(opened, proof):
        reason = f"simulated: {restored}"
    elif verdict:
        reason = f"{verdict.kind}: the speed of a network that answers wrongly is no gain"
    elif request.baseline is None and opened.case.role != "fp32":
        reason = "its float baseline was not scored: nothing says that its answers are right"
    elif opened.case.scenario.name == "scored":
        reason = "scored only: the suite did not ask for its speed"
    elif not float_state(opened.artifact.state):
        reason = _barely_covered(opened, proof)
    if reason is None:
        return no_energy(request, opened.case.deployment.device)
    return tuple(Withheld(name, reason) for name, metric in CATALOGUE.items() if metric.needs_native)


def _barely_covered(opened: Opened, proof: KernelProof) -> str | None:
    """Return why the speed would be that of float kernels: nearly all of the network is float still."""
    share = (opened.artifact.covered or UNKNOWN).share
    ran = proof.low_bit / (proof.low_bit + proof.other)  # low_bit is not 0: the proof of kernel came before
    if min(share, ran) >= LEAST_COVERAGE:
        return None
    bits, kernels = claimed_bits(opened.artifact.state), proof.low_bit + proof.other
    return (
        f"barely covered: {share:.2%} of the network and {proof.low_bit} of {kernels} kernels "
        f"are in {bits} bits, so this would be the speed of float kernels"
    )
