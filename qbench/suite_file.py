"""Reading a suite from its TOML file, and refusing one that contradicts itself."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from qbench.errors import BadSuite
from qbench.registry import did_you_mean
from qbench.suite import CAPS, STAGES, Suite, SuiteScenario, SuiteTechnique, Technique
from qbench.sweep import expanded
from qbench.toml_file import find_file, read_toml


def load_suite(name: str) -> Suite:
    """Return the suite of this name, or in the file of this path.

    Raises:
        UnknownName: there is none; the nearest is named.
        BadSuite: it cannot be read as one, or contradicts itself.
    """
    path = find_file("suites", name)
    suite = replace(read_toml(path, Suite), file=str(path))
    _check_numbers(suite)
    techniques = expanded(suite)
    baselines = [technique.name for technique in techniques if technique.role == "fp32"]
    if len(baselines) != 1:
        raise BadSuite(
            f"{path}: {len(baselines)} techniques have role fp32 ({', '.join(baselines) or 'none'})",
            fix='give exactly one technique role = "fp32": every gain and loss is told against it',
        )
    _no_double(suite, "technique", [technique.name for technique in techniques])
    _no_double(suite, "backends", suite.backends)
    _no_double(suite, "calibration.seeds", [str(seed) for seed in suite.calibration.seeds])
    _no_double(suite, "scenario", [_told(scenario) for scenario in suite.scenario])
    _check_scenarios(suite, [technique.name for technique in techniques])
    for technique in techniques:
        if technique.role == "technique" and not technique.chain and not technique.options:
            raise BadSuite(
                f"{path}: technique {technique.name!r} has chain = []: it would be fp32 under another name",
                fix='write chain = [{ use = "static_int8" }], or role = "fp32" for the baseline',
            )
        if technique.against and technique.against not in {other.name for other in techniques}:
            raise BadSuite(
                f"{path}: technique {technique.name!r}: against = {technique.against!r} names no technique",
                fix=did_you_mean(technique.against, [other.name for other in techniques]),
            )
    _check_after(suite, techniques)
    _check_expectations(suite, [technique.name for technique in techniques])
    return suite


def _check_after(suite: Suite, techniques: list[Technique]) -> None:
    """Refuse to wait for what the file does not name before: no circle can be written."""
    before: list[str] = []
    for technique in techniques:
        for name in technique.after:
            where = f"{suite.file}: technique {technique.name!r}: after names {name!r}"
            if name not in [one.name for one in techniques]:
                raise BadSuite(f"{where}, and there is no such technique", fix=did_you_mean(name, before))
            if name not in before:
                raise BadSuite(f"{where}, which comes later", fix=f"write {name!r} above {technique.name!r}")
        if technique.after and technique.role == "fp32":
            raise BadSuite(
                f"{suite.file}: technique {technique.name!r}: the baseline waits for {technique.after[0]!r}",
                fix="leave `after` out: every technique is judged beside fp32",
            )
        before.append(technique.name)


def _check_numbers(suite: Suite) -> None:
    if not re.fullmatch(r"[\w.-]+", suite.name):
        raise BadSuite(
            f"{suite.file}: name = {suite.name!r} cannot name a file of results",
            fix="write letters, digits, dashes and underscores only",
        )
    counts = {
        "scored": suite.scored,
        "training": suite.training,
        "selection": suite.selection,
        "calibration.count": suite.calibration.count,
        "batch": min((scenario.batch for scenario in suite.scenario), default=1),
    }
    if min(counts.values()) < 1:
        told = ", ".join(f"{name} = {count}" for name, count in counts.items())
        raise BadSuite(
            f"{suite.file}: {told}: all must be at least 1",
            fix="write scored = 1000, count = 256, batch = 1",
        )
    if not suite.scenario or not suite.calibration.seeds:
        raise BadSuite(
            f"{suite.file}: no scenario or no calibration seed", fix="add [[scenario]] batch = 1, seeds = [0]"
        )


def _told(scenario: SuiteScenario) -> str:
    threads = f", {scenario.threads} threads" if scenario.threads else ""
    only = "".join(f", {name}" for name in (*scenario.models, *scenario.techniques, *scenario.backends))
    capped = f", capped at {scenario.isa}" if scenario.isa else ""
    return f"{scenario.name}, batch {scenario.batch}{threads}{capped}{only}"


def _check_scenarios(suite: Suite, techniques: list[str]) -> None:
    """Look up every name in a scenario, and every number there."""
    models = [model.use for model in suite.model]
    narrowed: list[tuple[str, SuiteTechnique | SuiteScenario]] = [
        *((f"technique {one.name!r}", one) for one in suite.technique),
        *((f"scenario[{number}]", one) for number, one in enumerate(suite.scenario, start=1)),
    ]
    for place, one in narrowed:
        for kind, names, known in (
            ("model", one.models, models),
            ("backend", one.backends, suite.backends),
        ):
            for name in names:
                if name not in known:
                    problem = f"{suite.file}: {place}.{kind}s: the suite has no {kind} {name!r}"
                    raise BadSuite(problem, fix=did_you_mean(name, known))
    for number, scenario in enumerate(suite.scenario, start=1):
        where = f"{suite.file}: scenario[{number}]"
        for name in scenario.techniques:
            if name not in techniques:
                problem = f"{where}.techniques: the suite has no technique {name!r}"
                raise BadSuite(problem, fix=did_you_mean(name, techniques))
        _check_placing(scenario, where)
    ranked: list[Any] = [*suite.model, *suite.technique, *suite.scenario]
    ranks = [one.priority for one in ranked]
    low = next((rank for rank in ranks if rank < 1), None)
    if low is not None:
        raise BadSuite(
            f"{suite.file}: priority = {low}",
            fix="write priority = 1 for what every profile measures, 2 or 3",
        )


def _check_placing(scenario: SuiteScenario, where: str) -> None:
    if scenario.isa not in ("", *CAPS):
        problem = f"{where}: isa = {scenario.isa!r}"
        raise BadSuite(problem, fix=f"{did_you_mean(scenario.isa, list(CAPS))}, or leave it out")
    if scenario.threads < 0:
        raise BadSuite(
            f"{where}: threads = {scenario.threads}", fix="write threads = 1, or 0 for all of them"
        )


def _check_expectations(suite: Suite, techniques: list[str]) -> None:
    """Refuse an expectation that nothing could ever meet: a misspelt one would let a failure count."""
    models = ["*", *(model.use for model in suite.model)]
    known = {
        "technique": techniques,
        "model": models,
        "backend": ["*", *suite.backends],
        "stage": ["", *STAGES],
    }
    for number, expectation in enumerate(suite.expect, start=1):
        for what, names in known.items():
            found = getattr(expectation, what)
            if found not in names:
                raise BadSuite(
                    f"{suite.file}: expect[{number}].{what}: the suite has no {what} {found!r}",
                    fix=did_you_mean(found, names),
                )


def _no_double(suite: Suite, place: str, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadSuite(
            f"{suite.file}: {place}: {twice[0]!r} is there twice",
            fix="keep one, or give it a name of its own",
        )
