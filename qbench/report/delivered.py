"""What a recommendation hands over: the file's path and the code that loads it as it was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qbench.cases import Case


@dataclass(frozen=True, slots=True)
class Delivered:
    """The recommended file, copied to where its user takes it from; `absent` says why it was not."""

    path: str  # as it is printed: from the working folder on
    code: str  # lines of Python that load it and ask it once, with the options that were measured
    absent: str = ""


Deliveries = Mapping[Case, Delivered]
NOTHING: Deliveries = {}
