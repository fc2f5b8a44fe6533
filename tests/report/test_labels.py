from hypothesis import given
from hypothesis import strategies as st

from qbench.report.labels import Box, Placed, Wanted, place

FRAME = Box(0, 0, 300, 250)
wanted = st.lists(
    st.builds(
        Wanted,
        st.floats(0, 300),
        st.floats(0, 250),
        st.just(4.0),
        st.text("abc ", min_size=1, max_size=24),
        st.sampled_from(["1", "12"]),
    ),
    max_size=25,
)


def test_a_label_stands_to_the_right_of_its_point_and_on_the_left_where_that_is_taken():
    one = Wanted(100, 100, 4, "static", "1")
    (alone,) = place([one], FRAME, 10)
    assert (alone.words, alone.leader) == ("static", False)
    assert alone.box.left == 107  # radius 4 and the first ring of 3
    blocker = Wanted(125, 100, 4, "x", "2")
    first, _ = place([one, blocker], FRAME, 10)
    assert first.box.left + first.box.width == 93


def test_where_the_name_has_no_room_its_number_stands():
    (found,) = place(
        [Wanted(20, 20, 4, "a name far too long for so small a frame", "7")], Box(0, 0, 60, 60), 10
    )
    assert found.words == "7"
    (none,) = place([Wanted(5, 5, 4, "long name", "77")], Box(0, 0, 8, 8), 10)
    assert none.words == ""


@given(wanted)
def test_no_label_lies_on_another_or_on_a_point_or_outside(labels):
    found = [each for each in place(labels, FRAME, 9) if each.words]
    points = [Box(w.x - w.radius, w.y - w.radius, 2 * w.radius, 2 * w.radius) for w in labels]
    for i, label in enumerate(found):
        assert isinstance(label, Placed)
        assert label.box.inside(FRAME)
        assert not any(label.box.meets(point) for point in points)
        assert not any(label.box.meets(other.box) for other in found[i + 1 :])
