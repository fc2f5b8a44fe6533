import errno
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from qbench.data import base
from qbench.data.base import DATASETS, SPLITS, Dataset, calibration_subset, data_id, preprocess
from qbench.data.digits import Digits
from qbench.data.glyphs import FONTS, Glyphs
from qbench.data.noise import smooth_noise
from qbench.errors import BadParameter, CannotWrite

ROOT = Path(base.__file__).parents[2]


@dataclass(frozen=True)
class Counter(Dataset):
    """Image number i of split number s is all (i mod 200) + s: cheap, and worked out by hand."""

    classes: ClassVar[tuple[str, ...]] = ("even", "odd")
    image_shape: ClassVar[tuple[int, int, int]] = (2, 2, 3)
    sizes: ClassVar[dict[str, int]] = {"train": 2_500, "calibration": 10, "selection": 10, "test": 10}
    origin: ClassVar[str] = "Counted here."
    rendered_by: ClassVar[tuple[str, ...]] = ("numpy", "no-such-distribution")
    rendered: ClassVar[list[tuple[str, int, int]]] = []

    seed: int = 0

    def render(self, split, start, stop):
        self.rendered.append((split, start, stop))
        numbers = np.arange(start, stop)
        grey = (numbers % 200 + SPLITS.index(split)).astype(np.uint8)
        return np.tile(grey[:, None, None, None], (1, *self.image_shape)), numbers % 2


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("QBENCH_CACHE", str(tmp_path))
    Counter.rendered.clear()
    return tmp_path


def test_preprocess_worked_by_hand():
    images = np.zeros((1, 1, 2, 3), np.uint8)
    images[0, 0, 1] = (255, 51, 0)
    planes = preprocess(images)
    assert planes.dtype == np.float32
    assert planes.flags.c_contiguous
    np.testing.assert_allclose(planes, [[[[-2, 2]], [[-2, -1.2]], [[-2, -2]]]], atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 3, 2, 2), (2, 2, 3)])
def test_preprocess_refuses_another_layout(shape):
    with pytest.raises(BadParameter, match="uint8 pixels"):
        preprocess(np.zeros(shape, np.uint8))


def test_preprocess_refuses_pixels_from_0_to_1():
    with pytest.raises(BadParameter, match="float32.*\n.*uint8 pixels"):
        preprocess(np.zeros((1, 2, 2, 3), np.float32))


def test_asking_for_few_renders_one_chunk_and_asking_again_none():
    first = Counter().examples("train", 700)
    assert Counter.rendered == [("train", 0, 1_000)]
    assert Counter().examples("train", 700).data_id == first.data_id
    assert len(Counter.rendered) == 1


def test_the_first_examples_are_the_same_however_many_are_asked_for():
    every = Counter().examples("train")
    assert every.images.shape == (2_500, 2, 2, 3)
    assert every.labels.dtype == np.int64
    for count in (1, 999, 1_000, 1_001, 2_000, 2_500):
        few = Counter().examples("train", count)
        assert np.array_equal(few.images, every.images[:count])
        assert np.array_equal(few.labels, every.labels[:count])
        assert few.data_id == data_id(every.images[:count], every.labels[:count])


@pytest.mark.parametrize("damage", ["torn", "empty", "text", "altered", "another shape"])
def test_a_damaged_chunk_is_rendered_again(cache, damage):
    good = Counter().examples("test")
    (path,) = cache.rglob("*.npz")
    whole = path.read_bytes()
    if damage == "torn":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("not a zip file")
    elif damage == "altered":  # a sound file whose pixels are not those that were rendered
        np.savez(path, images=good.images + np.uint8(1), labels=good.labels, data_id=good.data_id)
    else:
        images, labels = good.images[:5], good.labels[:5]
        np.savez(path, images=images, labels=labels, data_id=data_id(images, labels))
    assert Counter().examples("test").data_id == good.data_id
    assert len(Counter.rendered) == 2
    Counter().examples("test")
    assert len(Counter.rendered) == 2, "the chunk was not mended on disk"


def test_a_full_disk_is_answered_with_a_folder_to_choose(monkeypatch, cache):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(base.np, "savez", full)
    with pytest.raises(CannotWrite, match="No space left.*\n.*QBENCH_CACHE"):
        Counter().examples("test")
    assert not [path for path in cache.rglob("*") if path.is_file()], "half a file was left behind"


def test_a_cache_that_is_a_file_is_answered_too(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("QBENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(CannotWrite, match="QBENCH_CACHE"):
        Counter().examples("test")


@pytest.mark.parametrize("count", [0, -1, 11])
def test_a_count_out_of_range_names_the_range(count):
    with pytest.raises(BadParameter, match="1 to 10"):
        Counter().examples("test", count)


def test_a_misspelt_split_is_answered_with_the_nearest():
    with pytest.raises(BadParameter, match="did you mean 'selection'"):
        Counter().examples("selecton")


def test_the_id_changes_with_one_pixel_one_label_and_the_order():
    examples = Counter().examples("test")
    images, labels = examples.images.copy(), examples.labels.copy()
    assert data_id(images, labels) == examples.data_id
    images[3, 1, 0, 2] ^= 1
    assert data_id(images, labels) != examples.data_id
    labels[0] = 1
    ids = {examples.data_id, data_id(examples.images, labels)}
    ids.add(data_id(examples.images[::-1], examples.labels[::-1]))
    ids.add(data_id(examples.images.reshape(10, 1, 4, 3), examples.labels))
    assert len(ids) == 4


def test_a_recipe_changes_with_a_parameter_the_source_and_a_version(monkeypatch):
    recipes = {Counter().recipe(), Counter(seed=1).recipe()}
    assert Counter().recipe() in recipes
    monkeypatch.setattr(Counter, "_source", Counter._source + "\n")
    recipes.add(Counter().recipe())
    monkeypatch.setattr(base, "version", lambda name: "0.0")
    recipes.add(Counter().recipe())
    assert len(recipes) == 4
    assert not Counter.rendered


def test_a_calibration_subset_is_seeded_sorted_and_without_repetition():
    examples = Counter().examples("train", 100)
    few = calibration_subset(examples, 20, seed=3)
    grey = few.images[:, 0, 0, 0]
    assert (np.diff(grey.astype(int)) > 0).all()  # grey levels count up, so: sorted, and none twice
    assert np.array_equal(few.labels, grey % 2)
    assert calibration_subset(examples, 20, seed=3).data_id == few.data_id
    assert calibration_subset(examples, 20, seed=4).data_id != few.data_id
    assert calibration_subset(examples, 100, seed=5).data_id == examples.data_id
    with pytest.raises(BadParameter, match="1 to 100"):
        calibration_subset(examples, 101, seed=0)


@pytest.mark.parametrize("dataset", [Digits(), Glyphs()])
def test_any_range_renders_alone_to_the_same_pixels(dataset):
    images, labels = dataset.render("selection", 30, 70)
    assert images.shape == (40, *dataset.image_shape)
    assert images.dtype == np.uint8
    assert labels.dtype == np.int64
    assert set(labels) <= set(range(len(dataset.classes)))
    for start, stop in ((30, 31), (50, 70), (69, 70)):
        again, again_labels = dataset.render("selection", start, stop)
        assert np.array_equal(again, images[start - 30 : stop - 30])
        assert np.array_equal(again_labels, labels[start - 30 : stop - 30])


def test_what_a_data_set_reads_from_files_is_part_of_its_recipe_and_drawn_ones_read_none(monkeypatch):
    before = Counter().recipe()
    assert Counter().content() == Glyphs().content() == ""
    monkeypatch.setattr(Counter, "content", lambda self: "one")
    first = Counter().recipe()
    monkeypatch.setattr(Counter, "content", lambda self: "two")
    assert len({before, first, Counter().recipe()}) == 3


@pytest.mark.parametrize(("side", "key"), [(224, (0, 3, 1)), (8, (0, 0, 0)), (65, (7,))])
def test_smooth_noise_is_smooth_spread_and_its_keys_own(side, key):
    image = smooth_noise(side, key)
    assert image.shape == (side, side, 3)
    assert image.dtype == np.uint8
    assert np.array_equal(image, smooth_noise(side, key))
    assert not np.array_equal(image, smooth_noise(side, (*key, 1)))
    assert 20 < image.std() < 70
    if side > 60:  # neighbours differ by the grain, and little more
        assert np.abs(np.diff(image.astype(int), axis=0)).mean() < image.std() / 2


@pytest.mark.parametrize("dataset", [Digits(), Glyphs()])
def test_a_seed_changes_the_images(dataset):
    other, _ = type(dataset)(seed=1).render("test", 0, 20)
    assert not np.array_equal(dataset.render("test", 0, 20)[0], other)


def test_the_splits_of_digits_are_all_the_scans_and_share_none():
    from sklearn.datasets import load_digits

    known = {scan.tobytes() for scan in load_digits().images}
    parts = [Digits().examples(split) for split in SPLITS]
    kept = [image.tobytes() for part in parts for image in part.images]
    assert len(kept) == len(set(kept)) == len(known) == 1_797


def test_no_two_glyph_images_are_alike_in_any_split():
    images = np.concatenate([Glyphs().render(split, 0, 100)[0] for split in SPLITS])
    assert len({image.tobytes() for image in images}) == 400


def test_glyph_classes_are_balanced_in_every_prefix_and_not_in_order():
    glyphs = Glyphs()
    labels = np.array([glyphs.label(3, index) for index in range(1_000)])
    for count in (34, 100, 517, 1_000):
        times = np.bincount(labels[:count], minlength=len(glyphs.classes))
        assert times.max() - times.min() <= 1
    assert not np.array_equal(labels[:34], labels[34:68])
    assert not np.array_equal(labels[:34], np.arange(34))


def test_every_font_draws_every_character_its_own_way_inside_the_mask():
    from qbench.data.glyphs import MASK_PX, _shape

    for font in FONTS:
        shapes = {}
        for character in "".join(Glyphs.classes):
            left, top, right, bottom = _shape(font, character).getbbox()
            assert min(left, top, MASK_PX - right, MASK_PX - bottom) > 0, (font, character)
            shapes.setdefault(_shape(font, character).tobytes(), []).append(character)
        assert all(len(same) == 1 for same in shapes.values()), (font, "draws a missing-glyph box")


def test_every_font_says_that_its_letters_are_latin_ones():
    from matplotlib import get_data_path
    from matplotlib.ft2font import FT2Font

    digits = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    for font in FONTS:
        face = FT2Font(str(Path(get_data_path()) / "fonts" / "ttf" / f"{font}.ttf"))
        for character in "".join(Glyphs.classes):
            wanted = digits[int(character)] if character.isdigit() else character
            assert face.get_glyph_name(face.get_char_index(ord(character))) == wanted, (font, character)


def test_the_data_sets_are_registered():
    assert {"digits", "glyphs", "cifar10"} <= set(DATASETS)
    assert not DATASETS.failures


def test_listing_data_sets_imports_nothing_heavy():
    code = (
        "import sys\nfrom qbench.data.base import DATASETS\nfrom qbench.errors import BadFile\n"
        "for name in DATASETS:\n"
        "    try: DATASETS[name]().recipe()\n"
        "    except BadFile: pass  # it is read from files, and they are not here\n"
        "print([m for m in ('torch', 'sklearn', 'PIL', 'matplotlib', 'scipy') if m in sys.modules])"
    )
    offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, env=offline
    )
    assert done.stdout.strip() == "[]"
