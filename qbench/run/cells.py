"""The matrix: one technique of one model on one engine of one device becomes cells, or a skip."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

from qbench.backends.base import BACKENDS
from qbench.cases import (
    BUILD,
    SEED,
    ArtifactSpec,
    Case,
    Choice,
    DataSpec,
    Deployment,
    Explained,
    Float,
    Hop,
    Scenario,
    Split,
    key,
)
from qbench.errors import BadFile, DoesNotFit
from qbench.formats.edges import named
from qbench.machine import machine
from qbench.models.base import Model
from qbench.profile import Profile
from qbench.run.choose import model_of, source_of, strategy_of, task_of
from qbench.run.targets import Target
from qbench.run.way import Goal, find_way, version_or_none
from qbench.suite import CAPS, Suite, SuiteModel, SuiteScenario, Technique
from qbench.sweep import choice_of

CHECKED = 8  # examples about which a file is asked: a batch that is no single one, cheap for every engine


@dataclass(frozen=True, slots=True)
class Skip:
    """A cell that cannot run here; the sum of these is the compatibility matrix."""

    case: Case
    reason: str


class Matrix:
    """Collects cells with their priorities, and skips."""

    def __init__(self, suite: Suite, profile: Profile) -> None:
        """Start empty."""
        self.suite, self.profile = suite, profile
        self.cells: dict[Case, int] = {}  # with the priority: the larger, the sooner it is left out
        self.skips: list[Skip] = []
        self.left_out = 0  # ranked beyond what the profile measures
        self._for_themselves: set[Case] = set()  # of scenarios that ask for every technique
        self._content: dict[str, str] = {}
        self._sizes: dict[Choice, tuple[dict[str, int], str]] = {}
        self._no_data: dict[Choice, str] = {}

    def add(self, wanted: SuiteModel, technique: Technique, backend: str, target: Target) -> None:
        """Add one technique on one engine: a cell a scenario, and further calibration seeds."""
        source = source_of(wanted)
        model = model_of(source)
        task = choice_of(wanted.task, f"task of {wanted.use}") if wanted.task else model.task
        for scenario, seed, priority in self._asked(wanted, technique, backend, target):
            if priority > self.profile.priority:
                self.left_out += 1
                continue
            first = seed == self.suite.calibration.seeds[0]
            variant = technique if first else _seeded(technique, seed)
            case, reason = self._case(source, model, task, variant, backend, target, seed, scenario)
            if reason:  # the same for every batch and seed: said once
                self.skips.append(Skip(case, reason))
                return
            if not_so := self._not_so(case.deployment, target):  # of this scenario alone
                self.skips.append(Skip(case, not_so))
                continue
            self.cells.setdefault(case, priority)
            for again in self._builds(case):
                self.cells.setdefault(again, priority)
            if scenario and not scenario.techniques:
                self._for_themselves.add(case)

    def _builds(self, case: Case) -> Iterator[Case]:
        """Yield the case with its file compiled once more, as often as the profile says."""
        way = case.deployment.artifact.way
        if case.scenario.name != "single" or not any(_compiles(hop) for hop in way):
            return
        for number in range(1, self.profile.builds):
            mark = (("build", number),)
            other = tuple(
                replace(hop, use=Choice(hop.use.name, mark)) if _compiles(hop) else hop for hop in way
            )
            spec = replace(case.deployment.artifact, way=other)
            yield replace(
                case,
                technique=f"{case.technique}{BUILD}{number}",
                role="float" if case.role == "fp32" else case.role,  # one baseline a place
                deployment=replace(case.deployment, artifact=spec),
            )

    def drop_lonely(self) -> None:
        """Leave out baselines that nothing is compared with, where a scenario asked for techniques."""
        for case in list(self.cells):
            alone = case.role == "fp32" and case not in self._for_themselves
            if alone and not any(_compared(other, case) for other in self.cells):
                del self.cells[case]

    def explained(self) -> tuple[Explained, ...]:
        """Return every network of the cells whose technique can say where its loss is, once."""
        found: dict[ArtifactSpec, Explained] = {}
        for case in self.cells:
            spec = case.deployment.artifact
            if case.variant_of or not spec.chain or not strategy_of(spec.chain[-1]).explains:
                continue
            calibration = spec.calibration
            task = calibration.task if calibration else case.evaluation.task
            selection = self._examples(task, "selection", self.suite.calibration.seeds[0])
            found.setdefault(spec, Explained(case.technique, spec, selection))
        return tuple(found.values())

    def _asked(
        self, wanted: SuiteModel, technique: Technique, backend: str, target: Target
    ) -> Iterator[tuple[SuiteScenario | None, int, int]]:
        """Yield scenario (None: scored only), calibration seed and priority."""
        if technique.models and wanted.use not in technique.models:
            return
        if technique.backends and backend not in technique.backends:
            return
        seeds, ranked = self.suite.calibration.seeds, max(wanted.priority, technique.priority)
        emulated, baseline = target.reached == "emulated", technique.role == "fp32"
        scenarios = [
            scenario
            for scenario in self.suite.scenario
            if (scenario.name == "counted") == emulated
            and scenario.wants(wanted.use, technique.name, backend, baseline=baseline)
        ]
        if emulated or technique.timed:
            for scenario in scenarios:
                yield scenario, seeds[0], max(ranked, scenario.priority)
        elif scenarios:
            yield None, seeds[0], ranked
        calibrated = any(strategy_of(link).wants_calibration() for link in technique.chain)
        if self.profile.all_seeds and calibrated and scenarios and not emulated:
            for seed in seeds[1:]:
                yield None, seed, ranked + 1  # a wider look at what is measured anyway

    def _case(
        self,
        chosen: Choice,
        model: Model,
        task: Choice,
        technique: Technique,
        backend: str,
        target: Target,
        seed: int,
        scenario: SuiteScenario | None,
    ) -> tuple[Case, str | None]:
        engine, probe = BACKENDS[backend](), target.probes[backend].on(target.hardware.device)
        source = Hop(
            "source", chosen, model.format, Float(), self._content_of(chosen.name, model),
            checked=self._checked(model, task),
        )  # fmt: skip
        reason: str | None = None
        way: tuple[Hop, ...] = (source,)
        try:
            way = find_way(
                source,
                technique.chain,
                Goal(backend, engine.runs),
                lambda split: self._examples(task, split, seed),
            )
        except DoesNotFit as error:
            reason = f"{error.problem} (fix: {error.fix})"
        scored = min(self.suite.scored, self.profile.max_scored, target.hardware.scored or self.suite.scored)
        evaluation = self._data(task, "test", scored, None)
        spec = ArtifactSpec(Choice(chosen.name), way)
        threads = self._threads(scenario, target)
        placed = Deployment(
            spec,
            backend,
            target.hardware.device,
            threads,
            key((target.probes[backend].version, version_or_none("numpy") or "")),
            threads if scenario and scenario.name == "saturated" else 1,
            target.hardware.name,
            target.reached,
            scenario.isa if scenario else "",
            technique.options,
        )
        kind = Scenario(scenario.name, scenario.batch) if scenario else Scenario("scored")
        case = Case(
            self.suite.name,
            technique.name,
            technique.role,
            placed,
            evaluation,
            kind,
            technique.against,
            technique.after,
        )
        reason = reason or _timed_elsewhere(technique, target) or _no_such_option(placed)
        refused = probe.absent or self._no_data.get(task) or reason
        return case, refused or engine.refuses(placed.computes, probe)

    def _threads(self, scenario: SuiteScenario | None, target: Target) -> int:
        if target.hardware.threads:
            return target.hardware.threads
        if self.profile.one_thread:
            return 1
        return (scenario.threads if scenario else 0) or cores()

    def _not_so(self, placed: Deployment, target: Target) -> str | None:
        """Return why this device or engine cannot be used in the way that the scenario asks for."""
        here = target.hardware.threads or cores()
        if placed.threads > here:
            return f"the suite asks for {placed.threads} threads, and there are {here} here"
        if not placed.isa:
            return None
        if placed.isa not in BACKENDS[placed.backend].caps:
            return f"{placed.backend} has no switch that caps its vector instructions at {placed.isa}"
        wider = CAPS[placed.isa]
        known = wider in machine().features
        return None if known else f"this processor has no {wider}: there is nothing to cap at {placed.isa}"

    def _content_of(self, use: str, model: Model) -> str:
        if use not in self._content:
            self._content[use] = model.content()
        return self._content[use]

    def _examples(self, task: Choice, split: Split, seed: int) -> DataSpec:
        """Return what a technique looks at; calibration examples stand in for a split that the task lacks."""
        counts = {"train": self.suite.training, "selection": self.suite.selection}
        if split in counts:
            wanted = self._data(task, split, counts[split], None)
            if not self._sizes[task][0] or split in self._sizes[task][0]:
                return wanted
        return self._data(task, "calibration", self.suite.calibration.count, seed)

    def _checked(self, model: Model, task: Choice) -> DataSpec | None:
        """Return the examples about which a file is asked what it answers; a live module answers itself."""
        if model.format != "onnx":
            return None
        return self._data(task, "calibration", CHECKED, None)

    def _data(self, task: Choice, split: str, wanted: int, seed: int | None) -> DataSpec:
        """Return which examples; where the data is not here, a count that nobody will ask for."""
        if task not in self._sizes:
            made = task_of(task)
            try:
                self._sizes[task] = (dict(made.sizes()), made.recipe())  # type: ignore[arg-type]
            except BadFile as error:
                self._no_data[task] = f"{error.problem} (fix: {error.fix})"
                self._sizes[task] = ({}, "")
        sizes, recipe = self._sizes[task]
        return DataSpec(task, split, min(wanted, sizes.get(split, wanted)), seed, recipe)  # type: ignore[arg-type]


def _seeded(technique: Technique, seed: int) -> Technique:
    """Return a technique's variant with other calibration data; it is held against that of the same data."""
    against = f"{technique.against}{SEED}{seed}" if technique.against else ""
    return replace(technique, name=f"{technique.name}{SEED}{seed}", against=against)


def _timed_elsewhere(technique: Technique, target: Target) -> str | None:
    """Return why a technique that chooses by this processor's times is not for this device, or None."""
    link = next((link for link in technique.chain if strategy_of(link).bakes()), None)
    if link is None or target.reached != "emulated":
        return None
    return (
        f"{link} chooses by times of the processor that prepares it, which say nothing of "
        f"{target.hardware.name}: it is emulated here (fix: choose by what is no time, as "
        'budget = "bytes" does, or prepare it on the device itself)'
    )


def _no_such_option(placed: Deployment) -> str | None:
    """Return why the engine cannot be told what the technique tells it, or None."""
    known = BACKENDS[placed.backend].options
    for name, value in placed.options:
        if value not in known.get(name, ()):
            return f"{placed.backend} has no option {name} = {json.dumps(value)}"
    if placed.options and placed.computes == placed.artifact.state:
        return f"the file is {placed.artifact.state.kind}: a precision is an option for one in 32-bit float"
    return None


def _compiles(hop: Hop) -> bool:
    """Tell whether a hop compiles: its product depends on more than its input and a library's version."""
    return hop.kind == "edge" and named(hop.use.name).bakes is not str


def _compared(case: Case, base: Case) -> bool:
    """Tell whether a timed or counted cell is told against this baseline."""
    same = case.deployment.same_but_for_technique(base.deployment)
    return case.role != "fp32" and case.scenario == base.scenario and same


def cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
