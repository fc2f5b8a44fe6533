"""The user's samples, as the network takes them: from the arrays of an .npz file to the examples' form.

An array has the network's own layout, its examples along the input's batch axis. What else is understood, and
said: examples along the first axis although the network has them elsewhere, or along an axis of their own in
front of a batch of one; one value for all examples; another element type that loses nothing.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from qbench.errors import BadFile
from qbench.formats.artifact import TensorSpec
from qbench.formats.signature import fixed_batch, one_value, same_for_all
from qbench.formats.state import Pairs, axis_name, shown

FEWEST = 8  # of which two calibrate and six are compared
HOW = "save samples with numpy.savez(path, INPUT_NAME=array)"


@dataclass(frozen=True, slots=True)
class Laid:
    """One array in the examples' form, `count` None where it is one value for all; and how it was taken."""

    array: np.ndarray
    count: int | None
    as_network: bool = True  # its layout is the network's
    said: str = ""


@dataclass(frozen=True, slots=True)
class Samples:
    """All samples in the examples' form, the inputs with the sizes that they fix, and what was understood."""

    inputs: tuple[TensorSpec, ...]
    arrays: dict[str, np.ndarray]  # (count, ...) each; what is the same for all is a view of one value
    count: int
    said: tuple[str, ...]  # one line an input


def read_npz(path: str) -> dict[str, np.ndarray]:
    """Return the arrays of the file.

    Raises:
        BadFile: no such file, no .npz file, or one without arrays.
    """
    told = f"--inputs {path}"
    if os.path.isdir(path):
        raise BadFile(f"{told} is a folder", fix=f"name a file in it; {HOW}")
    try:
        with open(path, "rb") as file:
            start = file.read(8)
            file.seek(0)
            if start[:6] == b"\x93NUMPY":
                fix = f"{HOW}: it writes the name of the input beside the array, which .npy has not"
                raise BadFile(f"{told} is a .npy file: one array without the name of an input", fix=fix)
            if start and start[:2] != b"PK":
                raise BadFile(f"{told} is no .npz file: it begins with {_begin(start)}", fix=HOW)
            with np.load(file, allow_pickle=False) as kept:
                arrays = {name: kept[name] for name in kept.files}
    except (OSError, EOFError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadFile(f"{told} is no .npz file: {reason}", fix=HOW) from error
    if not arrays:
        raise BadFile(f"{told} is an .npz file without any array", fix=HOW)
    return arrays


def _begin(start: bytes) -> str:
    text = start.decode("ascii", "replace")
    return f"the text {text!r}" if text.isprintable() else f"the bytes {start.hex(' ')}"


def fitted(
    arrays: Mapping[str, np.ndarray],
    inputs: Sequence[TensorSpec],
    carried: Pairs = (),
    *,
    source: str = "--inputs",
) -> Samples:
    """Return the arrays in the examples' form, each of its input's type.

    A carried input needs no array: its first value is zero, or the first that an array has for it.

    Raises:
        BadFile: an array is missing, one too many, or does not fit its input; they have differently many
            examples, too few, or NaN; state is carried in a batch that is fixed at more than one.
    """
    known, states = {spec.name: spec for spec in inputs}, dict(carried)
    if carried and (batch := fixed_batch(inputs) or 1) > 1:
        raise BadFile(
            f"the network carries state and takes {batch} streams at once; samples are calls of one stream",
            fix="export it with a batch of 1, or with a free one",
        )
    _names(arrays, known, states, source)
    fits = {
        name: list(_layouts(_typed(array, known[name], source), known[name]))
        for name, array in arrays.items()
        if name not in states
    }
    for name, found in fits.items():
        if not found:
            raise _unfit(arrays[name], known[name], source)
    chosen, count = _agreed(fits, source)
    if count < FEWEST:
        raise BadFile(
            f"{source} holds {count} samples{_where(chosen, known)}",
            fix=f"give at least {FEWEST}; 200 or more make differences visible",
        )
    taken, said = {}, []
    for spec in inputs:
        if spec.name in states:
            array = _first_state(arrays.get(spec.name), spec, source)
            line = f"{spec.name}: carried from call to call, its next value is the output {states[spec.name]}"
            said.append(f"{line}; it starts at {'zero' if not array.any() else 'the first value given'}")
        else:
            array, line = chosen[spec.name].array, _told(spec, chosen[spec.name], count)
            was = arrays[spec.name].dtype.name
            said.append(line if was == spec.dtype else f"{line}; converted from {was}")
        taken[spec.name] = array if len(array) == count else np.broadcast_to(array, (count, *array.shape[1:]))
    if carried:
        said.append(f"the {count} samples are consecutive calls of one stream, in order")
    fixed = tuple(replace(spec, one=_of_one(spec, taken[spec.name])) for spec in inputs)
    return Samples(fixed, taken, count, tuple(said))


def distinct(samples: Samples) -> int:
    """Return how many of the samples differ from all before them: copies prove nothing more."""
    return len({_content(samples, row) for row in range(samples.count)})


def _content(samples: Samples, row: int) -> bytes:
    found = hashlib.blake2b(digest_size=16)
    for array in samples.arrays.values():
        if not one_value(array):
            found.update(np.ascontiguousarray(array[row]).tobytes())
    return found.digest()


def _names(
    arrays: Mapping[str, np.ndarray], known: Mapping[str, TensorSpec], states: Mapping[str, str], source: str
) -> None:
    extra = [name for name in arrays if name not in known]
    missing = [name for name in known if name not in arrays and name not in states]
    wanted = ", ".join(f"{spec.name} ({shown(spec)})" for spec in known.values())
    if missing:
        spec = known[missing[0]]
        raise BadFile(
            f"{source} has no array for the input {', '.join(missing)}; it holds {', '.join(sorted(arrays))}",
            fix=f"numpy.savez(path, ...) with one array for each input: {wanted}"
            + (f"; one value for all samples is enough for {spec.name}" if spec.batch_axis is None else ""),
        )
    if extra:
        raise BadFile(
            f"{source} has an array {', '.join(extra)}, and the network has no such input",
            fix=f"leave it out, or give it the name of an input: {wanted}",
        )


def _typed(array: np.ndarray, spec: TensorSpec, source: str) -> np.ndarray:
    """Return the array in its input's element type, where that loses nothing that a float32 would keep.

    Raises:
        BadFile: it holds NaN or infinity, or would lose something.
    """
    bad = array.dtype.kind == "f" and ~np.isfinite(array)
    if np.any(bad):
        places = np.argwhere(bad)
        raise BadFile(
            f"{source}: {spec.name} holds NaN or infinity: {len(places)} of {array.size} values, "
            f"the first at {tuple(int(place) for place in places[0])}",
            fix="remove those samples",
        )
    if array.dtype.name == spec.dtype:
        return array
    found, wanted = str(array.dtype), spec.dtype
    if array.dtype.kind in "fiub" and (changed := _exactly(array, wanted)) is not None:
        return changed
    raise BadFile(
        f"{source}: {spec.name} is {found}, and the network takes {wanted}",
        fix=f"save {spec.name}.astype('{wanted}'); it was not converted, because values would change"
        if array.dtype.kind in "fiub"
        else f"save numbers: an array of {wanted}",
    )


def _exactly(array: np.ndarray, wanted: str) -> np.ndarray | None:
    """Return the array in another type, None where its values would be other ones.

    Real numbers may lose what single precision does not hold: 2**-24 of each value.
    """
    try:
        with np.errstate(all="ignore"):
            changed = array.astype(wanted)
            back = changed.astype(array.dtype)
    except TypeError:  # a type that this numpy does not know
        return None
    if array.dtype.kind == "f" and changed.dtype.kind == "f":
        return changed if np.allclose(back, array, rtol=2.0**-23, atol=1e-30) else None
    return changed if np.array_equal(back, array) else None


def _layouts(array: np.ndarray, spec: TensorSpec) -> Iterator[Laid]:
    """Yield the ways in which an array can be this input's samples, the network's own layout first."""
    axis, rank, shape = spec.batch_axis, len(spec.shape), spec.shape
    if axis is None:
        if _meets(array.shape, shape):
            yield Laid(array[None], None)
        elif rank == 0 and array.size == 1:
            yield Laid(array.reshape(1), None)
        elif array.ndim == rank + 1 and _meets(array.shape[1:], shape):
            if same_for_all(array):
                yield Laid(array[:1], len(array))
            else:
                yield Laid(array, len(array), said="differs between examples, so that a call takes one")
        return
    inner = (*shape[:axis], *shape[axis + 1 :])
    if array.ndim == rank and _meets((*array.shape[:axis], *array.shape[axis + 1 :]), inner):
        yield Laid(np.moveaxis(array, axis, 0), array.shape[axis])
    if axis and array.ndim == rank and _meets(array.shape[1:], inner):
        yield Laid(array, len(array), as_network=False, said="the samples came along the first axis")
    if array.ndim == rank + 1 and array.shape[1 + axis] == 1 and shape[axis] in (None, 1):
        without = array.squeeze(1 + axis)
        if _meets(without.shape[1:], inner):
            said = "the samples came along an axis of their own"
            yield Laid(without, len(array), as_network=False, said=said)


def _meets(found: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(found) == len(wanted) and all(
        own in (None, size) for own, size in zip(wanted, found, strict=True)
    )


def _agreed(fits: Mapping[str, Sequence[Laid]], source: str) -> tuple[dict[str, Laid], int]:
    """Choose a layout for each array so that all have one number of examples, the network's where it can be.

    Raises:
        BadFile: there is no such choice.
    """
    counts = dict.fromkeys(one.count for one in chain(*fits.values()) if one.count is not None)
    best: tuple[tuple[bool, int], dict[str, Laid], int] | None = None
    for count in counts:
        chosen = {}
        for name, found in fits.items():
            fitting = [one for one in found if one.count in (None, count)]
            if not fitting:
                break
            chosen[name] = fitting[0]
        if len(chosen) == len(fits):
            rank = (count >= FEWEST, sum(one.as_network for one in chosen.values()))
            if best is None or rank > best[0]:
                best = (rank, chosen, count)
    if best is None:
        told = ", ".join(f"{name} {found[0].count}" for name, found in fits.items() if found[0].count)
        problem = (
            f"the arrays differ in length: {told} samples" if told else "no array has an axis of samples"
        )
        raise BadFile(f"{source}: {problem}", fix=f"give every input of every sample: {FEWEST} or more")
    return best[1], best[2]


def _first_state(
    array: np.ndarray | None,
    spec: TensorSpec,
    source: str,
) -> np.ndarray:
    """Return a state's first value in the examples' form, (1, ...): what was given, else zeros.

    Raises:
        BadFile: what was given does not fit, or a dimension is free and nothing gives its size.
    """
    if array is not None:
        found = list(_layouts(_typed(array, spec, source), spec))
        if not found:
            raise _unfit(array, spec, source)
        return found[0].array[:1]
    sizes = [size for axis, size in enumerate(spec.shape) if axis != spec.batch_axis]
    if None in sizes:
        raise BadFile(
            f"{source}: the state {spec.name} is {shown(spec)}, and nothing says how long its free axes are",
            fix=f"give its first value: an array {spec.name}, of zeros for most networks",
        )
    return np.zeros((1, *(size or 0 for size in sizes)), spec.dtype)


def _unfit(array: np.ndarray, spec: TensorSpec, source: str) -> BadFile:
    axis = spec.batch_axis
    found = " x ".join(map(str, array.shape)) or "scalar"
    sizes = [
        "N" if place == axis else str(size or axis_name(spec, place)) for place, size in enumerate(spec.shape)
    ]
    wanted = " x ".join(sizes) or "scalar"
    if axis is None:
        how = f"save one value for all samples, {spec.dtype} {wanted}, or one for each: N x {wanted}"
    else:
        how = f"save {spec.dtype} samples {wanted}, N being their number"
        how += ": 200 or more, whatever batch the network takes"
    return BadFile(
        f"{source}: {spec.name} is {array.dtype} {found}, and the network takes {shown(spec)}", fix=how
    )


def _where(chosen: Mapping[str, Laid], known: Mapping[str, TensorSpec]) -> str:
    """Return along which axis they were counted, where that is not the first."""
    for name, one in chosen.items():
        axis = known[name].batch_axis
        if one.count is not None and one.as_network and axis:
            return f" along axis {axis} of {name}, where the network has its batch"
    return ""


def _told(spec: TensorSpec, laid: Laid, count: int) -> str:
    """Return one line about an input: its layout, where its examples are, what the samples fix."""
    if laid.count is None or (spec.batch_axis is None and not laid.said):
        value = laid.array.ravel()
        is_it = f": {value[0]}" if value.size == 1 else ""
        return f"{spec.name}: {shown(spec)}, the same for all samples{is_it}"
    parts = [f"{spec.name}: {shown(spec)}"]
    if spec.batch_axis is not None:
        fixed = spec.shape[spec.batch_axis]
        parts.append(f"examples along axis {spec.batch_axis}, {count} of them")
        parts += [f"{fixed} a call, as the network takes no other number"] if fixed else []
    one = _of_one(spec, laid.array)
    free = [axis for axis, size in enumerate(spec.shape) if size is None and axis != spec.batch_axis]
    if free:
        names = {axis: axis_name(spec, axis).replace("?", f"axis {axis}") for axis in free}
        lengths = ", ".join(f"{name} = {one[axis]}" for axis, name in names.items())
        parts.append(f"free sizes as in the samples: {lengths}")
    return "; ".join([*parts, laid.said] if laid.said else parts)


def _of_one(spec: TensorSpec, array: np.ndarray) -> tuple[int, ...]:
    """Return the shape of a call with one example, a fixed batch being what it is."""
    inner, axis = array.shape[1:], spec.batch_axis
    if axis is None:
        return tuple(inner)
    return (*inner[:axis], spec.shape[axis] or 1, *inner[axis:])
