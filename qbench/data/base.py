"""What a data set is: four disjoint splits of labelled images, each with an id, kept in the cache.

A new data set is one file with one class: its ClassVars and `render`. Everything else, the cache
included, is inherited. Numpy is the only import, because a worker on a small device has nothing more.
"""

from __future__ import annotations

import abc
import dataclasses
import hashlib
import os
import sys
import tempfile
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import ClassVar, Literal, get_args

import numpy as np

from qbench.errors import BadParameter, CannotWrite
from qbench.folders import cache_folder
from qbench.registry import Registry, did_you_mean

Split = Literal["train", "calibration", "selection", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
CHUNK = 1_000  # examples a cache file: asking for the first thousand renders a thousand


@dataclasses.dataclass(frozen=True, slots=True)
class Examples:
    """Labelled images in a fixed order, and the id of exactly these."""

    images: np.ndarray  # (N, H, W, 3) uint8
    labels: np.ndarray  # (N,) int64
    data_id: str  # 16 hexadecimal digits; results under two ids are never compared


def data_id(images: np.ndarray, labels: np.ndarray) -> str:
    """Return 16 hexadecimal digits that change with any pixel, label, shape, type or order."""
    digest = hashlib.sha256()
    for array in (images, labels):
        digest.update(f"{array.shape} {array.dtype.str};".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


class Dataset(abc.ABC):
    """A plug-in. Leaves are frozen dataclasses whose fields are the parameters a suite may set."""

    classes: ClassVar[tuple[str, ...]]
    image_shape: ClassVar[tuple[int, int, int]]  # height, width, 3
    sizes: ClassVar[dict[Split, int]]
    origin: ClassVar[str]  # one sentence: where the pixels come from
    rendered_by: ClassVar[tuple[str, ...]]  # distributions whose version may change a pixel

    _source: ClassVar[str]

    def __init_subclass__(cls) -> None:
        """Keep the source as it was imported: an edit during a long run must not rename its pixels."""
        cls._source = Path(sys.modules[cls.__module__].__file__ or "").read_text(encoding="utf-8")

    @abc.abstractmethod
    def render(self, split: Split, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Make examples start..stop of a split, the same ones every time: images, then labels.

        Only `examples` calls this, with a range that lies inside the split. Heavy imports go in here.
        """

    def examples(self, split: Split, count: int | None = None) -> Examples:
        """Return the first `count` examples of a split, or all; from the cache where they are there.

        Raises:
            BadParameter: there is no such split, or it has fewer than `count` examples.
            CannotWrite: the cache folder refuses what was rendered.
            BadFile: the files that it is read from are missing, torn, or those of something else.
        """
        if split not in self.sizes:
            fix = did_you_mean(str(split), list(self.sizes))
            raise BadParameter(f"no split is called {split!r}", fix=fix)
        size = self.sizes[split]
        count = size if count is None else count
        if not 1 <= count <= size:
            raise BadParameter(
                f"{count} examples asked of the {split} split of {type(self).__name__}, which has {size}",
                fix=f"ask for 1 to {size}, or leave the count out for all of them",
            )
        images = np.empty((count, *self.image_shape), np.uint8)
        labels = np.empty(count, np.int64)
        folder = self.cache_path()
        for start in range(0, count, CHUNK):
            some_images, some_labels = self._chunk(folder / f"{split}-{start // CHUNK:03d}.npz", split, start)
            stop = min(start + CHUNK, count)
            images[start:stop] = some_images[: stop - start]
            labels[start:stop] = some_labels[: stop - start]
        return Examples(images, labels, data_id(images, labels))

    def content(self) -> str:
        """Return a digest of the files that the images are read from; empty where all are drawn.

        Raises:
            BadFile: the files are not here, or are not what the data set needs.
        """
        return ""

    def recipe(self) -> str:
        """Return 16 hexadecimal digits of all that decides the pixels, without rendering one.

        That is the source of the data set's module, its parameters, and the versions of the libraries
        that draw; where the images come out of files, also what is in those. A changed comment changes
        it too: rendering again is cheap, a stale cache is not.

        Raises:
            BadFile: the files are not here, or are not what the data set needs.
        """
        versions = [f"{name} {_version(name)}" for name in self.rendered_by]
        words = [self._source, repr(self), *versions, *filter(None, [self.content()])]
        return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]

    def cache_path(self) -> Path:
        """Return the folder of this data set's chunks; it need not exist, and may always be deleted."""
        return cache_folder() / "data" / f"{type(self).__name__.lower()}-{self.recipe()}"

    def _chunk(self, path: Path, split: Split, start: int) -> tuple[np.ndarray, np.ndarray]:
        stop = min(start + CHUNK, self.sizes[split])
        kept = _read_chunk(path, (stop - start, *self.image_shape))
        if kept is None:
            kept = self.render(split, start, stop)
            _write_chunk(path, *kept)
        return kept


DATASETS: Registry[type[Dataset]] = Registry("data set", "qbench.data")


def preprocess(images: np.ndarray) -> np.ndarray:
    """Turn uint8 (N, H, W, 3) pixels into the float32 (N, 3, H, W) input of the built-in networks.

    Each value is (pixel / 255 - 0.5) / 0.25, so it lies within [-2, 2]. The result is contiguous.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise BadParameter(
            f"images of type {images.dtype} and shape {images.shape} cannot be preprocessed",
            fix="pass uint8 pixels of shape (N, height, width, 3), as Dataset.examples returns them",
        )
    planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2), dtype=np.float32)
    planes *= np.float32(4 / 255)
    planes -= np.float32(2)
    return planes


def shifted(images: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Move each image by up to `most` pixels in both directions; what comes in is mirrored at the edge."""
    _, height, width, _ = images.shape
    wide = np.pad(images, ((0, 0), (most, most), (most, most), (0, 0)), mode="reflect")
    moves = rng.integers(0, 2 * most + 1, (len(images), 2))
    return np.stack([image[y : y + height, x : x + width] for image, (y, x) in zip(wide, moves, strict=True)])


def calibration_subset(examples: Examples, count: int, seed: int) -> Examples:
    """Choose `count` of the examples at random, none twice, kept in their order.

    Raises:
        BadParameter: there are fewer than `count` examples.
    """
    size = len(examples.labels)
    if not 1 <= count <= size:
        raise BadParameter(
            f"{count} calibration examples asked of a split that has {size}", fix=f"ask for 1 to {size}"
        )
    chosen = np.sort(np.random.default_rng(seed).choice(size, count, replace=False))
    images, labels = examples.images[chosen], examples.labels[chosen]
    return Examples(images, labels, data_id(images, labels))


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:  # planning on a device that cannot render: it is sent tensors instead
        return "absent"


def _read_chunk(path: Path, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray] | None:
    """Return a chunk's images and labels, or None where the file is absent, torn or altered."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            images, labels, known_id = kept["images"], kept["labels"], str(kept["data_id"])
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None
    whole = images.shape == shape and images.dtype == np.uint8 and data_id(images, labels) == known_id
    return (images, labels) if whole else None


def _write_chunk(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Write a chunk under another name first, so that a reader meets a whole file or none."""
    torn = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            torn = Path(file.name)
            np.savez(file, images=images, labels=labels, data_id=np.array(data_id(images, labels)))
        os.replace(torn, path)
    except OSError as error:
        if torn is not None:
            torn.unlink(missing_ok=True)
        raise CannotWrite(
            f"{images.nbytes / 1e6:.0f} MB of rendered images cannot be kept in {path.parent}: "
            f"{error.strerror or error}",
            fix="free some space there, or set QBENCH_CACHE to a folder that can be written",
        ) from error
