"""Which steps a plan comes to: what is known before, what is done once, and what is done every round."""

from __future__ import annotations

import random
from collections.abc import Iterator

from qbench.cases import Anchor, ArtifactSpec, Case, Hardware, Step
from qbench.records import Measured, Outcome, Skipped
from qbench.run.estimate import ENERGY_WINDOWS
from qbench.run.plan import TIMED, Plan


def known(plan: Plan) -> Iterator[tuple[Step, Outcome]]:
    """Yield what is known before anything runs: every cell that will, every one that cannot, and why."""
    for case in plan.cells:
        yield Step("plan", case), Measured(())
    for skip in plan.skips:
        yield Step("plan", skip.case), Skipped(skip.reason)
    for one in plan.missing:
        yield Step("plan", Hardware(one.hardware.name, one.hardware.title)), Skipped(one.reason)


def once(plan: Plan) -> list[Step]:
    """Return what is done once: data, artifacts, scores (the float baseline first), counts, deployments.

    What an emulated device says is compared with what the same file says on this machine: that comes first.
    """

    def late(case: Case) -> tuple[bool, bool, bool]:
        return case.deployment.reached != "native", bool(case.deployment.isa), case.role != "fp32"

    cells = sorted(plan.cells, key=late)
    data = dict.fromkeys(
        spec
        for case in cells
        for spec in (
            case.evaluation,
            *(spec for hop in case.deployment.artifact.way for spec in hop.data),
        )
    )
    data |= dict.fromkeys(one.selection for one in plan.explained)
    first = {case.scored: case for case in reversed(cells)}
    scored = [case for case in cells if first[case.scored] is case]
    artifacts: dict[ArtifactSpec, None] = {}
    made: list[Step] = []
    for waits in (False, True):  # whether a technique that waits for others is needed, their scores tell
        wanted = [case for case in cells if bool(case.after) == waits]
        new = dict.fromkeys(case.deployment.artifact for case in wanted).keys() - artifacts.keys()
        own = [spec for spec in dict.fromkeys(case.deployment.artifact for case in wanted) if spec in new]
        artifacts |= dict.fromkeys(own)
        prepared = [Step("prepare", spec) for spec in own]
        asked = [Step("score", case) for case in scored if bool(case.after) == waits]
        # the float network first: where it runs nowhere, there is nothing to compare a technique with
        floats = {case.deployment.artifact for case in wanted if case.role == "fp32"}
        made += [step for step in prepared if step.subject in floats]
        plain = [case for case in scored if late(case) == (False, False, False)]  # here, nothing capped
        made += [step for step in asked if step.subject in plain]
        made += [step for step in (*prepared, *asked) if step not in made]
    return [
        *(Step("data", spec) for spec in data),
        *made,
        *(Step("explain", one) for one in plan.explained),
        *(Step("count", case) for case in cells if case.scenario.name == "counted"),
        *(Step("deploy", case) for case in cells if case.scenario.name in TIMED and not case.scenario.slowed),
    ]


def one_round(plan: Plan, number: int, order: random.Random) -> list[Step]:
    """Return one round of every group: all its cells and the anchor, in a new random order."""
    steps: list[Step] = []
    for (_, device), cells in plan.groups.items():
        group = [Step("time", case, number) for case in cells]
        group += [Step("anchor", Anchor(device, kernel), number) for kernel in plan.kernels]
        order.shuffle(group)
        steps += group
    return list(dict.fromkeys(steps))


def energy(plan: Plan, order: random.Random) -> list[Step]:
    """Return the windows of energy: every metered cell once a turn, in a new random order each."""
    steps: list[Step] = []
    for number in range(ENERGY_WINDOWS):
        turn = [Step("energy", case, number) for case in plan.metered]
        order.shuffle(turn)
        steps += turn
    return steps
