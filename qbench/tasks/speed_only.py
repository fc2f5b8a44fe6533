"""No question at all: images without labels, for a network of random weights whose speed is to be known."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from qbench.cases import DataSpec, Split
from qbench.data import noise
from qbench.data.base import SPLITS, data_id, preprocess
from qbench.errors import BadParameter
from qbench.records import Measurement, Withheld
from qbench.tasks.base import TASKS, Examples, Task

RANDOM = "random weights: only its speed means anything"
SIZES: dict[Split, int] = {"train": 64, "calibration": 64, "selection": 16, "test": 100}
SIDES = (8, 2_048)


@TASKS.register("speed_only")
@dataclass(frozen=True, slots=True)
class SpeedOnly(Task):
    """Images of smooth noise, side x side; nothing is right or wrong, so no accuracy is reported."""

    about: ClassVar[str] = "smooth noise for a network with random weights: speed, size and memory alone"
    undecided: ClassVar[str] = RANDOM

    side: int = 224
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a side that no image network takes."""
        if not SIDES[0] <= self.side <= SIDES[1]:
            problem = f"speed_only has side = {self.side} pixels"
            raise BadParameter(problem, fix=f"choose {SIDES[0]} to {SIDES[1]}; 224 is usual")

    def sizes(self) -> dict[Split, int]:
        """Return the splits' sizes: few, for an image of 224 x 224 pixels has 150 kB."""
        return dict(SIZES)

    def recipe(self) -> str:
        """Digest the code that draws and the parameters."""
        sources = [Path(sys.modules[name].__file__ or "") for name in (__name__, noise.__name__)]
        digest = hashlib.sha256(repr(self).encode())
        for source in sources:
            digest.update(source.read_bytes())
        return digest.hexdigest()[:16]

    def examples(self, spec: DataSpec) -> Examples:
        """Draw the split's first `count` images, or `count` of them chosen by the seed; none has a label."""
        size = SIZES[spec.split]
        if not 1 <= spec.count <= size:
            raise BadParameter(
                f"{spec.count} images asked of speed_only, whose {spec.split} split has {size}",
                fix=f"ask for 1 to {size}",
            )
        rows = np.arange(spec.count)
        if spec.seed is not None:
            rows = np.sort(np.random.default_rng(spec.seed).choice(size, spec.count, replace=False))
        split = SPLITS.index(spec.split)
        images = np.stack([noise.smooth_noise(self.side, (self.seed, split, int(row))) for row in rows])
        return Examples(data_id(images, np.empty(0, np.int64)), {"pixel_values": images}, None)

    def prepare(self, raw: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Scale bytes as the zoo's other networks take them, channels first."""
        return {name: preprocess(array) for name, array in raw.items()}

    def chance(self, examples: Examples) -> float | None:  # noqa: ARG002
        """Return None: nothing is right or wrong here."""
        return None

    def score(
        self,
        outputs: np.ndarray,  # noqa: ARG002
        examples: Examples,  # noqa: ARG002
    ) -> tuple[tuple[Measurement, ...], tuple[Withheld, ...]]:
        """Withhold every answer, with the reason."""
        return (), (Withheld("correct", RANDOM), Withheld("prediction", RANDOM))
