"""The plan: every cell, every skip with its reason, and the time it will take, before anything starts."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace

from qbench.backends.base import BACKENDS, Probe
from qbench.cases import ArtifactSpec, Case, Choice, DataSpec, Deployment, Float, Hop, Scenario, key
from qbench.errors import BadSuite, DoesNotFit
from qbench.formats import cache
from qbench.hardware import HardwareProfile
from qbench.models.base import Model
from qbench.profile import Profile
from qbench.registry import did_you_mean
from qbench.run.choose import at, model_of, strategy_of, task_of
from qbench.run.way import find_way, version_or_none
from qbench.suite import Suite, SuiteExpectation, SuiteModel, Technique, choice_of, expanded
from qbench.tasks.base import Task

SEED = ", calibration seed "  # in the name of a cell that is scored with further calibration data


@dataclass(frozen=True, slots=True)
class Selection:
    """What the command line narrows the suite down to; empty means all."""

    models: tuple[str, ...] = ()
    techniques: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Skip:
    """A cell that cannot run here; the sum of these is the compatibility matrix."""

    case: Case
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a run will do and will not do."""

    suite: Suite
    profile: Profile
    cells: tuple[Case, ...]
    skips: tuple[Skip, ...]
    estimate_s: float

    @property
    def groups(self) -> dict[tuple[str, str], list[Case]]:
        """Return the timed cells by model and device: a group's cells take turns in every round."""
        groups: dict[tuple[str, str], list[Case]] = {}
        for case in self.cells:
            if case.scenario.name != "scored":
                deployment = case.deployment
                groups.setdefault((deployment.artifact.model.name, deployment.device), []).append(case)
        return groups

    def expected(self, case: Case) -> str | None:
        """Return the reason why this cell is expected to collapse, where the suite gives one."""
        for expectation in self.suite.expect:
            if _matches(expectation, case):
                return expectation.reason
        return None


def make_plan(
    suite: Suite,
    profile: Profile,
    hardware: list[HardwareProfile],
    selection: Selection,
    probes: Callable[[list[str]], dict[str, Probe]],
) -> Plan:
    """Cross models, techniques and engines; resolve every way; ask every engine whether it can.

    Raises:
        UnknownName: a model, technique, task or backend that no plug-in registered.
        BadParameter: a parameter out of range.
        BadSuite: a filter that matches nothing, or nothing to measure at all.
    """
    _check_names(suite, hardware)
    techniques = _narrowed(expanded(suite), selection)
    models = [m for m in suite.model if not selection.models or m.use in selection.models]
    _all_known(selection.models, [m.use for m in suite.model], "model", suite)
    backends = [name for name in suite.backends if not selection.backends or name in selection.backends]
    _all_known(selection.backends, suite.backends, "backend", suite)
    builder = _Builder(suite, profile, probes(backends))
    for model in models:
        for device in hardware:
            for backend in backends:
                if backend in device.backends:
                    for technique in techniques:
                        builder.add(model, technique, backend, device.device)
    cells, skips = tuple(builder.cells), tuple(builder.skips)
    if not cells and not skips:
        offered = "; ".join(f"{device.name} offers {', '.join(device.backends)}" for device in hardware)
        raise BadSuite(
            f"nothing to measure: {suite.file or suite.name} has {len(models)} models and asks for "
            f"{', '.join(backends) or 'no engine'}; {offered}",
            fix="choose other hardware with --hw, other engines with --backend, or add a [[model]]",
        )
    return Plan(suite, profile, cells, skips, estimate_s(cells, profile))


def _check_names(suite: Suite, hardware: list[HardwareProfile]) -> None:
    """Look up every name that suite and hardware hold: a misspelt one is told before anything is asked."""
    where = suite.file or suite.name
    for name in suite.backends:
        with at(f"{where}: backends"):
            BACKENDS[name]
    for device in hardware:
        for name in device.backends:
            with at(f"hardware profile {device.name}: backends"):
                BACKENDS[name]
    for number, wanted in enumerate(suite.model, start=1):
        with at(f"{where}: model[{number}]"):
            model_of(Choice(wanted.use))
            if wanted.task:
                task_of(choice_of(wanted.task, f"{where}: model[{number}].task"))
    for technique in expanded(suite):
        for number, link in enumerate(technique.chain, start=1):
            with at(f"{where}: technique {technique.name!r}, chain[{number}]"):
                strategy_of(link)


def _narrowed(techniques: list[Technique], selection: Selection) -> list[Technique]:
    """Keep the techniques asked for, and always the float baseline that they are compared with."""
    _all = [technique.name for technique in techniques]
    for name in selection.techniques:
        if name not in _all:
            raise BadSuite(f"the suite has no technique {name!r}", fix=did_you_mean(name, _all))
    return [
        t
        for t in techniques
        if not selection.techniques or t.name in selection.techniques or t.role == "fp32"
    ]


def _all_known(asked: tuple[str, ...], known: list[str], what: str, suite: Suite) -> None:
    for name in asked:
        if name not in known:
            raise BadSuite(f"suite {suite.name} has no {what} {name!r}", fix=did_you_mean(name, known))


class _Builder:
    """Collects cells and skips."""

    def __init__(self, suite: Suite, profile: Profile, probes: dict[str, Probe]) -> None:
        self.suite, self.profile, self.probes = suite, profile, probes
        self.cells: list[Case] = []
        self.skips: list[Skip] = []
        self._content: dict[str, str] = {}
        self._sizes: dict[Choice, tuple[Task, dict, str]] = {}

    def add(self, wanted: SuiteModel, technique: Technique, backend: str, device: str) -> None:
        """Add one technique on one engine: a cell a scenario, and further calibration seeds."""
        model = model_of(Choice(wanted.use))
        task = choice_of(wanted.task, f"task of {wanted.use}") if wanted.task else model.task
        calibrated = any(strategy_of(link).needs_calibration for link in technique.chain)
        seeds = (
            self.suite.calibration.seeds
            if self.profile.all_seeds and calibrated
            else self.suite.calibration.seeds[:1]
        )
        for number, seed in enumerate(seeds):
            for scenario in self.suite.scenario if number == 0 else [None]:
                name = technique.name if number == 0 else f"{technique.name}{SEED}{seed}"
                case, reason = self._case(
                    wanted.use, model, task, replace(technique, name=name), backend, device, seed
                )
                kind = Scenario(scenario.name, scenario.batch) if scenario else Scenario("scored")
                case = replace(case, scenario=kind)
                if reason:  # the same for every batch and seed: said once
                    self.skips.append(Skip(case, reason))
                    return
                self.cells.append(case)

    def _case(
        self, use: str, model: Model, task: Choice, technique: Technique, backend: str, device: str, seed: int
    ) -> tuple[Case, str | None]:
        engine = BACKENDS[backend]()
        source = Hop("source", Choice(use), model.format, Float(), self._content_of(use, model))
        reason: str | None = None
        way: tuple[Hop, ...] = (source,)
        try:
            way = find_way(
                source, technique.chain, engine.runs, lambda: self._data(task, "calibration", seed)
            )
        except DoesNotFit as error:
            reason = error.problem
        spec = ArtifactSpec(Choice(use), way)
        probe = self.probes[backend].on(device)
        if probe.absent:
            reason = probe.absent
        elif reason is None:
            reason = engine.refuses(spec.state, probe)
        threads = 1 if self.profile.one_thread else cores()
        environment = key((self.probes[backend].version, version_or_none("numpy") or ""))
        deployment = Deployment(spec, backend, device, threads, environment)
        case = Case(
            self.suite.name,
            technique.name,
            technique.role,
            deployment,
            self._data(task, "test", None),
            Scenario(),
        )
        return case, reason

    def _content_of(self, use: str, model: Model) -> str:
        if use not in self._content:
            self._content[use] = model.content()
        return self._content[use]

    def _data(self, task: Choice, split: str, seed: int | None) -> DataSpec:
        if task not in self._sizes:
            made = task_of(task)
            self._sizes[task] = (made, dict(made.sizes()), made.recipe())
        _, sizes, recipe = self._sizes[task]
        wanted = (
            self.suite.calibration.count
            if split == "calibration"
            else min(self.suite.scored, self.profile.max_scored)
        )
        return DataSpec(task, split, min(wanted, sizes[split]), seed, recipe)  # type: ignore[arg-type]


def _matches(expectation: SuiteExpectation, case: Case) -> bool:
    deployment = case.deployment
    return (
        expectation.technique == case.technique.partition(SEED)[0]
        and expectation.model in ("*", deployment.artifact.model.name)
        and expectation.backend in ("*", deployment.backend)
    )


def cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# Rough prices of what is not a window, from runs on two cores; only the estimate rests on them.
PREPARE_S = 6.0
SCORE_S_PER_EXAMPLE = 0.0015
STEP_S = 0.7  # load and warm-up of a timed step that is steady at once
DEPLOY_S = 1.5
START_S = 6.0  # fork servers import their engines


def estimate_s(cells: tuple[Case, ...], profile: Profile) -> float:
    """Return about how long a run will take, what is in the cache not counted."""
    artifacts = {case.deployment.artifact for case in cells}
    prepare = sum(PREPARE_S for spec in artifacts if not cache.holds(spec))
    score = sum(case.evaluation.count * SCORE_S_PER_EXAMPLE + 0.3 for case in cells)
    timed = [case for case in cells if case.scenario.name != "scored"]
    rounds = profile.rounds * (len(timed) * (profile.window_s + STEP_S) + 0.6)
    return (
        START_S * (profile.rounds if profile.fresh_servers else 1)
        + prepare
        + score
        + rounds
        + len(timed) * DEPLOY_S
    )
