"""A suite's techniques multiplied out: each list of values becomes one technique for each value."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import isfinite
from typing import Any

from qbench.cases import SIMULATED, Choice, Param
from qbench.errors import BadSuite
from qbench.suite import Suite, Technique


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
                tuple(sorted(technique.options.items())),
                tuple(technique.after),
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
