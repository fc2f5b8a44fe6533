"""Every output of a network beside float's: its kind, its parts, and what was measured of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qbench.errors import BadParameter
from qbench.quality.collapse import Collapse, collapsed_part
from qbench.quality.kinds.base import KINDS, Kind
from qbench.quality.kinds.boxes import in_pixels
from qbench.quality.kinds.embedding import Embedding
from qbench.quality.limits import SHARES
from qbench.quality.neighbours import same_nearest
from qbench.quality.parts import Part, parts_of
from qbench.quality.seen import Seen, Values
from qbench.quality.signal import Signal
from qbench.records import Measurement, OutputQuality, Withheld
from qbench.registry import did_you_mean

CHUNK = 1 << 22  # numbers that are looked at together: 32 MB in 64 bits
DIVISIBLE = ("scores", "boxes", "values", "text")  # kinds that say little of what the numbers are
ANSWERS = ("scores", "text")  # a first answer, along the class axis
OF_THEIR_OWN = ("sigmoid", "probabilities", "boxes")
CONSTANT = 1e-3  # of its largest value: by so much a constant may move and still be that constant


@dataclass(frozen=True, slots=True)
class Assessed:
    """What was measured of every output, and what is wrong beyond any limit, the worst first."""

    outputs: tuple[OutputQuality, ...]
    collapses: tuple[Collapse, ...] = ()


@dataclass(frozen=True)
class Reading:
    """How one output is read: fixed by float's values, the same for every candidate."""

    name: str
    kind_name: str
    kind: Kind
    seen: Seen
    part: Part | None = None
    recognised: bool = True


def compare(
    names: Sequence[str],
    wanted: Sequence[Values],
    given: Sequence[Values],
    *,
    kinds: Mapping[str, str] | None = None,
    inputs: Mapping[str, np.ndarray] | None = None,
) -> tuple[OutputQuality, ...]:
    """Return how every output, and every part of unlike range, meets float's; see `assess`."""
    return assess(names, wanted, given, kinds=kinds, inputs=inputs).outputs


def assess(
    names: Sequence[str],
    wanted: Sequence[Values],
    given: Sequence[Values],
    *,
    kinds: Mapping[str, str] | None = None,
    inputs: Mapping[str, np.ndarray] | None = None,
) -> Assessed:
    """Return how every output meets float's, and which have collapsed.

    Args:
        names: of the outputs, in the network's order.
        wanted: float's values, one entry an output: (count, ...), or a list of arrays, one an example.
        given: the same of the network that is judged, for the same examples.
        kinds: by output's name, how the user says that it is read; the others are recognised.
        inputs: what the examples were, to recognise an input that is handed through.

    Raises:
        BadParameter: `kinds` names an output or a kind that does not exist, or one that cannot be.
        ValueError: lengths differ.
    """
    refuse_unknown(kinds or {}, names)
    outputs: list[OutputQuality] = []
    collapses: list[Collapse] = []
    for name, ours, theirs in zip(names, wanted, given, strict=True):
        if len(ours) != len(theirs):
            raise ValueError(f"{name}: {len(ours)} examples in float, and {len(theirs)} here")
        for reading in readings(name, ours, (kinds or {}).get(name), inputs or {}):
            found, collapse = _one(reading, ours, theirs)
            outputs.append(found)
            if collapse:
                where = f"output {name!r}" + (f", {reading.part}" if reading.part else "")
                collapses.append(Collapse(name, f"{where}: {collapse}"))
    return Assessed(tuple(outputs), tuple(collapses))


def read_kinds(entries: Iterable[str]) -> dict[str, str]:
    """Return what the user says of outputs, by name, from entries `NAME=KIND`.

    Raises:
        BadParameter: an entry is not of that form.
    """
    found = {}
    for entry in entries:
        name, equals, kind = entry.rpartition("=")
        if not (name.strip() and equals and kind.strip()):
            raise BadParameter(
                f"--output-kind {entry} is not of the form NAME=KIND",
                fix=f"write the output's name and one of {', '.join(KINDS)}",
            )
        found[name.strip()] = kind.strip()
    return found


def refuse_unknown(kinds: Mapping[str, str], names: Sequence[str] | None = None) -> None:
    """Refuse a kind that does not exist, or, where names are given, an output that the network has not.

    Raises:
        BadParameter: as said.
    """
    for name, kind in kinds.items():
        if kind not in KINDS:
            raise BadParameter(
                f"--output-kind {name}={kind}: no kind of output is called {kind!r}",
                fix=did_you_mean(kind, list(KINDS)),
            )
        if names is not None and name not in names:
            raise BadParameter(
                f"--output-kind {name}={kind}: the network has no output {name!r}",
                fix=did_you_mean(name, list(names)),
            )


def readings(
    name: str, wanted: Values, said: str | None, inputs: Mapping[str, np.ndarray]
) -> tuple[Reading, ...]:
    """Return how one output of the float network is read: as one, or in parts of unlike range.

    Raises:
        BadParameter: the kind that the user says cannot be that of this output.
    """
    seen = Seen.of(name, wanted)
    if said:
        if problem := KINDS[said].unfit(seen):
            shape = "x".join(map(str, ("N", *seen.shape[1:])))
            raise BadParameter(
                f"--output-kind {name}={said}: {problem}; {name} is {seen.values.dtype} of shape {shape}",
                fix=f"leave it out: {name} is then read as {recognise(seen)}",
            )
        return (Reading(name, said, KINDS[said](seen), seen, recognised=False),)
    if any(_same(wanted, array) for array in inputs.values()):
        return (Reading(name, "passed", KINDS["passed"](seen), seen),)
    whole = recognise(seen)
    parts = _in_parts(name, wanted, seen) if whole in DIVISIBLE else ()
    of_classes = whole in ANSWERS and all(one.part and one.part.axis == seen.class_axis for one in parts)
    if of_classes and not any(one.kind_name in OF_THEIR_OWN for one in parts):
        parts = ()  # a class that is masked, or never said, is a class all the same
    return parts or (Reading(name, whole, KINDS[whole](seen), seen),)


def _in_parts(name: str, wanted: Values, seen: Seen) -> tuple[Reading, ...]:
    parts = parts_of(seen)
    if not parts:
        return ()
    assert isinstance(wanted, np.ndarray)
    owns = [Seen.of(name, part.of(wanted), part.axis) for part in parts]
    kinds = [recognise(own) for own in owns]
    beside_scores = any(kind in ("sigmoid", "probabilities") for kind in kinds)
    found = []
    for part, own, kind in zip(parts, owns, kinds, strict=True):
        kind_name = _of_part(part, own, kind, beside_scores=beside_scores)
        found.append(Reading(name, kind_name, KINDS[kind_name](own), own, part))
    return tuple(found)


def _of_part(part: Part, own: Seen, kind_name: str, *, beside_scores: bool) -> str:
    """Return how a part is read that looks like `kind_name` by itself.

    What lies in pixels beside scores are coordinates and no classes: two a point, and with a box's four any
    even number of them at an anchor. Classes are neighbours as well.
    """
    if kind_name not in ("scores", "values"):
        return kind_name
    if beside_scores and in_pixels(own):
        return "boxes" if own.ndim == 3 and own.shape[part.axis] % 2 == 0 else "values"
    return kind_name if part.together else "values"


def recognise(seen: Seen) -> str:
    """Return the name of the first kind that takes these values for its own."""
    for name in sorted(KINDS, key=lambda name: KINDS[name].order):
        if KINDS[name].recognises(seen):
            return name
    raise LookupError("the last kind takes everything")


def _same(wanted: Values, array: np.ndarray) -> bool:
    if not isinstance(wanted, np.ndarray):
        return False
    return wanted.shape == array.shape and bool((wanted == array).all())


# --- one output ----------------------------------------------------------------------------------------


def _one(reading: Reading, wanted: Values, given: Values) -> tuple[OutputQuality, str | None]:
    """Measure one output or part, and say whether it has collapsed."""
    if bad := broken(wanted, given):
        return _void(reading, bad, len(wanted))
    if silent := reading.kind.silent:
        if getattr(reading.kind, "whatever", False) or _stays(reading, wanted, given):
            withheld = (Withheld("sqnr", silent),)
            return _quality(reading, "", (), withheld), None
        plain = KINDS["values"](reading.seen)  # a constant that is not what it was is no constant
        reading = Reading(reading.name, "values", plain, reading.seen, recognised=reading.recognised)
    numeric = reading.seen.values.dtype.kind in "fiub" and reading.kind_name != "labels"
    signal = Signal(reading.seen.class_axis, reading.kind.speaking()) if numeric else None
    samples: dict[str, list[np.ndarray]] = {}
    reshaped = 0
    for ours, theirs in _pairs(reading, wanted, given):
        if ours.shape != theirs.shape:
            reshaped += 1
            continue
        if signal:
            signal.update(ours, theirs)
        for metric, values in reading.kind.measured(ours, theirs).items():
            samples.setdefault(metric, []).append(values)
    return _summed(reading, wanted, given, samples, signal, reshaped)


def _summed(
    reading: Reading,
    wanted: Values,
    given: Values,
    samples: dict[str, list[np.ndarray]],
    signal: Signal | None,
    reshaped: int,
) -> tuple[OutputQuality, str | None]:
    decides = reading.kind.decides
    if reshaped:
        return _misshapen(reading, reshaped, len(wanted), samples)
    found, withheld = signal.finish() if signal else ([], [])
    per_example = {metric: np.concatenate(parts) for metric, parts in samples.items()}
    arrays = isinstance(wanted, np.ndarray) and isinstance(given, np.ndarray)
    if arrays and isinstance(reading.kind, Embedding):
        assert isinstance(wanted, np.ndarray)
        assert isinstance(given, np.ndarray)
        per_example["same_nearest"] = same_nearest(_cut(reading, wanted), _cut(reading, given))
    found = [m for m in found if m.metric not in per_example]
    for metric, values in per_example.items():
        kept = values[np.isfinite(values)]
        if len(kept):
            found.append(Measurement(metric, tuple(kept.tolist())))
        else:
            withheld.append(Withheld(metric, "float is confident of nothing here, and neither is this one"))
    has = {m.metric for m in found}
    if decides not in has:  # no noise at all, or nothing that float marks
        decides = next((name for name in ("range_error", "sqnr", "cosine") if name in has), "")
    quality = _quality(reading, decides, tuple(found), tuple(withheld))
    whole = _cut(reading, wanted) if isinstance(wanted, np.ndarray) else None
    chance = None if whole is None else reading.kind.chance(whole)
    return quality, collapsed_part(quality, chance)


def _misshapen(
    reading: Reading, reshaped: int, count: int, samples: dict[str, list[np.ndarray]]
) -> tuple[OutputQuality, str | None]:
    """Judge an output whose shape depends on its values: an example of another shape is a wrong one."""
    told = f"{reshaped} of {count} examples have an output of another shape than in float"
    right = [1.0] * (count - reshaped)
    decides = reading.kind.decides if reading.kind.decides in SHARES else "comparable"
    if decides in samples:
        values = np.concatenate(samples[decides])
        right = values[np.isfinite(values)].tolist()
    withheld = tuple(Withheld(metric, told) for metric in ("sqnr", "cosine", "dead_channels"))
    found = (Measurement(decides, (*right, *[0.0] * reshaped)),)
    return _quality(reading, decides, found, withheld), told if 2 * reshaped > count else None


def _void(reading: Reading, bad: int, count: int) -> tuple[OutputQuality, str]:
    """Judge an output that is no number on some examples: it is void, whatever the others say."""
    told = f"{bad} of {count} answers hold NaN or infinity where float has numbers: a range overflowed"
    withheld = tuple(Withheld(metric, told) for metric in ("sqnr", "cosine", "dead_channels"))
    found = (Measurement("comparable", (*[1.0] * (count - bad), *[0.0] * bad)),)
    return _quality(reading, "comparable", found, withheld), told


def _quality(
    reading: Reading, decides: str, found: tuple[Measurement, ...], withheld: tuple[Withheld, ...]
) -> OutputQuality:
    part = str(reading.part) if reading.part else ""
    return OutputQuality(reading.name, reading.kind_name, decides, found, withheld, part, reading.recognised)


def _stays(reading: Reading, wanted: Values, given: Values) -> bool:
    """Tell whether what float says of every example, or was given, is what is said here."""
    for ours, theirs in _pairs(reading, wanted, given):
        if ours.shape != theirs.shape:
            return False
        if ours.dtype.kind in "OSUb":
            if not (ours == theirs).all():
                return False
            continue
        reach = float(np.abs(ours.astype(np.float64)).max(initial=0.0))
        far = np.abs(theirs.astype(np.float64) - ours.astype(np.float64)).max(initial=0.0)
        if far > CONSTANT * reach:
            return False
    return True


def _cut(reading: Reading, values: np.ndarray) -> np.ndarray:
    return reading.part.of(values) if reading.part else values


def _pairs(reading: Reading, wanted: Values, given: Values) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield both in chunks of examples, or one ragged example at a time; what is no number is 0 in both."""
    if isinstance(wanted, np.ndarray) and isinstance(given, np.ndarray):
        if wanted.shape[1:] != given.shape[1:]:
            yield from zip(wanted[:, None], given[:, None], strict=True)
            return
        ours, theirs = _cut(reading, wanted), _cut(reading, given)
        step = max(1, CHUNK // max(1, int(np.prod(ours.shape[1:]))))
        for start in range(0, len(ours), step):
            yield _finite(ours[start : start + step], theirs[start : start + step])
        return
    for one, other in zip(wanted, given, strict=True):
        first, second = np.atleast_1d(one)[None], np.atleast_1d(other)[None]
        yield _finite(first, second) if first.shape == second.shape else (first, second)


def _finite(ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if ours.dtype.kind not in "fc":
        return ours, theirs
    good = np.isfinite(ours) & np.isfinite(theirs)
    return (ours, theirs) if good.all() else (np.where(good, ours, 0), np.where(good, theirs, 0))


def broken(wanted: Values | None, given: Values) -> int:
    """Return how many examples hold NaN or infinity where float has a number of its own.

    Shapes:
        wanted: as `given`; None: there is no float to compare with, and every such number counts.
    """
    count = 0
    for number in range(len(given)):
        theirs = np.asarray(given[number])
        if theirs.dtype.kind != "f":
            continue
        bad = ~np.isfinite(theirs)
        if bad.any() and wanted is not None and np.shape(wanted[number]) == theirs.shape:
            bad &= np.isfinite(np.asarray(wanted[number], np.float64))
        count += bool(bad.any())
    return count
