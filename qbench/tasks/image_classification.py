"""Which class is on the picture? Scored per sample, so that two deployments can be compared in pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from qbench.cases import DataSpec, Split
from qbench.data.base import DATASETS, calibration_subset, preprocess, shifted
from qbench.errors import DoesNotFit
from qbench.records import Measurement, Withheld
from qbench.tasks.base import TASKS, Examples, Task

if TYPE_CHECKING:
    from qbench.data.base import Dataset

SHIFT_PX = 4  # either way


@TASKS.register("image_classification")
@dataclass(frozen=True, slots=True)
class ImageClassification(Task):
    """Classify the images of a data set; the first answer counts."""

    about: ClassVar[str] = "which class is on the picture; per-sample correctness of the first answer"

    dataset: str = "glyphs"

    def __post_init__(self) -> None:
        """Refuse an unknown data set at once."""
        DATASETS[self.dataset]

    def _data(self) -> Dataset:
        return DATASETS[self.dataset]()

    def sizes(self) -> dict[Split, int]:
        """Return the data set's splits."""
        return dict(self._data().sizes)

    def recipe(self) -> str:
        """Return the data set's recipe."""
        return self._data().recipe()

    def examples(self, spec: DataSpec) -> Examples:
        """Return images and labels, rendered or from the data set's own cache."""
        data = self._data()
        if spec.seed is None:
            chosen = data.examples(spec.split, spec.count)
        else:
            chosen = calibration_subset(data.examples(spec.split), spec.count, spec.seed)
        return Examples(chosen.data_id, {"pixel_values": chosen.images}, chosen.labels)

    def prepare(self, raw: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Scale bytes to the range that the zoo was trained on, channels first."""
        return {name: preprocess(array) for name, array in raw.items()}

    def vary(self, raw: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Move each image a little, as the zoo's training does; mirroring would make other letters."""
        return {name: shifted(images, SHIFT_PX, rng) for name, images in raw.items()}

    def chance(self, examples: Examples) -> float | None:
        """Return the majority class's share."""
        labels = np.asarray(examples.labels)
        return float(np.bincount(labels).max() / len(labels))

    def score(
        self, outputs: np.ndarray, examples: Examples
    ) -> tuple[tuple[Measurement, ...], tuple[Withheld, ...]]:
        """Return correctness and first answers; what is not finite is wrong and counts as class -1.

        Raises:
            DoesNotFit: the outputs are no class scores.
        """
        if outputs.ndim != 2 or outputs.shape[1] < 2:
            raise DoesNotFit(
                f"outputs of shape {'x'.join(map(str, outputs.shape))} are no scores (images, classes)",
                fix="make the scores the network's first output, or take the task agreement",
            )
        finite = np.isfinite(outputs).all(axis=1)
        first = np.where(finite, np.where(finite[:, None], outputs, 0).argmax(axis=1), -1)
        correct = first == np.asarray(examples.labels)
        return (
            Measurement("correct", tuple(correct.astype(int).tolist())),
            Measurement("prediction", tuple(first.tolist())),
        ), ()
