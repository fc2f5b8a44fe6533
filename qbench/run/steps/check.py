"""Are an engine's answers those of the file? Asked before anything of it is counted or timed."""

from __future__ import annotations

import numpy as np

from qbench.cases import Quantized
from qbench.formats import cache
from qbench.formats.artifact import float_state
from qbench.formats.reference import NO_SIMULATION, read_reference, read_simulated, relative_error
from qbench.quant.cascade import ESCALATED
from qbench.records import Measurement, Withheld
from qbench.run.protocol import Trace
from qbench.run.steps.answers import WrongOutputs as WrongOutputs
from qbench.run.steps.session import Opened

BATCH = 50  # of a score: accuracy does not depend on it, and it keeps a worker small
REFERENCE_LIMIT = 1e-3  # of the outputs' range: float32 engines differ by 1e-6 to 1e-5 (measured on this zoo)
# Of the outputs' range, too. Integer kernels round halves otherwise than the simulation, and engines fuse
# layers: on this zoo's networks that comes to 0.01 to 0.04 on images and, with noise for an input as here, to
# 0.026 with one engine and 0.075 with the other. The faults known so far, all of openvino 2026.4.1 on x86 (a
# chain of products of a fixed batch, some on one thread only; unsigned activations of 16 bits behind a ReLU),
# begin at 0.7.
SIMULATED_LIMIT = 0.25


def check(opened: Opened, trace: Trace) -> tuple[Withheld, ...]:
    """Compare with what is known of the answers; note the distances, return those that cannot be had.

    Raises:
        WrongOutputs: a distance beyond its limit, or outputs of another shape.
    """
    withheld = []
    for compare in (_with_source, _with_simulation):
        found = compare(opened)
        if isinstance(found, Measurement):
            trace.measurements.append(found)
        elif found:
            withheld.append(found)
    return tuple(withheld)


def outputs_of(opened: Opened, inputs: dict[str, np.ndarray], *, rows: int) -> tuple[np.ndarray, ...]:
    """Return the outputs, of which the first must have one row for every example.

    Raises:
        WrongOutputs: it has not.
    """
    outputs = opened.session.run(inputs)
    shape = outputs[0].shape if outputs else ()
    if not shape or shape[0] != rows or 0 in shape:
        raise WrongOutputs(
            f"{opened.case.deployment.backend} gave an output of shape {shape} for {rows} examples",
            fix="leave this engine out for this network (--backend), or export it with the batch first",
        )
    return outputs


def _with_source(opened: Opened) -> Measurement | Withheld:
    """Compare with what the source network says; a technique's product may differ, an engine may not."""
    kept = read_reference(cache.folder_of(opened.case.deployment.artifact))
    if kept is None:
        return Withheld("reference_error", "the source is a file: no other engine's answers to compare with")
    outputs = _answers(opened, *kept)
    error, backend = relative_error(outputs, kept[1]), opened.case.deployment.backend
    untouched = not opened.case.deployment.artifact.chain
    if float_state(opened.case.deployment.computes) and untouched and error > REFERENCE_LIMIT:
        raise WrongOutputs(
            f"{backend} differs from the source network by {error:.2g} of the outputs' range, "
            f"in the same 32-bit float (limit {REFERENCE_LIMIT})",
            fix="leave this engine out for this network (--backend), and report it to the engine's makers",
        )
    if not np.isfinite(error):
        return Withheld("reference_error", "outputs hold NaN or infinity")
    return Measurement("reference_error", (error,))


def _with_simulation(opened: Opened) -> Measurement | Withheld | None:
    """Compare a quantized file's answers with its own, its integers simulated in float when it was made."""
    artifact, folder = opened.artifact, cache.folder_of(opened.case.deployment.artifact)
    if not isinstance(artifact.state, Quantized):
        return None
    kept = read_simulated(folder)
    if kept is None:
        told = (note.found for note in artifact.notes if note.what == NO_SIMULATION)
        return Withheld("simulated_error", next(told, "no simulated answers were kept with this file"))
    if opened.escalated is not None:
        kept = _gone_the_same_way(opened, *kept, read_simulated(folder, ESCALATED))
    near, many = (relative_error(_answers(opened, *some), some[1]) for some in (kept, _crowd(opened, *kept)))
    error, backend = max(near, many), opened.case.deployment.backend
    if error > SIMULATED_LIMIT:
        far = f"by {error:.2g} of the outputs' range" if np.isfinite(error) else "by NaN or infinity"
        raise WrongOutputs(
            f"{backend} differs {far} from what the same file says with its integers simulated in float "
            f"(limit {SIMULATED_LIMIT}; rounding alone stays below 0.1)",
            fix="leave this engine out for this file (--backend), try it with a free first dimension, "
            "and report it to the engine's makers",
        )
    return Measurement("simulated_error", (error,))


def _gone_the_same_way(
    opened: Opened,
    inputs: dict[str, np.ndarray],
    wanted: np.ndarray,
    simulated: tuple[dict[str, np.ndarray], np.ndarray] | None,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the kept inputs that the same one of the file's two networks answers here.

    Rounding moves the first network's confidence, and an input near the threshold then has the other
    network's answer: right as well, and not this one. That many inputs are so near is not believed. Among
    the kept ones are the least and the most sure of the selection examples, so that both networks answer.

    Raises:
        WrongOutputs: more than half of them have gone the other way.
    """
    assert simulated is not None  # written with `wanted`
    rows = range(len(wanted))
    went = [opened.escalates({name: array[row : row + 1] for name, array in inputs.items()}) for row in rows]
    same = np.array(went) == (simulated[1] > 0)
    if 2 * same.sum() < len(same):
        raise WrongOutputs(
            f"{opened.case.deployment.backend} chose the other network for {int((~same).sum())} of "
            f"{len(same)} inputs than the same file with its integers simulated in float",
            fix="leave this engine out for this file (--backend), and report it to the engine's makers",
        )
    return {name: array[same] for name, array in inputs.items()}, wanted[same]


def _crowd(
    opened: Opened, inputs: dict[str, np.ndarray], wanted: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Repeat the kept inputs to as many as a scoring batch has: integer kernels go by the size of a batch."""
    if opened.fixed_batch:
        return inputs, wanted
    rows = np.arange(max(len(wanted), min(BATCH, len(opened.examples)))) % len(wanted)
    return {name: array[rows] for name, array in inputs.items()}, wanted[rows]


def _answers(opened: Opened, inputs: dict[str, np.ndarray], wanted: np.ndarray) -> np.ndarray:
    """Ask for all kept inputs, in batches that the network takes; the shape must be that of the wanted."""
    size = opened.fixed_batch or len(wanted)
    answers = []
    for start in range(0, len(wanted), size):
        part = {name: array[start : start + size] for name, array in inputs.items()}
        answers.append(outputs_of(opened, part, rows=min(size, len(wanted) - start))[0])
    outputs = np.concatenate(answers)
    if outputs.shape != wanted.shape:
        raise WrongOutputs(
            f"{opened.case.deployment.backend} gave outputs of shape {outputs.shape}; the source gives "
            f"{wanted.shape}",
            fix="leave this engine out for this network (--backend)",
        )
    return outputs
