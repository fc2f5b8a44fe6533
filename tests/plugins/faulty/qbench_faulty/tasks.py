# ruff: noqa: ARG002 - what a plug-in is given and does not need
"""A task whose every number is known: the input is a one-hot row, and the right answer is that row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qbench.cases import DataSpec, Split
from qbench.records import Measurement, Withheld
from qbench.tasks.base import TASKS, Examples, Task

CLASSES = 10
SIZES: dict[Split, int] = {"train": 100, "calibration": 100, "selection": 100, "test": 1000}


@TASKS.register("one_hot")
@dataclass(frozen=True, slots=True)
class OneHot(Task):
    """Say which entry of a row is one. Classes come round in turn, so that every one has the same share."""

    about: ClassVar[str] = "for tests: which entry of a row is one"

    offset: int = 0

    def sizes(self) -> dict[Split, int]:
        return SIZES

    def recipe(self) -> str:
        return f"one-hot-{self.offset}"

    def examples(self, spec: DataSpec) -> Examples:
        labels = (np.arange(spec.count) + self.offset) % CLASSES
        if spec.seed is not None:
            labels = np.random.default_rng(spec.seed).permutation(labels)
        return Examples(
            f"one-hot-{self.offset}-{spec.split}-{spec.count}-{spec.seed}", {"row": labels}, labels
        )

    def prepare(self, raw: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: np.eye(CLASSES, dtype=np.float32)[array] for name, array in raw.items()}

    def chance(self, examples: Examples) -> float | None:
        return 1 / CLASSES

    def score(
        self, outputs: np.ndarray, examples: Examples
    ) -> tuple[tuple[Measurement, ...], tuple[Withheld, ...]]:
        first = np.where(np.isfinite(outputs).all(axis=1), np.nan_to_num(outputs).argmax(axis=1), -1)
        correct = first == np.asarray(examples.labels)
        return (
            Measurement("correct", tuple(correct.astype(int).tolist())),
            Measurement("prediction", tuple(first.tolist())),
        ), ()
