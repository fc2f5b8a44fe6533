"""What a strategy is: one step of a technique's chain. Strategies are final; none inherits from another.

Nothing here or at the top of a leaf imports torch, onnx or an engine: listing and planning must stay quick.
A leaf imports what it needs inside `apply`.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from qbench.cases import Float, State
from qbench.errors import DoesNotFit
from qbench.formats.signature import at_most, fed
from qbench.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    from qbench.formats.artifact import Artifact, Note, TensorSpec
    from qbench.quant.learning import Learned
    from qbench.quant.sensitivity import Losses

STRATEGIES: Registry[type[Strategy]] = Registry("technique", "qbench.strategies")


@dataclass(frozen=True, slots=True)
class Route:
    """One way to apply a strategy: the format it takes, the format it gives, and the library that does it."""

    takes: str
    gives: str
    provider: str  # distribution names, separated by spaces: their versions enter the artifact's key
    engines: tuple[str, ...] = ()  # the only ones that this product is for; empty: all of its format


@dataclass(frozen=True, slots=True)
class Training:
    """Examples to learn from, made into inputs a batch at a time, which bounds memory."""

    data_id: str
    count: int
    # rows (batch,) and a source of chance -> named inputs (batch, ...), varied as the task knows how
    take: Callable[[np.ndarray, np.random.Generator], dict[str, np.ndarray]]
    labels: np.ndarray | None = None  # (count,); None: the float network's answers are all there is


@dataclass(frozen=True, slots=True)
class Selection:
    """Examples to choose by; no page ever shows a number of them as a result."""

    data_id: str
    inputs: dict[str, np.ndarray]  # each (count, ...), or more: see `filled`
    # outputs of the first so many -> per example, right or not; None: the float network's answers are right
    right: Callable[[np.ndarray], np.ndarray] | None = None
    filled: int = 0  # rows at the end that only fill up a fixed batch: they are no examples
    specs: tuple[
        TensorSpec, ...
    ] = ()  # of the network's inputs; (): examples lie along the first axis of all
    kinds: Mapping[str, str] = field(default_factory=dict)  # how the user reads outputs, by output's name

    @property
    def count(self) -> int:
        """Return how many examples there are."""
        return len(next(iter(self.inputs.values()), ())) - self.filled

    def call(self, rows: Sequence[int] | np.ndarray) -> dict[str, np.ndarray]:
        """Return what a call with these examples takes, in the network's own layout."""
        import numpy as np

        return fed(self.specs, {name: array[np.asarray(rows)] for name, array in self.inputs.items()})


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a strategy is given of data: calibration examples, each input (count, ...), and others it needs.

    Empty where a strategy needs no data.
    """

    data_id: str
    inputs: dict[str, np.ndarray]
    fixed_batch: int | None = None  # the network takes batches of this size only
    training: Training | None = None
    selection: Selection | None = None
    specs: tuple[
        TensorSpec, ...
    ] = ()  # of the network's inputs; (): examples lie along the first axis of all

    def in_batches(self, batch: int) -> Iterator[dict[str, np.ndarray]]:
        """Yield calls of the examples in order, `batch` at a time, or as the network demands.

        Each is in the network's own layout. One example a call where an input without a batch axis differs
        between examples.
        """
        batch = self.fixed_batch or at_most(self.specs, self.inputs, batch)
        count = len(next(iter(self.inputs.values())))
        for start in range(0, count, batch):
            part = {name: array[start : start + batch] for name, array in self.inputs.items()}
            yield fed(self.specs, part)


def selection_or_raise(calibration: Calibration, technique: str, instead: str) -> Selection:
    """Return the examples to choose by, at least one and all finite; `instead` names what needs none.

    Raises:
        DoesNotFit: there is none, or one holds NaN or infinity.
    """
    import numpy as np

    selection = calibration.selection
    if selection is None or not selection.inputs or not len(next(iter(selection.inputs.values()))):
        raise DoesNotFit(
            f"{technique} chooses by selection examples, and there are none",
            fix=f"choose a task with a selection split, or {instead}",
        )
    for name, array in selection.inputs.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise DoesNotFit(
                f"{technique} cannot judge a network on selection input {name!r}: it holds NaN or infinity",
                fix="repair those examples or take them out of the selection split",
            )
    return selection


def in_float(
    artifact: Artifact, network: Any, folder: Path, notes: Iterable[Note], told: Learned | None
) -> Artifact:
    """Write an ONNX network that a link has left in 32-bit float; `told` is of its training, if any."""
    import onnx

    from qbench.formats.artifact import Note

    path = folder / "model.onnx"
    onnx.save(network, path)
    trained = (Note("training", str(told)),) if told else ()
    return replace(
        artifact,
        path=path,
        state=Float("fp32"),
        notes=(*artifact.notes, *notes, *trained),
        earlier_s=told.earlier_s if told else 0.0,
    )


def takes_fp32(technique: str, before: State) -> None:
    """Refuse a network that is not in 32-bit float any more; for a strategy's `state`.

    Raises:
        DoesNotFit: it is in another state; the fix puts the technique first. Planning, which knows the whole
            chain, writes it out in the order that works.
    """
    if before != Float("fp32"):
        raise DoesNotFit(
            f"{technique} takes a 32-bit float network, and this one is {before.kind} already",
            fix=f"put it first: {technique} before the link that left 32-bit float",
        )


class Strategy(abc.ABC):
    """A quantizing (or pruning, distilling, converting) step. Leaves are frozen dataclasses.

    A leaf's fields are the parameters that a suite may set, or sweep by giving a list. `__post_init__` checks
    them and raises BadParameter.
    """

    about: ClassVar[str]  # one sentence, for `qbench list`
    source: ClassVar[str]  # paper, specification or library
    routes: ClassVar[tuple[Route, ...]]
    needs_calibration: ClassVar[bool]  # with some parameters at least: see wants_calibration
    needs_training: ClassVar[bool] = False
    needs_selection: ClassVar[bool] = False
    explains: ClassVar[bool] = False  # whether it can say which layer its loss comes from

    def wants_calibration(self) -> bool:
        """Tell whether `apply` looks at calibration examples, with the parameters as they are."""
        return self.needs_calibration

    def wants_training(self) -> bool:
        """Tell whether `apply` learns from training examples, with the parameters as they are."""
        return self.needs_training

    def wants_selection(self) -> bool:
        """Tell whether `apply` chooses by selection examples, with the parameters as they are."""
        return self.needs_selection

    def bakes(self) -> str:
        """Name what the product holds of this machine, with the parameters as they are; "": nothing.

        Of a technique that chooses by what it times here: the processor. It enters the artifact's key,
        and such a technique is not for a device that is emulated.
        """
        return ""

    def explain(self, artifact: Artifact, calibration: Calibration) -> Losses:
        """Return what the rounding of each layer costs; for a strategy that `explains`.

        `artifact` is the network before this step; calibration.selection has the examples to judge by.

        Raises:
            DoesNotFit: as `apply` does.
        """
        raise NotImplementedError

    def about_s(self, examples: int) -> float:  # noqa: ARG002
        """Return about how long `apply` takes on two cores; `examples` are those that it learns from."""
        return 1.5

    @abc.abstractmethod
    def state(self, before: State) -> State:
        """Return the state that `apply` will give, known before anything is prepared.

        Raises:
            DoesNotFit: this step cannot follow on `before`; the fix names a chain that would work.
        """

    @abc.abstractmethod
    def apply(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Artifact:
        """Return the changed artifact, its file in `folder`; the artifact given comes back unchanged.

        Raises:
            DoesNotFit: the network has no layer that this step covers; the layer kinds found are named.
        """
