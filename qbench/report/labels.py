"""Where the labels of a scatter plot go, so that none lies on another or on a point."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

RINGS = (3.0, 9.0, 17.0, 27.0)  # distances from the point's edge that are tried, in points of print
LEADER = 9.0  # from this distance on a thin line leads back to the point
WIDTH = 0.56  # of a letter, as a share of the font's size; wide on purpose, for the reader's font is unknown
HEIGHT = 1.15


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, y upwards."""

    left: float
    bottom: float
    width: float
    height: float

    def meets(self, other: Box) -> bool:
        """Tell whether the two share more than an edge."""
        beside = self.left >= other.left + other.width or other.left >= self.left + self.width
        above = self.bottom >= other.bottom + other.height or other.bottom >= self.bottom + self.height
        return not (beside or above)

    def inside(self, other: Box) -> bool:
        """Tell whether it lies in the other altogether."""
        right = self.left + self.width <= other.left + other.width
        top = self.bottom + self.height <= other.bottom + other.height
        return self.left >= other.left and self.bottom >= other.bottom and right and top


@dataclass(frozen=True, slots=True)
class Wanted:
    """A label at a point: the whole words, and the few letters that stand for them where room is short."""

    x: float
    y: float
    radius: float
    words: str
    short: str


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a label went; `words` is empty where there was no room at all."""

    words: str
    box: Box
    leader: bool = False


def text_box(words: str, size: float) -> tuple[float, float]:
    """Return about how wide and high these words are in a font of this size."""
    return WIDTH * size * len(words), HEIGHT * size


def place(wanted: Sequence[Wanted], frame: Box, size: float) -> list[Placed]:
    """Return a place for each label, in the order given: the first ones choose first.

    A label is tried around its point on growing rings, then its short form is; a point whose neighbours
    leave no room for either stays without.
    """
    taken = [Box(w.x - w.radius, w.y - w.radius, 2 * w.radius, 2 * w.radius) for w in wanted]
    found = []
    for label in wanted:
        placed = _first_fit(label, taken, frame, size)
        if placed.words:
            taken.append(placed.box)
        found.append(placed)
    return found


def _first_fit(label: Wanted, taken: list[Box], frame: Box, size: float) -> Placed:
    for words in (label.words, label.short):
        width, height = text_box(words, size)
        for ring in RINGS:
            for box in _around(label, width, height, ring):
                if box.inside(frame) and not any(box.meets(other) for other in taken):
                    return Placed(words, box, leader=ring >= LEADER)
    return Placed("", Box(label.x, label.y, 0, 0))


def _around(label: Wanted, width: float, height: float, ring: float) -> Iterator[Box]:
    """Yield the boxes at this distance: beside the point, above and below, then the corners."""
    away = label.radius + ring
    right, left = label.x + away, label.x - away - width
    up, down = label.y + away, label.y - away - height
    middle_x, middle_y = label.x - width / 2, label.y - height / 2
    near = 0.7 * away
    corners = (
        (label.x + near, label.y + near),
        (label.x + near, label.y - near - height),
        (label.x - near - width, label.y + near),
        (label.x - near - width, label.y - near - height),
    )
    sides = ((right, middle_y), (left, middle_y), (middle_x, up), (middle_x, down))
    for x, y in (*sides, *corners):
        yield Box(x, y, width, height)
