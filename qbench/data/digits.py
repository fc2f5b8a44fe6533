"""Real handwritten digits: the 1,797 scans that scikit-learn ships, shuffled once and split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qbench.data.base import DATASETS, SPLITS, Dataset, Split


@DATASETS.register("digits")
@dataclass(frozen=True)
class Digits(Dataset):
    """Handwritten digits of 43 people, 8 x 8 grey levels, enlarged to 32 x 32 RGB.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository, 1998; scikit-learn ships its test part.
    """

    classes: ClassVar[tuple[str, ...]] = tuple("0123456789")
    image_shape: ClassVar[tuple[int, int, int]] = (32, 32, 3)
    sizes: ClassVar[dict[Split, int]] = {"train": 997, "calibration": 200, "selection": 200, "test": 400}
    origin: ClassVar[str] = "1,797 real handwritten digits that scikit-learn ships, enlarged from 8 x 8."
    rendered_by: ClassVar[tuple[str, ...]] = ("scikit-learn", "pillow", "numpy")

    seed: int = 0  # of the shuffle that deals the scans out to the splits

    def render(self, split: Split, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Enlarge the scans that the shuffle dealt to this range."""
        from PIL import Image
        from sklearn.datasets import load_digits

        scans = load_digits()
        before = sum(self.sizes[s] for s in SPLITS[: SPLITS.index(split)])
        order = np.random.default_rng(self.seed).permutation(len(scans.target))
        chosen = order[before + start : before + stop]
        grey = np.round(scans.images[chosen] * (255 / 16)).astype(np.uint8)  # the scans have levels 0..16
        side = self.image_shape[:2]
        large = [np.asarray(Image.fromarray(g).resize(side, Image.Resampling.BICUBIC)) for g in grey]
        images = np.repeat(np.stack(large)[..., None], 3, axis=3)
        return images, scans.target[chosen].astype(np.int64)
