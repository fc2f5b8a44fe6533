"""Bits for every layer under a budget: the best sum by integer programming, and what it is held against.

For each layer one choice of bits: the sum of costs (bytes, or seconds on this device) stays within the
budget, the sum of what the answers move is as small as can be. Adding up sensitivities is the usual
approximation (Yao et al. 2021, arXiv:2011.10680, eq. 7): layers are taken to err independently.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from qbench.errors import DoesNotFit

SCALED = 1e4  # the greatest harm, as the solver sees it: it holds a difference of 1e-6 for none
Costs = Mapping[str, Mapping[int, float]]  # node -> bits -> cost


def best(harm: Costs, cost: Costs, budget: float) -> dict[str, int]:
    """Return bits by node with the least sum of harm within the budget, by scipy's milp.

    Raises:
        DoesNotFit: even the cheapest choice everywhere is beyond the budget; the least is named.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    choices = [(node, bits) for node in harm for bits in harm[node]]
    least = sum(min(cost[node].values()) for node in harm)
    if least > budget * (1 + 1e-9):
        raise _too_tight(least, budget)
    spent = np.array([cost[node][bits] for node, bits in choices])
    once = np.array([[float(node == own) for node, _ in choices] for own in harm])
    moved = np.array([harm[node][bits] for node, bits in choices])
    found = milp(
        moved * (SCALED / max(float(np.abs(moved).max()), 1e-300)),
        constraints=[LinearConstraint(once, 1, 1), LinearConstraint(spent[None] / budget, -np.inf, 1 + 1e-9)],
        integrality=np.ones(len(choices)),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": 0.0},
    )
    if found.x is None:
        raise _too_tight(least, budget)
    return {node: bits for (node, bits), taken in zip(choices, found.x, strict=True) if taken > 0.5}


def at_random(cost: Costs, budget: float, seed: int) -> dict[str, int]:
    """Return bits within the budget, drawn by lot: layers go to their dearer choice in a random order.

    Raises:
        DoesNotFit: as for `best`.
    """
    nodes = list(cost)
    order = np.random.default_rng(seed).permutation(len(nodes))
    return _filled(cost, budget, [nodes[place] for place in order])


def largest_first(cost: Costs, budget: float) -> dict[str, int]:
    """Return bits within the budget: the largest layers go to their dearer choice first.

    Raises:
        DoesNotFit: as for `best`.
    """
    return _filled(cost, budget, sorted(cost, key=lambda node: -max(cost[node].values())))


def _filled(cost: Costs, budget: float, order: list[str]) -> dict[str, int]:
    chosen = {node: min(choices, key=lambda bits: choices[bits]) for node, choices in cost.items()}
    spent = sum(cost[node][bits] for node, bits in chosen.items())
    if spent > budget * (1 + 1e-9):
        raise _too_tight(spent, budget)
    for node in order:
        for bits in sorted(cost[node], key=lambda bits: -cost[node][bits]):
            after = spent + cost[node][bits] - cost[node][chosen[node]]
            if after <= budget * (1 + 1e-9):
                chosen[node], spent = bits, after
                break
    return chosen


def _too_tight(least: float, budget: float) -> DoesNotFit:
    return DoesNotFit(
        f"the budget is {budget:.4g}, and the cheapest bits in every layer come to {least:.4g}",
        fix=f"raise limit by {least / budget:.2f} times or more, or let more layers have fewer bits",
    )
