"""State that a recurrent network is handed from call to call: which output is which input's next value.

A pair is found by its names and shapes (`state` with `stateN`, `h` with `hn`, `c_in` with `c_out`), or said.
Only what the samples do not bring for every example is paired by itself: a network that turns `sample` into
`out_sample` is no recurrent one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from qbench.errors import BadParameter
from qbench.formats.artifact import TensorSpec

Pairs = tuple[tuple[str, str], ...]

BEFORE = {"in", "input", "prev", "previous", "old", "last", "0", "init", "initial"}
AFTER = {"out", "output", "n", "new", "next", "updated", "1", "final", "cur", "t"}


def paired(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], given: Iterable[str]) -> Pairs:
    """Return the (input, output) pairs that names and shapes show, in the order of the inputs.

    `given`: inputs for which the samples have a value for each example; they are no carried state. Nothing is
    paired where no input would be left, or where two outputs could be meant.
    """
    known = set(given)
    found = []
    for spec in inputs:
        if spec.name in known:
            continue
        fitting = [out for out in outputs if by_name(spec.name, out.name) and alike(spec, out)]
        if len(fitting) == 1:
            found.append((spec.name, fitting[0].name))
    taken = [out for _, out in found]
    found = [pair for pair in found if taken.count(pair[1]) == 1]
    return tuple(found) if len(found) < len(inputs) else ()


def by_name(into: str, out: str) -> bool:
    """Tell whether two names are those of one state before and after a call."""
    return into != out and _stem(into, BEFORE) == _stem(out, AFTER) != ""


def state_alone(carried: Pairs, outputs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """Return the outputs that are state and nothing else; none of a network that answers nothing else.

    One that its user pairs under another name may be an answer as well: it is judged like any.
    """
    found = tuple(out for into, out in carried if by_name(into, out))
    return found if len(found) < len(outputs) else ()


def told(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], pairs: Sequence[str]) -> Pairs:
    """Return the pairs that were written as `INPUT=OUTPUT`, checked.

    Raises:
        BadParameter: not of that form, a name that the network has not, or shapes that cannot be the same.
    """
    ins, outs = ({spec.name: spec for spec in specs} for specs in (inputs, outputs))
    found = []
    for pair in pairs:
        into, _, out = (part.strip() for part in pair.partition("="))
        if into not in ins or out not in outs:
            raise BadParameter(
                f"--state {pair}: the network's inputs are {', '.join(ins)}, its outputs {', '.join(outs)}",
                fix="write --state INPUT=OUTPUT with one of each: the output that is the input's next value",
            )
        if not alike(ins[into], outs[out]):
            raise BadParameter(
                f"--state {pair}: {into} is {shown(ins[into])}, and {out} is {shown(outs[out])}",
                fix="name an output of the input's own type and shape",
            )
        found.append((into, out))
    if found and len({into for into, _ in found}) == len(ins):
        raise BadParameter(
            "--state names every input of the network: nothing would be left that the samples give",
            fix="name only the inputs that are handed on from call to call",
        )
    return tuple(dict.fromkeys(found))


def written(pairs: Pairs) -> str:
    """Return the pairs in one text, as a suite holds them; `read` is its inverse."""
    return ", ".join(f"{into}={out}" for into, out in pairs)


def read(text: str) -> tuple[str, ...]:
    """Return the pairs of such a text, each as `INPUT=OUTPUT`."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def alike(spec: TensorSpec, out: TensorSpec) -> bool:
    """Tell whether an output can be an input's next value: one type, one rank, no dimension that differs."""
    if spec.dtype != out.dtype or len(spec.shape) != len(out.shape):
        return False
    return all(a == b or None in (a, b) for a, b in zip(spec.shape, out.shape, strict=True))


def shown(spec: TensorSpec) -> str:
    """Return type and shape in words: `float32 2 x batch x 128`, `int64 scalar`."""
    sizes = [str(size) if size else axis_name(spec, axis) for axis, size in enumerate(spec.shape)]
    return f"{spec.dtype} {' x '.join(sizes) or 'scalar'}"


def axis_name(spec: TensorSpec, axis: int) -> str:
    """Return a free axis's name as a person gave it; those that a tool numbers (`unk__214`) say nothing."""
    name = spec.axes[axis] if spec.axes else ""
    if name and not any(letter.isdigit() for letter in name):
        return name
    return "N" if axis == spec.batch_axis else "?"


def _stem(name: str, marks: set[str]) -> str:
    """Return a name without the words that say before or after: `new_state`, `stateN` and `state` are one."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    words = [word.lower() for word in re.split(r"[^A-Za-z0-9]+", spaced) if word]
    kept = [word for word in words if word not in marks] or words
    stem = " ".join(kept)
    if len(words) == 1 and len(stem) == 2 and stem[1] in marks:  # hn, cn, h0, c1: the letter and a mark
        return stem[0]
    return stem
