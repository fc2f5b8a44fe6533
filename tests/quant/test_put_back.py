"""What goes back to float, on networks that are only numbers: every part has a damage, and they add up."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbench.quant.put_back import GROUPS, HOLDS, Candidate, Search


def search(damages, *, costs=None, late=lambda: False, allowed=None):
    """Return a search over parts that do so much damage each while they are quantized."""
    parts = [f"part{number}" for number in range(len(damages))]
    by_name = dict(zip(parts, damages, strict=True))
    costs = dict(zip(parts, costs or [1.0] * len(parts), strict=True))
    return Search(
        parts,
        bad=lambda kept: sum(damage for name, damage in by_name.items() if name not in kept),
        cost=lambda kept: sum(costs[name] for name in kept),
        allowed=allowed or (lambda kept: len(kept) < len(parts)),
        late=late,
    )


def test_what_holds_is_left_alone_and_asked_about_once():
    found = search([0.2, 0.3])
    assert found.best() == Candidate(frozenset(), pytest.approx(0.5))
    assert len(found.tried) == 1


def test_the_one_that_destroys_it_goes_back_and_no_other():
    assert search([0.1, 0.1, 50.0, 0.1]).best().kept == {"part2"}


def test_two_that_hide_each_other_are_both_found():
    """Either alone still destroys the network: put back one by one, neither would seem to help."""
    parts = ["a", "b", "c", "d"]
    found = Search(
        parts,
        bad=lambda kept: 100.0 if {"b", "d"} - kept else 0.5,
        cost=len,
        allowed=lambda kept: len(kept) < 4,
        late=lambda: False,
    ).best()
    assert found.kept == {"b", "d"}
    assert found.holds


def test_what_was_put_back_for_nothing_is_quantized_again():
    """One part looks worst quantized alone, and does nothing beside others: `b` is what destroys."""
    parts = ["a", "b", "c", "d"]

    def bad(kept):
        quantized = set(parts) - kept
        return 20.0 if "b" in quantized else 50.0 if quantized == {"a"} else 0.5

    found = Search(parts, bad, cost=len, allowed=lambda kept: len(kept) < 4, late=lambda: False).best()
    assert found.kept == {"b"}


def test_many_parts_are_ranked_in_groups_and_then_one_by_one():
    damages = [0.001] * 100
    damages[17] = damages[63] = 10.0
    wanted = search(damages)
    assert wanted.best().kept == {"part17", "part63"}
    assert len(wanted.tried) < 60  # 100 alone would be asked about one by one


def test_of_those_that_hold_the_cheapest_is_taken():
    """The big one and the small one do the same damage; one of them has to go."""
    assert search([0.7, 0.7], costs=[1000.0, 1.0]).best().kept == {"part1"}


def test_when_nothing_holds_the_least_bad_that_costs_no_more_than_half_is_the_answer():
    found = search([5.0, 300.0, 9.0, 7.0]).best()
    assert not found.holds
    assert found.kept == {"part1", "part2"}  # 12 are left: with one more in float it would be 5 or 7
    dear = search([5.0, 300.0, 9.0], costs=[1.0, 5.0, 1.0]).best()
    assert dear.kept == {"part1", "part2"}  # what must be in float costs most: then the least bad


def test_a_cheap_one_that_does_not_fail_is_looked_for_where_what_holds_would_cost_too_much():
    """Only the first has to be in float to be saved from failing; to hold, nearly all would."""
    costs = [10.0, 10.0, 2.0, 2.0, 2.0, 2.0]
    assert search([200.0, 5.0, 4.0, 4.0, 4.0, 4.0], costs=costs).best().kept == {"part0"}


def test_when_all_fail_the_least_bad_is_the_answer():
    found = search([500.0, 300.0, 900.0]).best()
    assert found.kept == {"part0", "part2"}


def test_when_the_time_is_up_the_best_so_far_is_the_answer():
    asked = iter(range(1000))
    found = search([0.1, 50.0, 0.1, 0.1], late=lambda: next(asked) > 2)
    assert found.best().bad <= 50.4
    once = search([0.1, 50.0], late=lambda: True)
    assert once.best().kept == frozenset()


def test_what_is_no_quantized_network_any_more_is_no_answer():
    found = search([0.1, 50.0, 0.1], allowed=lambda kept: "part0" not in kept).best()
    assert "part0" not in found.kept
    with pytest.raises(ValueError, match="no candidate"):
        search([0.1, 50.0], allowed=lambda _: False).best()


def test_a_network_whose_every_candidate_fails_to_answer_is_ranked_last():
    found = search([math.inf, 0.5]).best()
    assert found.kept == {"part0"}


@given(st.lists(st.floats(0, 20), min_size=2, max_size=40))
def test_whatever_the_damages_the_answer_holds_if_any_part_could_stay(damages):
    wanted = search(damages)
    found = wanted.best()
    assert found.holds == (min(damages) <= HOLDS)
    if found.holds and sum(damages) > HOLDS:  # nothing in it was put back for nothing
        assert all(wanted.bad(found.kept - {one}) > HOLDS for one in found.kept)
    assert len(wanted.tried) <= 2 * len(damages) + 2 * GROUPS + 12
