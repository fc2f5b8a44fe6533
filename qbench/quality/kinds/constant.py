"""Outputs that say nothing of quality: the same for every example, or an input handed through."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from qbench.quality.kinds.base import KINDS, Kind, PerExample
from qbench.quality.seen import Seen


class Silent(Kind):
    """What judges nothing, and why."""

    why: ClassVar[str]
    whatever: ClassVar[bool] = False  # True: even if it is not what float says

    @property
    def decides(self) -> str:
        """Judge nothing."""
        return ""

    @property
    def silent(self) -> str:
        """Say why."""
        return self.why

    def measured(self, wanted: np.ndarray, given: np.ndarray) -> PerExample:  # noqa: ARG002
        """Measure nothing."""
        return {}


@KINDS.register("constant")
class Constant(Silent):
    """The same values for every example, in float and here."""

    about: ClassVar[str] = "the same for every example: judges nothing"
    order: ClassVar[int] = 10
    why: ClassVar[str] = "the same for every example in float, and here as well: it judges nothing"

    @classmethod
    def recognises(cls, seen: Seen) -> bool:
        """Take what does not move from example to example."""
        return seen.still

    @classmethod
    def unfit(cls, seen: Seen) -> str | None:
        """Refuse what moves: it would hide a loss."""
        return None if seen.still else "a constant is the same for every example, and this one is not"


@KINDS.register("state")
class State(Silent):
    """What a recurrent network hands to its own next call."""

    about: ClassVar[str] = "state handed to the next call: judges nothing"
    order: ClassVar[int] = 12
    why: ClassVar[str] = "state for the next call: its errors show in the other outputs of the calls after it"
    whatever: ClassVar[bool] = True

    @classmethod
    def recognises(cls, seen: Seen) -> bool:  # noqa: ARG003
        """Leave it to who knows what is carried."""
        return False

    @classmethod
    def unfit(cls, seen: Seen) -> str | None:  # noqa: ARG003
        """Take the word of who knows."""
        return None


@KINDS.register("passed")
class Passed(Silent):
    """An input of the network, handed through: `compare` finds it, for it alone knows the inputs."""

    about: ClassVar[str] = "an input handed through: judges nothing"
    order: ClassVar[int] = 11
    why: ClassVar[str] = "an input of the network, handed through as it came: it judges nothing"

    @classmethod
    def recognises(cls, seen: Seen) -> bool:  # noqa: ARG003
        """Leave it to who knows the inputs."""
        return False

    @classmethod
    def unfit(cls, seen: Seen) -> str | None:  # noqa: ARG003
        """Take the user's word."""
        return None
