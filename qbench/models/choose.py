"""From a Choice to the model that it means: the zoo's by name, the user's file by its suffix."""

from __future__ import annotations

from qbench.models.base import MODELS, Model
from qbench.models.file import SUFFIX, OnnxFile
from qbench.records import Choice


def model_of(choice: Choice) -> Model:
    """Return the model.

    Raises:
        UnknownName: the zoo has no such model.
    """
    return OnnxFile(choice.name) if choice.name.endswith(SUFFIX) else MODELS[choice.name]
