"""Does an engine answer for a quantized file as the file itself does, its integers simulated in float?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qbench.cases import Quantized
from qbench.formats import cache
from qbench.formats.answers import WrongOutputs
from qbench.formats.reference import NO_SIMULATION, Kept, read_reference, read_simulated
from qbench.records import Measurement, Withheld
from qbench.referee.distance import range_of
from qbench.run.steps.asked import Pairs, alike, asked, crowd, ranges_of, unlike
from qbench.run.steps.session import Opened
from qbench.run.steps.what_works import advice

# Of an output's range. Integer kernels round halves otherwise than the simulation, and engines fuse layers:
# on this zoo's networks that comes to 0.01 to 0.04 on images and, with noise for an input, to 0.026 with one
# engine and 0.075 with the other. The faults known so far, all of openvino 2026.4.1 on x86 (a chain of
# products of a fixed batch, some on one thread only; unsigned activations of 16 bits behind a ReLU), begin
# at 0.7.
SIMULATED_LIMIT = 0.25
# A file that its rounding has moved far from float answers by chance, and two ways of rounding it are as far
# from each other as each is from float, at most: an engine that stays within that is not the one to accuse.
# (MiniLM with all of it rounded: 0.54 of the range from float, and an engine 0.28 from the simulation.)
WAYS = 2
# Beyond this the known faults begin, and a file so far from float tells them from chance no more: the engine
# is not accused, and nothing of it is timed.
FARTHEST = 0.6
OUTLIERS = 1000  # one value of an example in so many may be farther off: a pixel at an edge of a map


@dataclass(frozen=True, slots=True)
class NoAnswerLeft:
    """Rounding has moved the file so far from float that an engine's fault could not be told from chance."""

    withheld: Withheld


def with_simulation(opened: Opened) -> Measurement | Withheld | NoAnswerLeft | None:
    """Compare every output of a quantized file with its own, simulated when it was made.

    Raises:
        WrongOutputs: an output is farther off than any rounding takes it.
    """
    artifact, folder = opened.artifact, cache.folder_of(opened.case.deployment.artifact)
    if not isinstance(artifact.state, Quantized):
        return None
    kept = read_simulated(folder)
    if kept is None:
        told = (note.found for note in artifact.notes if note.what == NO_SIMULATION)
        return Withheld("simulated_error", next(told, "no simulated answers were kept with this file"))
    found = asked(opened, kept)
    if opened.escalated is not None:
        found = _gone_the_same_way(opened, found)
    else:
        found.append(crowd(opened, kept))
    ranges = ranges_of(found)
    errors = [
        (simulated_error(array, wanted, ranges[name]), name)
        for pairs in alike(found)
        for name, array, wanted in pairs
        if wanted.size
    ]
    limits = limits_of(kept, read_reference(folder), [spec.name for spec in artifact.outputs])
    over = [(error, name) for error, name in errors if error > limits.get(name, SIMULATED_LIMIT)]
    if over:
        error, name = max(over)
        limit = limits.get(name, SIMULATED_LIMIT)
        far = f"by {error:.2g} of the outputs' range" if np.isfinite(error) else "by NaN or infinity"
        where = f" in output {name!r}" if len(artifact.outputs) > 1 else ""
        raise WrongOutputs(
            f"{opened.case.deployment.backend} differs {far} from what the same file says with its integers "
            f"simulated in float{where} (limit {limit:.2g}; rounding alone stays below 0.1)",
            fix=advice(opened, kept, _near, "file"),
        )
    error, name = max(errors, default=(0.0, ""))
    if error > FARTHEST:
        return NoAnswerLeft(Withheld("simulated_error", _by_chance(error, name)))
    if other := unlike(found):
        why = f"{other} in its simulation: its length is the network's choice"
        return Withheld("simulated_error", why)
    if not errors:
        return Withheld("simulated_error", "every output is empty: there is nothing to compare")
    return Measurement("simulated_error", (error,))


def _by_chance(error: float, name: str) -> str:
    far = f"{error:.2g} of the range" if np.isfinite(error) else "half of the whole numbers or more"
    return (
        f"rounding has moved this file so far from float that it answers by chance: {far} lie between "
        f"the engine and the same file simulated in float, in output {name!r}, and no fault of an engine can "
        f"be told from that (above {FARTHEST})"
    )


def limits_of(simulated: Kept, source: Kept | None, names: list[str]) -> dict[str, float]:
    """Return how far from the simulation an engine may be: further where that is far from float.

    Infinite for whole numbers of which rounding has changed more than half: no engine can be wrong there.
    """
    if source is None or source.spans != simulated.spans:
        return {}
    found = {}
    for place, name in enumerate(names):
        pairs = [
            (a[place], b[place])
            for a, b in zip(simulated.answers, source.answers, strict=False)
            if place < len(b) and a[place].shape == b[place].shape and b[place].size
        ]
        span = range_of([rounded for rounded, _ in pairs])
        loss = max((simulated_error(right, rounded, span) for rounded, right in pairs), default=0.0)
        whole = any(right.dtype.kind != "f" for _, right in pairs)
        found[name] = max(SIMULATED_LIMIT, WAYS * loss) if np.isfinite(loss) or whole else SIMULATED_LIMIT
    return found


def simulated_error(found: np.ndarray, wanted: np.ndarray, span: float) -> float:
    """Return the largest difference over the output's range; in a map, one value in a thousand is left out.

    Of whole numbers, which rounding moves by a whole step or to another class: 0 where half of them at least
    are the same, infinite where fewer are.

    Shapes:
        found, wanted: the same, not empty.
    """
    if wanted.dtype.kind != "f":
        return 0.0 if np.mean(found == wanted) >= 0.5 else float("inf")
    if not (np.isfinite(found).all() and np.isfinite(wanted).all()):
        return float("inf")
    apart = np.abs(found.astype(np.float64) - wanted).ravel()
    examples = len(wanted) if wanted.ndim else 1
    last = apart.size - 1 - apart.size // examples // OUTLIERS * examples
    return float(np.partition(apart, last)[last]) / span


def _near(found: list[np.ndarray], wanted: list[np.ndarray]) -> bool:
    pairs = [(f, w) for f, w in zip(found, wanted, strict=True) if w.size]
    return all(
        f.shape == w.shape and simulated_error(f, w, range_of([w])) <= SIMULATED_LIMIT for f, w in pairs
    )


def _gone_the_same_way(opened: Opened, found: list[Pairs]) -> list[Pairs]:
    """Return the calls that the same one of the file's two networks has answered here.

    Rounding moves the first network's confidence, and an input near the threshold then has the other
    network's answer: right as well, and not this one. That many inputs are so near is not believed. Among
    the kept ones are the least and the most sure of the selection examples, so that both networks answer.

    Raises:
        WrongOutputs: more than half of them have gone the other way.
    """
    assert opened.escalated is not None
    flags = [pairs[opened.escalated] for pairs in found]
    same = [bool(here.ravel()[0] > 0) == bool(there.ravel()[0] > 0) for _, here, there in flags]
    if 2 * sum(same) < len(same):
        raise WrongOutputs(
            f"{opened.case.deployment.backend} chose the other network for {len(same) - sum(same)} of "
            f"{len(same)} inputs than the same file with its integers simulated in float",
            fix="leave this engine out for this file (--backend)",
        )
    return [pairs for pairs, alike in zip(found, same, strict=True) if alike]
