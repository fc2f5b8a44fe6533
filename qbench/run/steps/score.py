"""Score a deployment: are its outputs right, did its kernels run as claimed, and how good are its answers?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from qbench.backends.base import KernelProof
from qbench.cases import Float, Quantized, State
from qbench.errors import DoesNotFit
from qbench.formats.answers import Answer, answers
from qbench.formats.artifact import Covered, claimed_bits, float_state
from qbench.measure.verdict import collapsed, not_finite
from qbench.metrics import CATALOGUE
from qbench.records import Evidence, Measured, Measurement, Verdict, Withheld, find
from qbench.run.protocol import StepRequest, Trace
from qbench.run.steps.beside import Beside, beside_float, collapse_of, first_of
from qbench.run.steps.check import BATCH, check
from qbench.run.steps.kept import answers_file, keep
from qbench.run.steps.session import Opened, no_energy, open_case
from qbench.run.steps.twin import beside_twin

VOID = ("correct", "prediction", "sqnr", "kl_divergence")  # what an answer that is no number leaves unsaid
UNKNOWN = Covered(0, 0.0)  # of a file that nobody has looked into: it gets no speed
LEAST_COVERAGE = 0.1  # of the work, and of the kernels: below it a speed says nothing of the technique
KERNEL_SHARE = 0.5  # of the weights stored in low bits, at least this share must have run in low-bit kernels


def score(request: StepRequest, trace: Trace) -> Measured:
    """Check, prove and score: every output of every example.

    Raises:
        WrongOutputs: empty or misshapen outputs, a float engine that does not meet the source's answers, or
            an integer engine that does not meet those of the file.
        DoesNotFit: weights are stored as integers, and the kernels ran in float.
        BadParameter: the user reads an output as a kind that it cannot be.
    """
    opened = open_case(request, trace)
    trace.stage = "check"
    checked = check(opened, trace)
    trace.stage = "proof of kernel"
    proof = opened.session.prove(opened.longest(opened.some()))
    trace.measurements += [
        Measurement("low_bit_kernels", (proof.low_bit,)),
        Measurement("other_kernels", (proof.other,)),
    ]
    _kernels_ran_as_claimed(opened, proof)
    _option_took_hold(opened, proof)
    trace.stage = "score"
    found = answers(opened.session.run, opened.artifact, opened.all_inputs(), _batch(opened))
    beside = beside_float(opened, found, request)
    verdict = not_finite(beside.bad, len(opened.examples))
    if verdict:
        withheld = tuple(Withheld(metric, verdict.text) for metric in VOID)
    else:
        withheld = _scored(opened, found, beside, request, trace)
        verdict = _collapse(opened, beside, request, trace)
    keep(answers_file(opened.case, opened.examples.data_id), found)
    wrong = _wrong(verdict) or checked.no_speed
    withheld = (*withheld, *checked.withheld, *_no_speed(opened, request, proof, wrong))
    told = (Evidence(f"option {name}", value) for name, value in opened.case.deployment.options)
    evidence = (Evidence("data id", opened.examples.data_id), *_batch_told(opened), *told, *proof.evidence)
    verdicts = (*((verdict,) if verdict else ()), *checked.verdicts)
    return Measured(tuple(trace.measurements), withheld, verdicts, evidence, beside.outputs)


def _batch(opened: Opened) -> int:
    """Return how many examples go into a call: any number, or those of a timed call where it matters."""
    return opened.case.scenario.batch if opened.case.depends_on_batch else BATCH


def _batch_told(opened: Opened) -> tuple[Evidence, ...]:
    """Say at which batch answers were scored that depend on it."""
    if not opened.case.depends_on_batch:
        return ()
    return (Evidence("scored at batch", str(_batch(opened))),)


def _scored(
    opened: Opened, found: Sequence[Answer], beside: Beside, request: StepRequest, trace: Trace
) -> tuple[Withheld, ...]:
    """Note the task's own score, what was escalated, the host's answers; return what is withheld."""
    first = first_of(found)
    if first is None:
        unlike = "the first output's examples differ in shape"
        return (*(Withheld(name, unlike) for name in ("correct", "prediction")), *beside.withheld)
    measurements, withheld = opened.task.score(first, opened.examples)
    beside_native, unlike_native = beside_twin(first, request)
    trace.measurements += [*measurements, *_escalated(opened, found), *beside_native]
    return (*withheld, *beside.withheld, *unlike_native)


def _escalated(opened: Opened, found: Sequence[Answer]) -> list[Measurement]:
    """Return which examples a second network answered, where there is one."""
    if opened.escalated is None:
        return []
    return [Measurement("escalated", tuple(float(np.ravel(one)[0]) for one in found[opened.escalated]))]


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


def _collapse(opened: Opened, beside: Beside, request: StepRequest, trace: Trace) -> Verdict | None:
    """Judge the first output by labels, where the task has some, and every other one by float's answers."""
    chance = opened.task.chance(opened.examples)
    correct = find(Measured(tuple(trace.measurements)), "correct")
    if correct is None or chance is None or request.baseline is None or request.baseline.accuracy is None:
        return collapse_of(beside)
    by_label = collapsed(float(np.mean(correct.samples)), request.baseline.accuracy, chance)
    first = opened.artifact.outputs[0].name
    others = tuple(one for one in beside.collapses if one.output != first)
    return by_label or collapse_of(replace(beside, collapses=others))


def _wrong(verdict: Verdict | None) -> str:
    return f"{verdict.kind}: the speed of a network that answers wrongly is no gain" if verdict else ""


def _no_speed(opened: Opened, request: StepRequest, proof: KernelProof, wrong: str) -> tuple[Withheld, ...]:
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
    elif wrong:
        reason = wrong
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
