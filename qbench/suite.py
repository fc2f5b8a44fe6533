"""A suite is data: which models, which techniques, which engines, how much is scored. Read from TOML."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import Any, Literal

from qbench.errors import BadSuite
from qbench.records import Choice, Param
from qbench.toml_file import find_file, read_toml


@dataclass(frozen=True, slots=True)
class SuiteModel:
    """A model to measure; `task` where it is not the one that the model was trained for."""

    use: str
    task: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class SuiteTechnique:
    """A technique: a name to show, and the chain that it is."""

    name: str
    chain: list[dict[str, Any]]
    role: Literal["fp32", "float", "technique"] = "technique"


@dataclass(frozen=True, slots=True)
class SuiteScenario:
    """How requests arrive."""

    name: Literal["single"] = "single"
    batch: int = 1


@dataclass(frozen=True, slots=True)
class SuiteCalibration:
    """How many calibration examples, and by which seeds they are drawn."""

    count: int = 256
    seeds: list[int] = field(default_factory=lambda: [0])


@dataclass(frozen=True, slots=True)
class SuiteExpectation:
    """A collapse that is known and has a reason: it is shown as ever, and does not count as a failure."""

    technique: str
    reason: str
    model: str = "*"
    backend: str = "*"


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
    calibration: SuiteCalibration = SuiteCalibration()
    expect: list[SuiteExpectation] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Technique:
    """One technique with every sweep resolved: each parameter has one value."""

    name: str
    role: Literal["fp32", "float", "technique"]
    chain: tuple[Choice, ...]


def load_suite(name: str) -> Suite:
    """Return the suite of this name, or in the file of this path.

    Raises:
        UnknownName: there is none; the nearest is named.
        BadSuite: it cannot be read as one, or contradicts itself.
    """
    path = find_file("suites", name)
    suite = read_toml(path, Suite)
    baselines = [technique.name for technique in suite.technique if technique.role == "fp32"]
    if len(baselines) != 1:
        raise BadSuite(
            f"{path}: {len(baselines)} techniques have role fp32 ({', '.join(baselines) or 'none'})",
            fix='give exactly one technique role = "fp32": every gain and loss is told against it',
        )
    if suite.scored < 1 or suite.calibration.count < 1 or any(s.batch < 1 for s in suite.scenario):
        raise BadSuite(
            f"{path}: scored = {suite.scored}, calibration.count = {suite.calibration.count}, batch = "
            f"{[s.batch for s in suite.scenario]}: all must be at least 1",
            fix="write scored = 1000, count = 256, batch = 1",
        )
    if not suite.scenario or not suite.calibration.seeds:
        raise BadSuite(f"{path}: no scenario or no calibration seed", fix="add [[scenario]] batch = 1, seeds = [0]")
    names = [technique.name for technique in expanded(suite)]
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise BadSuite(f"{path}: two techniques are called {twice[0]!r}", fix="give each a name of its own")
    return suite


def expanded(suite: Suite) -> list[Technique]:
    """Return the techniques with every list of values multiplied out; swept values join the name."""
    techniques = []
    for technique in suite.technique:
        sweeps = [
            (link, name, value)
            for link, params in enumerate(technique.chain)
            for name, value in params.items()
            if isinstance(value, list)
        ]
        for chosen in product(*(values for _, _, values in sweeps)):
            swept = {(link, name): value for (link, name, _), value in zip(sweeps, chosen, strict=True)}
            chain = tuple(
                _choice(params | {name: value for (at, name), value in swept.items() if at == link})
                for link, params in enumerate(technique.chain)
            )
            label = ", ".join(f"{name}={value}" for (_, name), value in swept.items())
            name = f"{technique.name} ({label})" if label else technique.name
            techniques.append(Technique(name, technique.role, chain))
    return techniques


def choice_of(raw: dict[str, Any]) -> Choice:
    """Return `{ use = "name", parameter = value }` as a Choice.

    Raises:
        BadSuite: there is no `use`, or a value is neither number, text nor true or false.
    """
    return _choice(raw)


def _choice(raw: dict[str, Any]) -> Choice:
    if not isinstance(raw.get("use"), str):
        raise BadSuite(f"a link of a chain has no `use`: {raw!r}", fix='write { use = "static_int8" }')
    params: list[tuple[str, Param]] = []
    for name, value in sorted(raw.items()):
        if name == "use":
            continue
        if not isinstance(value, (bool, int, float, str)):
            raise BadSuite(f"{raw['use']}: {name} = {value!r} is no single value", fix="write a number, text or true")
        params.append((name, value))
    return Choice(raw["use"], tuple(params))
