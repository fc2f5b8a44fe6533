"""Techniques that a run has at several widths of weights: which cells belong together."""

from __future__ import annotations

from collections.abc import Sequence

from qbench.cases import SIMULATED, Choice, FakeQuant, Quantized
from qbench.report.bits_plot import Family
from qbench.report.cell import Cell
from qbench.report.figures import Figure
from qbench.report.pareto import Span
from qbench.report.writers import plain

SWEPT = "weight_bits"
Chain = tuple[Choice, ...]


def families(cells: Sequence[Cell]) -> list[Family]:
    """Return the techniques whose chains differ in nothing but the weights' bits, at two widths or more.

    Accuracy is the median and the range over calibration seeds, where there are several; simulated twins
    are left out, for their files stand here already. At least one of a family says `weight_bits` itself.
    """
    found: dict[tuple[Chain, str], dict[int, Cell]] = {}
    for cell in cells:
        state = cell.artifact.state
        if not isinstance(state, (Quantized, FakeQuant)) or state.scheme.mixed or _accuracy(cell) is None:
            continue
        if not cell.technique.endswith(SIMULATED):
            key = _without_bits(cell.artifact.chain), cell.engine
            found.setdefault(key, {}).setdefault(state.scheme.weight_bits, cell)
    told = []
    for (_, engine), by_bits in found.items():
        named = [cell for cell in by_bits.values() if _says_bits(cell)]
        if len(by_bits) > 1 and named:
            widths = [(bits, span) for bits, cell in sorted(by_bits.items()) if (span := _accuracy(cell))]
            told.append(Family(_name(named[0]), plain(engine), tuple(widths)))
    return told


def _without_bits(chain: Chain) -> Chain:
    return tuple(Choice(link.name, tuple(pair for pair in link.params if pair[0] != SWEPT)) for link in chain)


def _says_bits(cell: Cell) -> bool:
    return any(name == SWEPT for link in cell.artifact.chain for name, _ in link.params)


def _name(cell: Cell) -> str:
    """Return the technique's name without the width that the sweep has put behind it."""
    return plain(cell.technique.partition(f" ({SWEPT}=")[0])


def _accuracy(cell: Cell) -> Span | None:
    """Return the accuracy over seeds, else of the one; a collapsed network still has its own."""
    for name in ("accuracy_over_seeds", "accuracy"):
        value = cell.figures[name]
        if isinstance(value, Figure):
            return Span.of(value) if name == "accuracy_over_seeds" else Span(*[value.value] * 3)
    return None
