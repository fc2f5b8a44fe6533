from hypothesis import given
from hypothesis import strategies as st

from qbench.report.figures import Figure
from qbench.report.pareto import Point, Span, dominates, staircase, standings, surely_dominates


def exact(cost, gain):
    return Point(Span(cost, cost, cost), Span(gain, gain, gain))


def blurred(cost, gain, off):
    return Point(Span(cost, cost - off, cost + off), Span(gain, gain - off, gain + off))


def test_standings_worked_by_hand():
    points = [exact(1, 0.5), exact(2, 0.9), exact(3, 0.9), exact(2, 0.5), exact(4, 0.95)]
    assert standings(points) == ["front", "front", "behind", "behind", "front"]


def test_equal_points_are_both_on_the_front():
    assert standings([exact(1, 1), exact(1, 1)]) == ["front", "front"]


def test_what_intervals_cannot_tell_from_the_front_is_near_it():
    front = blurred(10, 5, 1)
    assert standings([front, blurred(11.9, 3.5, 1)]) == ["front", "near"]  # 11 > 10.9: costs overlap
    assert standings([front, blurred(13, 4, 1)]) == ["front", "near"]  # surely dearer, perhaps as good: 5 > 4
    assert standings([front, blurred(10.5, 2, 1)]) == ["front", "near"]  # surely worse, perhaps cheaper
    assert standings([front, blurred(13, 2.9, 1)]) == ["front", "behind"]
    assert standings([front, blurred(12, 3, 1)]) == ["front", "near"]  # ends touch: nothing is surely better


def test_the_edge_of_the_front_is_worked_by_hand():
    points = [exact(4, 0.95), exact(1, 0.5), exact(2, 0.9), exact(3, 0.6)]
    assert staircase(points) == [(1, 0.5), (2, 0.5), (2, 0.9), (4, 0.9), (4, 0.95)]


def test_a_figure_whose_interval_leaves_its_value_out_is_widened():
    assert Span.of(Figure(2.0, "s", 3, "rounds", (1,), "range", 2.5, 3.0)) == Span(2.0, 2.0, 3.0)
    assert Span.of(Figure(2.0, "s", 3, "rounds", (1,))) == Span(2.0, 2.0, 2.0)
    assert Span(2.0, 1.0, 4.0).turned() == Span(-2.0, -4.0, -1.0)


numbers = st.integers(0, 8)
points = st.lists(
    st.builds(lambda c, g, a, b, d, e: Point(Span(c, c - a, c + b), Span(g, g - d, g + e)), *[numbers] * 6),
    min_size=1,
    max_size=12,
)


@given(points)
def test_members_are_never_dominated_and_all_others_are(found):
    stand = standings(found)
    assert "front" in stand
    for point, standing in zip(found, stand, strict=True):
        dominated = any(dominates(other, point) for other in found)
        assert dominated == (standing != "front")
        assert (standing == "behind") == any(surely_dominates(other, point) for other in found)


@given(points)
def test_no_point_lies_beyond_the_edge(found):
    corners = staircase(found)
    assert corners == sorted(corners)  # a dearer corner is never worse
    for point in found:
        reached = [gain for cost, gain in corners if cost <= point.cost.value]
        assert reached
        assert max(reached) >= point.gain.value
