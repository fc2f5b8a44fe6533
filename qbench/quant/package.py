"""Reading an AOTInductor package: the constants that its compiled code holds, and what multiplies with them.

A package is a zip with a shared library in it; the library holds the weights in the layout that its kernels
want (blocked by oneDNN, or plain). The runtime that loads the library tells every constant's element type and
sizes: those are the claims made here. Which of them is which operator's weight is no longer in the package;
a note beside it, written when it was compiled, lists the operators of the program that it was made from. A
constant is given to an operator whose weight had the same sizes. The note decides the pairing and the
multiply-accumulates, never a width.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qbench.errors import BadFile
from qbench.quant.exported_graph import exported_products, exported_weights
from qbench.quant.qdq_graph import Weight

if TYPE_CHECKING:
    from collections.abc import Iterable

NAME = "artifact.source.json"
SIDE_WORDS = ("scale", "zero_point", "zp")
WIDEST = 32


@dataclass(frozen=True, slots=True)
class Constant:
    """A tensor in the package, as the runtime describes it."""

    name: str
    sizes: tuple[int, ...]  # logical: whatever the blocking
    bits: int  # of one element

    @property
    def stored_bytes(self) -> int:
        """Return what its numbers take. A blocked layout pads them to whole blocks, with zeros.

        Padding shows in the file's size; it says nothing of how a number is written.
        """
        return self.elements * self.bits // 8

    @property
    def elements(self) -> int:
        """Return how many numbers it holds."""
        count = 1
        for size in self.sizes:
            count *= size
        return count

    @property
    def matrix(self) -> bool:
        """Tell whether more than one of its dimensions has more than one entry."""
        return sum(size > 1 for size in self.sizes) > 1


def write_source_note(program: Path, folder: Path) -> None:
    """List the products of the exported program beside the package that is made from it.

    Raises:
        BadFile: the file is no torch.export program.
    """
    weights = [asdict(weight) for weight in exported_weights(program)]
    note = {"products": exported_products(program), "weights": weights}
    (folder / NAME).write_text(json.dumps(note))


def source_products(path: Path) -> int:
    """Return how many products, with a weight or of two activations, the package's program had.

    Raises:
        BadFile: the note beside the package is missing or torn.
    """
    return int(_note(path)["products"])


def package_weights(path: Path | None) -> list[Weight]:
    """Return the weights of a package, the operators' first, then the matrices that no operator claims.

    A weight that is not found under its sizes (folded away, or joined with another) counts as 32-bit float.

    Raises:
        BadFile: the file is no package for this processor, or the note beside it is missing.
    """
    assert path is not None
    source = [Weight(**raw) for raw in _note(path)["weights"]]
    constants = package_constants(path)
    sides = [each for each in constants if not each.matrix and any(w in each.name for w in SIDE_WORDS)]
    left = [each for each in constants if each.matrix and each not in sides]
    given: dict[str, Weight] = {}  # by the program's names: operators may share a weight
    weights = []
    for wanted in source:
        if wanted.name not in given:
            given[wanted.name] = _claim(wanted, left, sides)
        weights.append(replace(given[wanted.name], operator=wanted.operator, macs=wanted.macs))
    return [*weights, *_unclaimed(left)]


def package_constants(path: Path) -> list[Constant]:
    """Return the constants in the package's library, in the order of their names.

    Raises:
        BadFile: the file is no package, or it was compiled for another processor.
    """
    import torch

    try:
        with zipfile.ZipFile(path) as package, tempfile.TemporaryDirectory() as folder:
            (library,) = [name for name in package.namelist() if name.endswith(".so")]
            runner: Any = torch._C._aoti.AOTIModelContainerRunnerCpu(package.extract(library, folder), 1)
            tensors: dict[str, Any] = runner.extract_constants_map(False)
            return [
                Constant(name, tuple(tensor.shape), 8 * tensor.dtype.itemsize)
                for name, tensor in sorted(tensors.items())
            ]
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        problem = f"{path} is no AOTInductor package for this machine: {error}"
        raise BadFile(problem, fix="delete its folder and run again") from error


def _claim(wanted: Weight, left: list[Constant], sides: list[Constant]) -> Weight:
    """Take a constant of the operator's sizes, in any order; one of the width it had, if there is one."""
    alike = [c for c in left if c.elements == wanted.elements and max(c.sizes) == wanted.channels]
    if not alike:
        name = f"{wanted.name} (not found in the package)"
        return replace(wanted, name=name, bits=WIDEST, stored_bytes=wanted.elements * WIDEST // 8)
    found = min(alike, key=lambda each: (each.bits != wanted.bits, each.name))
    left.remove(found)
    beside = _take_sides(found, sides) if found.bits <= 8 else 0
    return replace(wanted, name=found.name, bits=found.bits, stored_bytes=found.stored_bytes + beside)


def _take_sides(weight: Constant, sides: list[Constant]) -> int:
    """Take a scale and a zero point of this weight's size from what is left; return their bytes."""
    taken = 0
    for words in (SIDE_WORDS[:1], SIDE_WORDS[1:]):
        fitting = (
            each
            for each in sides
            if any(word in each.name for word in words) and each.elements in weight.sizes
        )
        if side := next(fitting, None):
            sides.remove(side)
            taken += side.stored_bytes
    return taken


def _unclaimed(constants: Iterable[Constant]) -> Iterator[Weight]:
    """Yield the matrices that no operator of the program multiplies with: tables, and copies."""
    for each in constants:
        yield Weight(
            each.name, "constant", each.elements, each.bits, each.stored_bytes, 0, max(each.sizes),
            multiplied=False,
        )  # fmt: skip


def _note(path: Path) -> dict[str, Any]:
    beside = path.with_name(NAME)
    try:
        note: dict[str, Any] = json.loads(beside.read_text())
        return note
    except (OSError, ValueError) as error:
        problem = f"the note beside the package cannot be read: {beside}: {error}"
        raise BadFile(problem, fix="delete its folder and run again") from error
