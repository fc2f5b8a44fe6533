"""The plan: every cell, every skip with its reason, and the time it will take, before anything starts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

from qbench.backends.base import BACKENDS
from qbench.cases import BUILD, SEED, SGEMM, Case, Choice, Explained
from qbench.errors import BadParameter, BadSuite
from qbench.meters.base import best_meter
from qbench.profile import Profile
from qbench.records import BUDGET, OWN_TIME
from qbench.registry import did_you_mean
from qbench.run.budget import within
from qbench.run.cells import Matrix, Skip
from qbench.run.choose import at, model_of, strategy_of, task_of
from qbench.run.estimate import energy_s, estimate_s, explain_s
from qbench.run.pool import RULES
from qbench.run.targets import Missing, Reached, Target
from qbench.strategies.base import STRATEGIES
from qbench.suite import Suite, SuiteExpectation, Technique
from qbench.sweep import choice_of, expanded

TIMED = ("single", "saturated")


@dataclass(frozen=True, slots=True)
class Selection:
    """What the command line narrows the suite down to; empty means all."""

    models: tuple[str, ...] = ()
    techniques: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    budget_s: float | None = None
    energy: bool = False  # measure it whatever the profile says, where there is a meter
    explain: bool = False  # trace the loss of every technique that can to its layers

    def __str__(self) -> str:
        """Write what is left of the suite; nothing where that is all of it."""
        parts = {"models": self.models, "techniques": self.techniques, "engines": self.backends}
        told = [f"{what} {', '.join(names)}" for what, names in parts.items() if names]
        return "; ".join([*told, *([f"a budget of {self.budget_s:g} s"] if self.budget_s else [])])


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a run will do and will not do."""

    suite: Suite
    profile: Profile
    cells: tuple[Case, ...]
    skips: tuple[Skip, ...]
    estimate_s: float
    targets: tuple[Target, ...] = ()
    missing: tuple[Missing, ...] = ()
    left_out: int = 0  # cells that the suite ranks beyond this profile
    energy: bool = False  # measure it too, where the cell's device has a meter
    explained: tuple[Explained, ...] = ()
    narrowed: str = ""  # what the command line left of the suite; "": all of it
    kernels: tuple[str, ...] = (SGEMM,)  # fixed ones that are timed in every round

    @property
    def if_needed_s(self) -> float:
        """Return how much longer it takes if all that waits for others is needed; 0 where nothing waits."""
        more = estimate_s(self.cells, self.profile) - estimate_s(always(self.cells), self.profile)
        return more if any(case.after for case in self.cells) else 0.0

    @property
    def groups(self) -> dict[tuple[str, str], list[Case]]:
        """Return the timed cells by model and device: a group's cells take turns in every round."""
        groups: dict[tuple[str, str], list[Case]] = {}
        for case in self.cells:
            if case.scenario.name in TIMED:
                deployment = case.deployment
                groups.setdefault((deployment.artifact.model.name, deployment.device), []).append(case)
        return groups

    @property
    def metered(self) -> list[Case]:
        """Return the cells whose energy is measured: one stream, on a device here that has a meter."""
        meters = {case.deployment.device: best_meter(case.deployment.device) for case in self.cells}
        return [
            case
            for case in self.cells
            if self.energy
            and case.scenario.name == "single"
            and not case.scenario.slowed
            and case.deployment.reached == "native"
            and meters[case.deployment.device] is not None
        ]

    def target(self, case: Case) -> Target:
        """Return the device that the case runs on."""
        return next(t for t in self.targets if t.hardware.name == case.deployment.hardware)

    def expected(self, case: Case, stage: str = "") -> str | None:
        """Return why this cell is expected to fail at this stage ("": to collapse), if the suite says so."""
        for expectation in self.suite.expect:
            if expectation.stage == stage and _matches(expectation, case):
                return expectation.reason
        return None


def always(cells: Iterable[Case]) -> tuple[Case, ...]:
    """Return the cells that wait for no others."""
    return tuple(case for case in cells if not case.after)


def make_plan(suite: Suite, profile: Profile, reached: Reached, selection: Selection) -> Plan:
    """Cross models, techniques, engines and devices; resolve every way; ask every engine whether it can.

    Raises:
        UnknownName: a model, technique, task or backend that no plug-in registered.
        BadParameter: a parameter out of range, or a budget that nothing fits into.
        BadSuite: a filter that matches nothing, or nothing to measure at all.
    """
    check_names(suite)
    profile = replace(profile, call_s=suite.call_s)
    techniques = _narrowed(expanded(suite), selection)
    models = [m for m in suite.model if not selection.models or m.use in selection.models]
    _all_known(selection.models, [m.use for m in suite.model], "model", suite)
    backends = [name for name in suite.backends if not selection.backends or name in selection.backends]
    _all_known(selection.backends, suite.backends, "backend", suite)
    matrix = Matrix(suite, profile)
    for model in models:
        for target in reached.targets:
            for backend in backends:
                if backend in target.hardware.backends:
                    for technique in techniques:
                        matrix.add(model, technique, backend, target)
    matrix.drop_lonely()
    if matrix.left_out and not matrix.cells and not matrix.skips:
        raise BadSuite(
            f"{suite.file or suite.name} ranks nothing within the profile {profile.name}, which measures "
            f"priority {profile.priority} (left out: {matrix.left_out} cells)",
            fix="take --profile standard or rigorous, or give what matters priority = 1",
        )
    if not matrix.cells and not matrix.skips and not reached.missing:
        offered = "; ".join(
            f"{target.hardware.name} offers {', '.join(target.hardware.backends)}"
            for target in reached.targets
        )
        raise BadSuite(
            f"nothing to measure: {suite.file or suite.name} has {len(models)} models and asks for "
            f"{', '.join(backends) or 'no engine'}; {offered or 'no device was asked for'}",
            fix="choose other hardware with --hw, other engines with --backend, or add a [[model]]",
        )
    explained = matrix.explained() if selection.explain else ()
    if selection.explain and not explained:
        able = [name for name in STRATEGIES if STRATEGIES[name].explains]
        raise BadSuite(
            f"{suite.file or suite.name}: --explain, and no technique here can tell where it loses",
            fix=f"choose one that ends in {' or '.join(able)}, or leave --explain out",
        )
    plan = Plan(
        suite,
        profile,
        tuple(matrix.cells),
        tuple(matrix.skips),
        estimate_s(always(matrix.cells), profile),
        reached.targets,
        reached.missing,
        matrix.left_out,
        selection.energy or profile.energy,
        explained,
        str(selection),
    )
    plan = _in_time(plan, matrix, selection.budget_s)
    more_s = energy_s(len(plan.metered)) + explain_s(plan.explained)
    return replace(plan, estimate_s=plan.estimate_s + more_s)


def _in_time(plan: Plan, matrix: Matrix, asked_s: float | None) -> Plan:
    """Return the plan within the time that was asked for, or else that `try` should take, if it can be."""
    budget_s = asked_s or plan.suite.budget_s
    if not budget_s:
        return plan
    try:
        kept, dropped = within(
            budget_s,
            matrix.cells,
            plan.profile,
            whose=BUDGET if asked_s else OWN_TIME,
            reserved_s=energy_s(len(plan.metered)),
        )
    except BadParameter:
        if asked_s:
            raise
        return plan  # not even one technique fits: a large network takes longer, and the plan says how long
    took_s = estimate_s(always(kept), plan.profile)
    return replace(plan, cells=kept, skips=(*plan.skips, *dropped), estimate_s=took_s)


def check_names(suite: Suite) -> None:
    """Look up every name that the suite holds: a misspelt one is told before anything is asked.

    Raises:
        UnknownName: a model, technique, task or backend that no plug-in registered.
        BadParameter: a parameter that a plug-in does not have, or out of its range.
    """
    where = suite.file or suite.name
    for name in suite.backends:
        with at(f"{where}: backends"):
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
        _options_known(suite, technique)
    for written in suite.technique:
        if written.when and written.when not in RULES:
            raise BadSuite(
                f"{where}: technique {written.name!r}: no rule is called when = {written.when!r}",
                fix=did_you_mean(written.when, list(RULES)),
            )


def _options_known(suite: Suite, technique: Technique) -> None:
    """Refuse an option that no engine of the suite has: a misspelt one would be skipped everywhere."""
    for name, value in technique.options:
        known = {backend: BACKENDS[backend].options for backend in suite.backends}
        if not any(value in options.get(name, ()) for options in known.values()):
            there = [
                f"{option} = {json.dumps(one)} ({backend})"
                for backend, options in known.items()
                for option, values in options.items()
                for one in values
            ]
            raise BadParameter(
                f"{suite.file or suite.name}: technique {technique.name!r}: no engine of this suite has an "
                f"option {name} = {json.dumps(value)}",
                fix=f"write {' or '.join(there)}" if there else "leave options out",
            )


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


def _matches(expectation: SuiteExpectation, case: Case) -> bool:
    deployment = case.deployment
    return (
        expectation.technique == case.technique.partition(SEED)[0].partition(BUILD)[0]
        and expectation.model in ("*", deployment.artifact.model.name)
        and expectation.backend in ("*", deployment.backend)
        and expectation.hardware in ("*", deployment.hardware)
    )
