"""CIFAR-10, real photographs of ten kinds of things: read from the parquet files of the Hugging Face hub."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from qbench.data.base import DATASETS, Dataset, Split
from qbench.data.hub.parquet import ParquetFiles
from qbench.errors import BadFile

if TYPE_CHECKING:
    import pyarrow

HELD_BACK: dict[Split, int] = {"calibration": 2_000, "selection": 5_000}  # the last images of the hub's train


@DATASETS.register("cifar10")
@dataclass(frozen=True)
class Cifar10(Dataset):
    """Photographs of 32 x 32 pixels, ten classes of equal size.

    The hub has 50,000 images to train on and 10,000 to test on. The first 43,000 of the former are the
    split `train`, the next 2,000 `calibration`, the last 5,000 `selection`; `test` is the latter.

    Source: A. Krizhevsky, Learning multiple layers of features from tiny images, 2009.
    """

    classes: ClassVar[tuple[str, ...]] = (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    )
    image_shape: ClassVar[tuple[int, int, int]] = (32, 32, 3)
    sizes: ClassVar[dict[Split, int]] = {"train": 43_000, **HELD_BACK, "test": 10_000}
    origin: ClassVar[str] = "CIFAR-10: 60,000 real photographs, 32 x 32, from the hub or --data cifar10=PATH."
    rendered_by: ClassVar[tuple[str, ...]] = ("pillow", "pyarrow")  # libjpeg's rounding comes with pillow

    def content(self) -> str:
        """Digest the parquet files; see Dataset.content."""
        return self._files().content()

    def render(self, split: Split, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Decode a range of a split.

        Raises:
            BadFile: a row holds no image of 32 x 32 pixels, or no label from 0 to 9.
        """
        first, stored = 0, "test"
        if split != "test":
            stored = "train"
            names = list(self.sizes)
            first = sum(self.sizes[name] for name in names[: names.index(split)])
        files = self._files()
        rows = files.rows(stored).slice(first + start, stop - start)
        images = np.empty((stop - start, *self.image_shape), np.uint8)
        for number, encoded in enumerate(rows.column("image").to_pylist()):
            images[number] = self._decoded(encoded, f"{files.folder}, {stored}, row {first + start + number}")
        return images, self._labels(rows.column("label"), f"{files.folder}, {stored}")

    def _decoded(self, encoded: dict[str, bytes | None] | None, where: str) -> np.ndarray:
        from PIL import Image

        fix = "get the file again: pass --data cifar10=PATH with the hub's own parquet files"
        try:
            pixels = np.asarray(Image.open(io.BytesIO((encoded or {})["bytes"] or b"")).convert("RGB"))
        except (
            OSError,
            KeyError,
            ValueError,
            SyntaxError,
        ) as error:  # Pillow raises SyntaxError for a torn PNG
            raise BadFile(f"{where} holds no image that can be decoded: {error}", fix=fix) from error
        if pixels.shape != self.image_shape:
            found = "x".join(map(str, pixels.shape[:2]))
            raise BadFile(f"{where} holds an image of {found} pixels, not 32x32", fix=fix)
        return pixels

    def _labels(self, column: pyarrow.ChunkedArray, where: str) -> np.ndarray:
        labels = column.to_pylist()
        for label in labels:
            if label is None or not 0 <= label < len(self.classes):
                raise BadFile(
                    f"{where}: a label is {label}, not 0 to {len(self.classes) - 1}",
                    fix="pass --data cifar10=PATH with labels in the hub's order: 0 is airplane, 9 is truck",
                )
        return np.array(labels, np.int64)

    def _files(self) -> ParquetFiles:
        trained_on = sum(size for split, size in self.sizes.items() if split != "test")
        rows = {"train": trained_on, "test": self.sizes["test"]}
        return ParquetFiles.find("cifar10", "uoft-cs/cifar10", rows, ("img", "image"))
