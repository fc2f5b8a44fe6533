"""What a model is: where a network comes from. Leaves import torch inside `load` only."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, ClassVar

from qbench.registry import Registry

if TYPE_CHECKING:
    from qbench.cases import Choice
    from qbench.formats.artifact import Artifact

MODELS: Registry[Model] = Registry("model", "qbench.models")


class Model(abc.ABC):
    """A network with its weights; an instance a network, so that one file may hold a family."""

    about: str
    format: ClassVar[str]  # the format that `load` gives

    @property
    @abc.abstractmethod
    def task(self) -> Choice:
        """Return the task that it was trained for, used where a suite names none."""

    @abc.abstractmethod
    def content(self) -> str:
        """Return a digest of weights and architecture, without a heavy import.

        Raises:
            BadFile: the weight file is missing.
        """

    @abc.abstractmethod
    def load(self) -> Artifact:
        """Return the float network.

        Raises:
            BadFile: the weights are missing, torn, or those of another network.
        """
