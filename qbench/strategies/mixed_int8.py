"""Int8 that holds: quantized, judged on every output, and the layers with the worst damage back in float."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from qbench.cases import Param, Quantized, Scheme, State
from qbench.errors import BadParameter, DoesNotFit
from qbench.formats.answers import Answer, answers
from qbench.formats.state import state_alone
from qbench.metrics import ACCURACY_LIMIT
from qbench.quality.compare import assess
from qbench.quality.judge import how_bad, judge
from qbench.quant.coverage import listed
from qbench.quant.put_back import FAILS, Candidate, Kept, Search
from qbench.quant.qdq_layout import fused, runner
from qbench.quant.quantized_parts import Part, parts_of
from qbench.strategies.base import (
    STRATEGIES,
    Calibration,
    Route,
    Selection,
    Strategy,
    selection_or_raise,
    takes_fp32,
)

if TYPE_CHECKING:
    import numpy as np

    from qbench.formats.artifact import Artifact

NAME = "mixed_int8"
EXAMPLES = 128  # of the selection split, at most: every candidate answers all of them
FEWEST = 32  # of these, however long an answer takes
TURN = 0.05  # of the budget: so long may the float network take to answer them all
CALIBRATED_ON = 64  # calibration examples for each candidate; the network that is chosen gets all of them
BATCH = 16
LEAST = 0.1  # of the weights, in int8: below it a network is no quantized one (its speed would be float's)
FUSED = 0.5  # of the layers: so many must run as integers once an engine has fused the file
LAYERS = "Conv,MatMul,Gemm"
# Where searches begin, by the quantizer named: what users of these libraries would try by hand, in turn.
STARTS: dict[str, tuple[tuple[str, dict[str, Param]], ...]] = {
    "static_int8": (("static_int8", {}), ("static_int8", {"operators": LAYERS})),
    "nncf_int8": (("nncf_int8", {}), ("nncf_int8", {"model_type": "transformer"})),
}
STARTS["best"] = STARTS["static_int8"] + STARTS["nncf_int8"]


@STRATEGIES.register(NAME)
@dataclass(frozen=True, slots=True)
class MixedInt8(Strategy):
    """Static int8 with as many layers in float as it takes for every output to hold.

    Quantized networks of several kinds are judged on selection examples, each output by its kind against the
    float network's: by labels where the task has them. From the best of them, the layers (and operators
    between them, such as the Concat of boxes and scores) that do the worst damage go back to float.

    quantizer: what quantizes: "static_int8", "nncf_int8", or "best" for whichever begins best.
    limit: how much of the limit of each output may be used up, and of one point of accuracy where there are
    labels: 1 is all of it, 0.5 asks for half the loss.
    budget_s: for how long to search; then the best that was found is the answer, and a note says if it holds.
    """

    about: ClassVar[str] = "int8 with the worst layers back in float, until every output holds"
    source: ClassVar[str] = (
        "our own search over onnxruntime's and NNCF's quantizers; the idea of NNCF's accuracy control"
    )
    routes: ClassVar[tuple[Route, ...]] = (
        Route("onnx", "onnx", "onnxruntime-gpu onnxruntime onnx numpy nncf openvino"),
    )
    needs_calibration: ClassVar[bool] = True
    needs_selection: ClassVar[bool] = True

    quantizer: Literal["best", "static_int8", "nncf_int8"] = "best"
    limit: float = 1.0
    budget_s: float = 20.0

    def __post_init__(self) -> None:
        """Check the parameters."""
        if self.quantizer not in STARTS:
            raise BadParameter(
                f"{NAME} has no quantizer {self.quantizer!r}",
                fix=f"write quantizer = {' or '.join(repr(name) for name in STARTS)}",
            )
        if not self.limit > 0:
            raise BadParameter(
                f"{NAME}: limit = {self.limit:g} allows no loss at all",
                fix="write limit = 1.0 for the limits as they are, or 0.5 for half of the loss",
            )
        if not self.budget_s > 0:
            raise BadParameter(
                f"{NAME}: budget_s = {self.budget_s:g} leaves no time",
                fix="write budget_s = 20.0, in seconds",
            )

    def state(self, before: State) -> State:
        """Return eight bits both ways where it is quantized; see Strategy.state."""
        takes_fp32(NAME, before)
        return Quantized(Scheme(8, 8, "per_channel", mixed=True))

    def about_s(self, examples: int) -> float:  # noqa: ARG002
        """Return the time that it may take; see Strategy.about_s."""
        return self.budget_s

    def apply(self, artifact: Artifact, calibration: Calibration, folder: Path) -> Artifact:
        """Search, quantize the network that was found on all of the calibration data, and judge it again.

        Raises:
            DoesNotFit: also where there are no selection examples, or no start can quantize this network; the
                reason of the first is given.
        """
        selection = selection_or_raise(calibration, NAME, "use static_int8, which needs none")
        until = time.monotonic() + self.budget_s
        few = replace(calibration, inputs={n: a[: _few(calibration)] for n, a in calibration.inputs.items()})
        with tempfile.TemporaryDirectory(dir=folder) as place:
            judge_of = Judge.of(artifact, selection, self.limit, TURN * self.budget_s, Path(place))
            tried = [_Tried(artifact, few, judge_of, use, params) for use, params in STARTS[self.quantizer]]
            found = _best(tried, until)
            chosen = tried[found[0]]
            product = chosen.quantized(found[1].kept, calibration, folder)
        notes = (*product.notes, self._told(chosen, found[1], judge_of, product))
        return replace(product, state=self.state(artifact.state), notes=notes)

    def _told(self, chosen: _Tried, found: Candidate, judge_of: Judge, product: Artifact) -> Any:
        """Return the note on what was chosen, judged as it is deployed."""
        from qbench.formats.artifact import Note

        bad, said = judge_of.of_network(product)
        layers = [part for part in chosen.parts if part.elements]
        kept = sorted((p for p in chosen.parts if p.name in found.kept), key=lambda part: -part.elements)
        in_float = sum(part.elements > 0 for part in kept)
        more = f" and {len(kept) - in_float} operators between them" if len(kept) > in_float else ""
        how = f"{in_float} of {len(layers)} layers{more} in float"
        how += f" ({listed([part.name for part in kept])})" if kept else ""
        same = judge_of.selection.data_id == chosen.calibration.data_id
        which = "calibration examples, for want of others to choose by" if same else "selection examples"
        asked = f"{chosen.words}; {judge_of.networks} networks tried on {judge_of.count} {which}"
        return Note("mixed precision", f"{how}; {asked}; {said}", warns=bad > 1)


def _few(calibration: Calibration) -> int:
    """Return how many calibration examples a candidate gets, in whole batches where it takes no others."""
    fixed = calibration.fixed_batch or 1
    return -(-CALIBRATED_ON // fixed) * fixed


def _best(tried: list[_Tried], until: float) -> tuple[int, Candidate]:
    """Return which start is the best, and its best network: the first that holds, else the least bad.

    Raises:
        DoesNotFit: none of them can quantize this network.
    """
    starts: list[tuple[float, int]] = []
    for number, one in enumerate(tried):
        if starts and time.monotonic() > until:
            break
        bad = one.start()
        starts.append((bad, number))
        if bad <= 1:
            return number, Candidate(frozenset(), bad)
    ready = [number for _, number in sorted(starts) if not tried[number].failed]
    if not ready:
        raise tried[0].failed or DoesNotFit(f"{NAME}: nothing was tried", fix="write a larger budget_s")
    best: tuple[int, Candidate] | None = None
    for number in ready:
        found = tried[number].search(until)
        if found and (best is None or found.bad < best[1].bad):
            best = number, found
        if best and (best[1].holds or time.monotonic() > until):
            break
    if best is None:
        raise DoesNotFit(
            f"{NAME}: no network of this search keeps {LEAST:.0%} of its weights in int8",
            fix=f"leave {NAME} out for this network",
        )
    return best


@dataclass
class _Tried:
    """One way to quantize, and what is known of it."""

    artifact: Artifact
    calibration: Calibration
    judge: Judge
    use: str
    params: Mapping[str, Param]
    failed: DoesNotFit | None = None
    parts: tuple[Part, ...] = ()
    _start: float = field(default=float("inf"))

    @property
    def words(self) -> str:
        """Write the quantizer with its parameters."""
        inner = ", ".join(f"{name} = {value}" for name, value in self.params.items())
        return f"{self.use}({inner})" if inner else self.use

    def start(self) -> float:
        """Return how bad the network is with all that this way quantizes in int8."""
        try:
            product = self.quantized(frozenset(), self.calibration, self.judge.folder)
        except DoesNotFit as error:
            self.failed = error
            return float("inf")
        self.parts = parts_of(product.path)
        self._start, _ = self.judge.of_network(product)
        layers = sum(part.elements > 0 for part in self.parts)
        if fused(product.path) < FUSED * layers:
            self.failed = DoesNotFit(
                f"{self.words} leaves more than half of this network's {layers} layers to float kernels",
                fix=f"leave {NAME} out for this network",
            )
            return float("inf")
        return self._start

    def search(self, until: float) -> Candidate | None:
        """Return the best network of this way, or None where none is quantized enough."""
        names = [part.name for part in self.parts]
        sizes = {part.name: part.elements for part in self.parts}
        whole = sum(sizes.values())

        def bad(kept: Kept) -> float:
            try:
                return self.judge.of_network(self.quantized(kept, self.calibration, self.judge.folder))[0]
            except DoesNotFit:  # nothing would be left to quantize, or this way has no such part
                return float("inf")

        search = Search(
            names,
            bad,
            cost=lambda kept: float(sum(sizes[name] for name in kept)),
            allowed=lambda kept: sum(sizes[n] for n in names if n not in kept) >= LEAST * whole > 0,
            late=lambda: time.monotonic() > until,
            tried={frozenset(): self._start},
        )
        try:
            return search.best()
        except ValueError:
            return None

    def quantized(self, kept: Kept, calibration: Calibration, folder: Path) -> Artifact:
        """Return the network with these parts in float; the file in the folder is written over."""
        names = [part.name for part in self.parts if part.name in kept]
        more: dict[str, Param] = {"keep_float": ",".join(names)} if names else {}
        return STRATEGIES[self.use](**self.params, **more).apply(self.artifact, calibration, folder)


@dataclass
class Judge:
    """The examples that candidates are judged on, and what the float network says of them."""

    artifact: Artifact
    selection: Selection
    limit: float
    folder: Path
    count: int
    wanted: Sequence[Answer]
    networks: int = 0  # judged so far

    @classmethod
    def of(cls, artifact: Artifact, selection: Selection, limit: float, turn_s: float, folder: Path) -> Judge:
        """Ask the float network, about so many examples that it takes it no longer than `turn_s`."""
        count = min(EXAMPLES, selection.count)
        judge_of = cls(artifact, selection, limit, folder, min(count, FEWEST), ())
        start = time.monotonic()
        judge_of.wanted = judge_of._answers(artifact)
        each_s = (time.monotonic() - start) / judge_of.count
        judge_of.count = max(judge_of.count, min(count, int(turn_s / each_s)))
        judge_of.wanted = judge_of._answers(artifact)
        return judge_of

    def of_network(self, product: Artifact) -> tuple[float, str]:
        """Return how bad a network is, at most 1 where it holds, and what that rests on."""
        self.networks += 1
        given = self._answers(product)
        if self.selection.right is not None:
            return self._by_labels(given)
        names = [spec.name for spec in self.artifact.outputs]
        carried = dict.fromkeys(state_alone(self.artifact.carried, self.artifact.outputs), "state")
        kinds = carried | dict(self.selection.kinds)  # as the score reads them
        found = assess(names, self.wanted, given, kinds=kinds, inputs=self._seen())
        judgement, bad = judge(found.outputs), how_bad(found.outputs) / self.limit
        if judgement.outcome == "fail" or found.collapses:
            bad += FAILS
        if judgement.outcome == "unjudged":
            raise DoesNotFit(
                f"{NAME} cannot judge this network: {judgement.text}",
                fix="say how an output is read (--output-kind; in a suite, output_kinds of its task), or use "
                "static_int8",
            )
        return bad, judgement.text

    def _by_labels(self, given: Sequence[Answer]) -> tuple[float, str]:
        import numpy as np

        assert self.selection.right is not None
        shares = [float(self.selection.right(np.asarray(some[0])).mean()) for some in (self.wanted, given)]
        lost = shares[0] - shares[1]
        told = f"{shares[1]:.1%} of {self.count} right against {shares[0]:.1%} in float"
        return max(0.0, lost / (-ACCURACY_LIMIT * self.limit)), told

    def _answers(self, network: Artifact) -> Sequence[Answer]:
        import onnx

        names = [spec.name for spec in self.artifact.outputs]
        run = runner(onnx.load(network.path or ""), names, optimized=True)
        return answers(lambda taken: [array for _, array in run(taken)], self.artifact, self._seen(), BATCH)

    def _seen(self) -> dict[str, np.ndarray]:
        """Return the examples that are judged, in the examples' form."""
        return {name: array[: self.count] for name, array in self.selection.inputs.items()}
