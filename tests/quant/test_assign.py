"""Bits under a budget: the best sum, never more than there is."""

from itertools import product

import numpy as np
import pytest

from qbench.errors import DoesNotFit
from qbench.quant.assign import at_random, best, largest_first

# by hand: a is twice as large as b, and b is what rounding hurts
COST = {"a": {0: 80.0, 8: 20.0, 4: 10.0}, "b": {0: 40.0, 8: 10.0, 4: 5.0}}
HARM = {"a": {0: 0.0, 8: 0.1, 4: 1.0}, "b": {0: 0.0, 8: 0.5, 4: 9.0}}


def problem(seed, layers=5):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 2000, layers)
    cost = {f"n{i}": {0: 4.0 * size, 8: 1.0 * size, 4: 0.5 * size} for i, size in enumerate(sizes)}
    harm = {name: {0: 0.0, 8: 10 ** rng.uniform(-7, -3), 4: 10 ** rng.uniform(-4, 0)} for name in cost}
    return harm, cost


def total(of, chosen):
    return sum(of[node][bits] for node, bits in chosen.items())


def by_trying_all(harm, cost, budget):
    choices = [dict(zip(harm, bits, strict=True)) for bits in product(*(harm[node] for node in harm))]
    return min(total(harm, chosen) for chosen in choices if total(cost, chosen) <= budget)


@pytest.mark.parametrize(("budget", "wanted"), [
    (120, {"a": 0, "b": 0}), (60, {"a": 8, "b": 0}), (50, {"a": 8, "b": 8}), (49, {"a": 8, "b": 8}),
    (20, {"a": 4, "b": 8}), (15, {"a": 4, "b": 4}),
])  # fmt: skip
def test_by_hand(budget, wanted):
    assert best(HARM, COST, budget) == wanted


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("unit", [1.0, 1e-6, 1e6])
def test_nothing_is_better_and_nothing_is_over(seed, unit):
    """In whatever unit the harm is told: a solver's own tolerance is absolute."""
    harm, cost = problem(seed)
    harm = {node: {bits: value * unit for bits, value in choices.items()} for node, choices in harm.items()}
    whole = total(cost, dict.fromkeys(cost, 0))
    for share in (0.13, 0.2, 0.3, 0.6, 1.0):
        chosen = best(harm, cost, share * whole)
        assert set(chosen) == set(cost)
        assert total(cost, chosen) <= share * whole * (1 + 1e-9)
        assert total(harm, chosen) == pytest.approx(by_trying_all(harm, cost, share * whole), rel=1e-6)


@pytest.mark.parametrize("choose", [best, lambda harm, cost, budget: largest_first(cost, budget),
    lambda harm, cost, budget: at_random(cost, budget, 0)], ids=["best", "largest", "random"])  # fmt: skip
def test_a_budget_below_the_least_is_told_with_how_much_more(choose):
    with pytest.raises(
        DoesNotFit, match=r"budget is 10, and .* come to 15\n  fix: raise limit by 1\.50 times"
    ):
        choose(HARM, COST, 10)
    assert total(COST, choose(HARM, COST, 15)) == 15


def test_no_harm_at_all_is_no_problem():
    harm = {node: dict.fromkeys(choices, 0.0) for node, choices in COST.items()}
    assert total(COST, best(harm, COST, 30)) <= 30


@pytest.mark.parametrize("seed", range(5))
def test_at_random_fits_and_differs_by_seed(seed):
    _, cost = problem(seed, 12)
    cost = {node: {bits: choices[bits] for bits in (8, 4)} for node, choices in cost.items()}
    budget = 0.75 * total(cost, dict.fromkeys(cost, 8))
    drawn = [at_random(cost, budget, number) for number in range(6)]
    assert at_random(cost, budget, 0) == drawn[0]
    assert len({tuple(chosen.values()) for chosen in drawn}) > 1
    for chosen in drawn:
        assert total(cost, chosen) <= budget
        left = budget - total(cost, chosen)  # what is still at 4 did not fit any more when its turn came
        assert all(cost[node][8] - cost[node][4] > left for node, bits in chosen.items() if bits == 4)


def test_the_largest_come_first_by_hand():
    cost = {"a": {8: 10.0, 4: 5.0}, "b": {8: 30.0, 4: 15.0}, "c": {8: 20.0, 4: 10.0}}
    assert largest_first(cost, 45) == {"a": 4, "b": 8, "c": 4}
    assert largest_first(cost, 50) == {"a": 8, "b": 8, "c": 4}
    assert largest_first(cost, 55) == {"a": 4, "b": 8, "c": 8}
    assert largest_first(cost, 40) == {"a": 4, "b": 4, "c": 8}
