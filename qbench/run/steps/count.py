"""Count the instructions of one call on an emulated device: a cost and a proof of kernel, but no time."""

from __future__ import annotations

from pathlib import Path

from qbench.cases import Case, Quantized
from qbench.errors import DoesNotFit
from qbench.measure.instructions import FLOAT_MACS, INTEGER_MACS, KINDS, Counted, count_calls
from qbench.records import Evidence, Measured, Measurement, Withheld
from qbench.run.protocol import StepRequest, Trace
from qbench.run.steps.session import Opened, open_case

# Of the multiply-accumulates over covered weights, at least this share must be integer vector instructions:
# the rule of the proof of kernel in `score`, in work and not in weights. It is no nearer to one because what
# the file's share is made from (the network's own products) and what is counted (padded tiles, and the float
# arithmetic between layers) differ by some.
INTEGER_SHARE = 0.5
WORDS = {
    "dot": "four-way integer dot products (SDOT, UDOT, USDOT)",
    "mmla": "integer matrix products (SMMLA, UMMLA, USMMLA)",
    "widening": "widening integer products (SMULL, SMLAL, UMLAL)",
    "fma_vector": "float vector multiply-adds (FMLA)",
}


def count(request: StepRequest, trace: Trace) -> Measured:
    """Count a call with the scenario's batch, one thread: `samples` are three calls, each for itself.

    Raises:
        DoesNotFit: the file holds 8-bit weights and activations, and the products ran in float.
    """
    case = request.step.subject
    assert isinstance(case, Case)
    if case.deployment.threads != 1:
        return _none(f"only one thread can be counted, and this deployment has {case.deployment.threads}")
    if not request.counts:
        return _none("nothing counts instructions on this device")
    opened = open_case(request, trace)
    inputs = opened.longest(opened.timed_inputs())  # covered work is that of the whole file
    trace.stage = "count"
    try:
        counted = count_calls(lambda: opened.session.run(inputs), Path(request.counts))
    except ValueError as error:
        return _none(f"the emulator wrote no counts ({error}): it must be a qemu-user with plugins")
    if counted.threads > 1:
        lost = "what several execute at once is not counted whole"
        return _none(f"{case.deployment.backend} had {counted.threads} threads, and {lost}")
    trace.measurements = [
        Measurement(metric, tuple(float(count) for count in counted.of(word)))
        for word, metric in KINDS.items()
    ]
    trace.stage = "proof of kernel"
    evidence = _evidence(counted)
    _ran_in_integers(opened, counted)
    return Measured(tuple(trace.measurements), evidence=evidence)


def _none(reason: str) -> Measured:
    return Measured((), tuple(Withheld(metric, reason) for metric in KINDS.values()))


def _evidence(counted: Counted) -> tuple[Evidence, ...]:
    """Return how often each kind of product ran, and how many multiply-accumulates that is."""
    ran = [Evidence(f"instructions: {words}", str(counted.of(kind)[-1])) for kind, words in WORDS.items()]
    macs = [
        Evidence(f"multiply-accumulates executed: {word.removeprefix('macs_')}", str(counted.of(word)[-1]))
        for word in (*INTEGER_MACS, *FLOAT_MACS)
    ]
    return (*ran, *macs)


def _ran_in_integers(opened: Opened, counted: Counted) -> None:
    """Hold the engine to the file: most of the work over covered weights must be integer products.

    A file of which the share `covered` of all work is covered must show at least half of that share among
    the multiply-accumulates that ran. Weights alone in integers, or activations wider than a byte, claim no
    integer product of bytes.
    """
    state, covered = opened.artifact.state, opened.artifact.covered
    if not isinstance(state, Quantized) or covered is None or opened.simulated:
        return
    if not 0 < (state.scheme.activation_bits or 0) <= 8:
        return
    integer, floating = counted.integer_macs, counted.float_macs
    needed = INTEGER_SHARE * covered.share * (integer + floating)
    if integer and integer >= needed:
        return
    raise DoesNotFit(
        f"{covered.share:.0%} of the work is over {state.scheme.weight_bits}-bit weights and activations, "
        f"but of the multiply-accumulates that ran {integer} were integer and {floating} float",
        fix="this engine has no integer kernels for this network on this processor; leave the pair out",
    )
