"""A/A runs: the float file measured against copies of itself, with slow-downs of a known size where asked.

The copies are the same artifact on the same engine, so that everything the run says they differ by is this
machine's noise, or what was put in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from qbench.cases import AGAIN, Case
from qbench.errors import BadSuite
from qbench.run.estimate import estimate_s
from qbench.run.plan import TIMED, Plan


def twins_of(plan: Plan, slow_downs: Iterable[float] = (), rounds: int = 0, name: str = "aa") -> Plan:
    """Return a plan of the float baselines alone, each beside a copy and beside copies that are slowed down.

    `rounds` other than 0 replaces the profile's number. The suite is called `name`, which names the file.

    Raises:
        BadSuite: the plan times no float baseline.
    """
    floats = [case for case in plan.cells if case.role == "fp32" and case.scenario.name in TIMED]
    if not floats:
        raise BadSuite(
            f"suite {plan.suite.name} times no float baseline here: nothing can be measured against itself",
            fix="choose a model and an engine that `qbench plan` shows with technique fp32 and a batch",
        )
    cells = tuple(
        replace(one, suite=name) for case in floats for one in (case, *_copies(case, tuple(slow_downs)))
    )
    profile = replace(plan.profile, rounds=rounds or plan.profile.rounds)
    return replace(
        plan,
        suite=replace(plan.suite, name=name, expect=[]),
        profile=profile,
        cells=cells,
        skips=(),
        missing=(),
        left_out=0,
        energy=False,
        estimate_s=estimate_s(cells, profile),
    )


def _copies(case: Case, slow_downs: tuple[float, ...]) -> Iterator[Case]:
    yield replace(case, technique=AGAIN, role="float")
    for share in slow_downs:
        scenario = replace(case.scenario, slowed=share)
        yield replace(case, technique=f"fp32 slowed by {share:.0%}", role="float", scenario=scenario)
