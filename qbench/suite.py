"""A suite is data: which models, which techniques, which engines, how much is scored. Read from TOML."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from itertools import product
from math import isfinite
from typing import Any, Literal

from qbench.cases import SIMULATED, Choice, Param
from qbench.errors import BadSuite
from qbench.registry import did_you_mean
from qbench.toml_file import find_file, read_toml

CAPS = {"avx2": "avx512f", "avx512": "avx512_vnni"}  # a cap, and the least that it takes away
STAGES = [
    "",
    "load",
    "check",
    "proof of kernel",
    "score",
    "count",
    "first call",
    "measure",
]  # of a cell's steps


@dataclass(frozen=True, slots=True)
class SuiteModel:
    """A model to measure; `task` where it is not the one that the model was trained for."""

    use: str
    task: dict[str, Any] | None = None
    priority: int = 1


@dataclass(frozen=True, slots=True)
class SuiteTechnique:
    """A technique: a name to show, and the chain that it is."""

    name: str
    chain: list[dict[str, Any]]
    role: Literal["fp32", "float", "technique"] = "technique"
    timed: bool = True  # False: only its accuracy and size are asked for; its speed is that of another
    models: list[str] = field(default_factory=list)  # only these; empty: all
    backends: list[str] = field(default_factory=list)  # only these; empty: all of the suite
    priority: int = 1
    against: str = ""  # a technique that it is held against, besides fp32: its accuracy, pair by pair
    simulated: bool = False  # True: its integers are also simulated in float, and the two compared


@dataclass(frozen=True, slots=True)
class SuiteScenario:
    """How requests arrive. `counted` is what emulated devices do in the place of the others."""

    name: Literal["single", "saturated", "counted"] = "single"
    batch: int = 1
    threads: int = 0  # 0: all that the device has
    isa: str = ""  # cap the engine's vector instructions: avx2, avx512 (without VNNI)
    models: list[str] = field(default_factory=list)  # only these; empty: all
    backends: list[str] = field(default_factory=list)  # only these; empty: all of the suite
    techniques: list[str] = field(default_factory=list)  # only these and fp32; empty: all
    priority: int = 1

    def wants(self, model: str, technique: str, backend: str, *, baseline: bool) -> bool:
        """Tell whether this cell is asked for; the baseline is, wherever its model is."""
        named = baseline or not self.techniques or technique in self.techniques
        placed = not self.backends or backend in self.backends
        return named and placed and (not self.models or model in self.models)


@dataclass(frozen=True, slots=True)
class SuiteCalibration:
    """How many calibration examples, and by which seeds they are drawn."""

    count: int = 256
    seeds: list[int] = field(default_factory=lambda: [0])


@dataclass(frozen=True, slots=True)
class SuiteExpectation:
    """A collapse or failure that is known and has a reason: shown as ever, and not counted as one."""

    technique: str
    reason: str
    model: str = "*"
    backend: str = "*"
    hardware: str = "*"
    stage: str = ""  # of the one failure that is known, as its record names it; "": a collapse


@dataclass(frozen=True, slots=True)
class Suite:
    """The file, as written."""

    name: str
    about: str
    backends: list[str]
    technique: list[SuiteTechnique]
    scenario: list[SuiteScenario]
    model: list[SuiteModel] = field(default_factory=list)
    scored: int = 10_000
    training: int = 10_000  # examples that a technique learns from, where it does
    selection: int = 2_000  # examples that a technique chooses by, where it does
    calibration: SuiteCalibration = SuiteCalibration()
    expect: list[SuiteExpectation] = field(default_factory=list)
    file: str = field(default="", metadata={"written": False})  # where it was read from, for errors


@dataclass(frozen=True, slots=True)
class Technique:
    """One technique with every sweep resolved: each parameter has one value."""

    name: str
    role: Literal["fp32", "float", "technique"]
    chain: tuple[Choice, ...]
    timed: bool = True
    models: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    priority: int = 1
    against: str = ""


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
        if technique.against and technique.against not in {other.name for other in techniques}:
            raise BadSuite(
                f"{path}: technique {technique.name!r}: against = {technique.against!r} names no technique",
                fix=did_you_mean(technique.against, [other.name for other in techniques]),
            )
    _check_expectations(suite, [technique.name for technique in techniques])
    return suite


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
    known = {"technique": techniques, "model": models, "backend": ["*", *suite.backends], "stage": STAGES}
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


def expanded(suite: Suite) -> list[Technique]:
    """Return the techniques with every list of values multiplied out; swept values join the name.

    Raises:
        BadSuite: a link names no technique, a value is no single value, or a list of values is empty.
    """
    techniques = []
    for technique in suite.technique:
        sweeps = [
            (link, name, value)
            for link, params in enumerate(technique.chain)
            for name, value in params.items()
            if isinstance(value, list)
        ]
        where = f"{suite.file or suite.name}: technique {technique.name!r}"
        for link, name, value in sweeps:
            if not value:
                raise BadSuite(
                    f"{where}, chain[{link + 1}].{name} = []", fix="give the list a value, or leave it out"
                )
        for chosen in product(*(values for _, _, values in sweeps)):
            swept = {(link, name): value for (link, name, _), value in zip(sweeps, chosen, strict=True)}
            chain = tuple(
                choice_of(
                    params | {name: value for (at, name), value in swept.items() if at == link},
                    f"{where}, chain[{link + 1}]",
                )
                for link, params in enumerate(technique.chain)
            )
            label = ", ".join(f"{name}={value}" for (_, name), value in swept.items())
            name = f"{technique.name} ({label})" if label else technique.name
            one = Technique(
                name,
                technique.role,
                chain,
                technique.timed,
                tuple(technique.models),
                tuple(technique.backends),
                technique.priority,
                technique.against,
            )
            techniques.append(one)
            if technique.simulated:
                twin = (*chain, Choice("simulate"))
                techniques.append(
                    replace(one, name=f"{name}{SIMULATED}", chain=twin, timed=False, against=name)
                )
    return techniques


def choice_of(raw: dict[str, Any], where: str) -> Choice:
    """Return `{ use = "name", parameter = value }` as a Choice; `where` is its place, for errors.

    Raises:
        BadSuite: there is no `use`, or a value is neither a finite number, text nor true or false.
    """
    if not isinstance(raw.get("use"), str):
        raise BadSuite(f"{where} has no `use`: {raw!r}", fix='write { use = "static_int8" }')
    params: list[tuple[str, Param]] = []
    for name, value in sorted(raw.items()):
        if name == "use":
            continue
        if not isinstance(value, (bool, int, float, str)) or (
            isinstance(value, float) and not isfinite(value)
        ):
            raise BadSuite(
                f"{where}: {name} = {value!r} is no single value", fix="write a number, text or true"
            )
        params.append((name, value))
    return Choice(raw["use"], tuple(params))
