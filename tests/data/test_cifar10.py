"""CIFAR-10 from files that are made here, in the layouts of the hub; nothing asks the network."""

import hashlib
import io
import shutil

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from qbench.data.base import DATASETS, SPLITS
from qbench.data.cifar10 import Cifar10
from qbench.data.hub import parquet as found
from qbench.errors import BadFile
from qbench.folders import data_path, data_variable

SIZES = {"train": 3, "calibration": 2, "selection": 1, "test": 4}  # so the hub's train has 6 rows
CLASS = 7


def png(red, side=32, kind="PNG"):
    """Return an encoded image: all (red, 20, 30), but for its upper left pixel, which is white."""
    from PIL import Image

    image = Image.new("RGB", (side, side), (red, 20, 30))
    image.putpixel((0, 0), (255, 255, 255))
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def table(reds, labels=None, column="img", images=None):
    images = images or [png(red) for red in reds]
    rows = [{"bytes": image, "path": None} for image in images]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    labels = [red % 10 for red in reds] if labels is None else labels
    return pa.table({column: pa.array(rows, kind), "label": pa.array(labels, pa.int64())})


TRAIN, TEST = table([10, 11, 12, 13, 14, 15]), table([20, 21, 22, 23])


def write(folder, train=TRAIN, test=TEST, names=("train.parquet", "test.parquet")):
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in zip(names, (train, test), strict=True):
        parquet.write_table(rows, folder / name)
    return folder


HUB_NAMES = ("train-00000-of-00001.parquet", "test-00000-of-00001.parquet")
REVISION = "0b2714987fa478483af9968de7c934580d0bb9a2"


def hub_cache(root, **tables):
    """Make the cache that huggingface_hub keeps: files under blobs, and links to them in the snapshot."""
    folder = root / "datasets--uoft-cs--cifar10"
    loose = write(root / "loose", **tables, names=HUB_NAMES)
    links = folder / "snapshots" / REVISION / "plain_text"
    links.mkdir(parents=True)
    (folder / "blobs").mkdir()
    for path in loose.iterdir():
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        path.rename(folder / "blobs" / digest)
        (links / path.name).symlink_to(f"../../../blobs/{digest}")
    loose.rmdir()
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(REVISION)
    return folder


@pytest.fixture(autouse=True)
def small(tmp_path, monkeypatch):
    monkeypatch.setattr(Cifar10, "sizes", SIZES)
    monkeypatch.setenv("QBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("QBENCH_DATA_CIFAR10", raising=False)


@pytest.fixture
def choose(monkeypatch):
    def choose(path):
        monkeypatch.setenv("QBENCH_DATA_CIFAR10", str(path))
        return path

    return choose


def reds(split):
    return Cifar10().examples(split).images[:, 5, 5, 0].tolist()


def test_the_splits_are_the_parts_that_are_told(monkeypatch, choose, tmp_path):
    choose(write(tmp_path / "data"))
    assert [reds(split) for split in SPLITS] == [[10, 11, 12], [13, 14], [15], [20, 21, 22, 23]]
    monkeypatch.undo()
    assert Cifar10.sizes == {"train": 43_000, "calibration": 2_000, "selection": 5_000, "test": 10_000}


def test_pixels_and_labels_are_those_of_the_file(choose, tmp_path):
    choose(write(tmp_path / "data"))
    examples = Cifar10().examples("test")
    assert examples.labels.tolist() == [0, 1, 2, 3]
    assert examples.images.dtype == np.uint8
    assert examples.images.shape == (4, 32, 32, 3)
    assert examples.images[1, 0, 0].tolist() == [255, 255, 255]
    assert (examples.images[1].reshape(-1, 3)[1:] == [21, 20, 30]).all()
    few, labels = Cifar10().render("test", 2, 3)
    assert np.array_equal(few, examples.images[2:3])
    assert labels.tolist() == [2]


def test_jpeg_and_grey_images_become_three_channels(choose, tmp_path):
    from PIL import Image

    grey = io.BytesIO()
    Image.new("L", (32, 32), 77).save(grey, "PNG")
    test = table([1, 2, 3, 4], images=[grey.getvalue(), png(100, kind="JPEG"), png(1), png(2)])
    choose(write(tmp_path / "data", test=test))
    images = Cifar10().examples("test").images
    assert (images[0] == 77).all()
    assert abs(images[1, 20, 20].astype(int) - [100, 20, 30]).max() <= 3


@pytest.mark.parametrize(
    "layout", ["flat", "hub", "hub's folder above", "cache", "cache above", "snapshot", "image"]
)
def test_every_layout_gives_the_same_examples(choose, tmp_path, layout):
    root = tmp_path / "data"
    if layout == "flat":
        choose(write(root))
    elif layout == "image":
        choose(write(root, *(t.rename_columns(["image", "label"]) for t in (TRAIN, TEST))))
    elif layout.startswith("hub"):
        folder = write(root / "plain_text", names=HUB_NAMES)
        choose(folder if layout == "hub" else root)
    else:
        folder = hub_cache(root)
        choose({"cache": folder, "cache above": root, "snapshot": folder / "snapshots" / REVISION}[layout])
    assert reds("selection") == [15]
    assert reds("test") == [20, 21, 22, 23]


def test_a_split_in_several_files_is_read_in_their_order(choose, tmp_path):
    folder = write(tmp_path / "data", names=("train-00000-of-00002.parquet", "test.parquet"))
    parquet.write_table(TRAIN.slice(0, 2), folder / "train-00000-of-00002.parquet")
    parquet.write_table(TRAIN.slice(2), folder / "train-00001-of-00002.parquet")
    choose(folder)
    assert reds("train") == [10, 11, 12]
    (folder / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(BadFile, match="2 rows in train-00000-of-00002.parquet, not the 6 of the split train"):
        Cifar10().recipe()


def test_the_revision_that_main_names_wins(choose, tmp_path):
    folder = hub_cache(tmp_path / "data")
    other = folder / "snapshots" / "0000000000000000000000000000000000000000"
    write(other / "plain_text", test=table([1, 2, 3, 4]), names=HUB_NAMES)
    choose(folder)
    assert reds("test") == [20, 21, 22, 23]
    (folder / "refs" / "main").write_text(other.name)
    assert reds("test") == [1, 2, 3, 4]


def test_the_hubs_own_cache_is_read_without_a_network(monkeypatch, tmp_path):
    from huggingface_hub import constants

    hub_cache(tmp_path / "hub")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("socket.socket.connect", None)  # any call would raise another error
    assert reds("test") == [20, 21, 22, 23]


@pytest.fixture
def unreachable(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.mark.usefixtures("unreachable")
def test_without_files_and_network_the_way_out_is_told():
    with pytest.raises(BadFile, match="cifar10 is not on this machine, nor given by the hub") as caught:
        Cifar10().recipe()
    for words in ("--data cifar10=PATH", "train.parquet", "plain_text/train-", "datasets--uoft-cs--cifar10"):
        assert words in caught.value.fix


def test_the_hub_is_asked_for_the_files_that_its_cache_lacks(monkeypatch, tmp_path):
    asked = []

    def download(hub_id, *, repo_type, allow_patterns, local_files_only):
        asked.append(local_files_only)
        assert (hub_id, repo_type, allow_patterns) == ("uoft-cs/cifar10", "dataset", "*.parquet")
        if not local_files_only:
            write(tmp_path / "plain_text", names=HUB_NAMES)
        else:  # a fetch that was cut off: one of two files
            (tmp_path / "plain_text").mkdir()
            parquet.write_table(TRAIN, tmp_path / "plain_text" / HUB_NAMES[0])
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    Cifar10().recipe()
    assert asked == [True, False]


# --- what is wrong is said, before a pixel is decoded ---------------------------------------------------


def refused(words):
    with pytest.raises(BadFile, match=words) as caught:
        Cifar10().recipe()
    assert "--data cifar10=PATH" in caught.value.fix


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: None, "holds no parquet files of uoft-cs/cifar10: No such file"),
        (lambda folder: folder.mkdir(), "it is empty"),
        (lambda folder: folder.write_text(""), "it is a file, not a folder"),
        (lambda folder: (folder / "data_batch_1").mkdir(parents=True), "it has data_batch_1"),
        (lambda folder: (write(folder) / "test.parquet").unlink(), "split test: it has train.parquet"),
        (lambda folder: (write(folder) / "train.parquet").unlink(), "split train: it has test.parquet"),
        (lambda folder: write(folder, train=TRAIN.slice(1)), "5 rows in train.parquet, not the 6 of"),
        (lambda folder: write(folder, test=TEST.slice(3)), "1 rows in test.parquet, not the 4 of"),
        (
            lambda folder: write(folder, test=TEST.drop_columns("label")),
            r"the columns img \(struct.*, not img",
        ),
        (
            lambda folder: write(folder, test=TEST.rename_columns(["x", "label"])),
            "columns x .*not img or image",
        ),
        (lambda folder: write(folder, test=TEST.rename_columns(["image", "label"])), "image and img"),
        (
            lambda folder: write(folder, test=pa.table({"img": [b"x"] * 4, "label": [0] * 4})),
            r"img \(binary\), label \(int64\), not img or image \(a struct with bytes\)",
        ),
        (
            lambda folder: write(folder, test=TEST.set_column(1, "label", pa.array(["a"] * 4))),
            r"label \(string\)",
        ),
    ],
)
def test_a_wrong_layout_is_named_with_what_would_work(choose, tmp_path, make, words):
    make(choose(tmp_path / "data"))
    refused(words)


@pytest.mark.parametrize("left", [b"", b"PAR1", b"text, no parquet", 0.5])
def test_a_torn_file_is_named(choose, tmp_path, left):
    path = choose(write(tmp_path / "data")) / "test.parquet"
    whole = path.read_bytes()
    path.write_bytes(left if isinstance(left, bytes) else whole[: int(len(whole) * left)])
    refused(r"test\.parquet is no parquet file, or a torn one")


def test_a_file_torn_in_the_middle_is_named_when_it_is_read(choose, tmp_path):
    path = choose(write(tmp_path / "data")) / "test.parquet"
    whole = bytearray(path.read_bytes())
    whole[4:200] = bytes(196)  # pages of data; the notes at the end stay whole
    path.write_bytes(whole)
    assert len(Cifar10().recipe()) == 16
    with pytest.raises(BadFile, match=r"test\.parquet cannot be read"):
        Cifar10().examples("test")


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ([png(1), png(2, side=28), png(3), png(4)], "test, row 1 holds an image of 28x28 pixels, not 32x32"),
        ([png(1), png(2), b"no image", png(4)], "test, row 2 holds no image that can be decoded"),
        ([png(1), png(2), png(3), png(4)[:60]], "test, row 3 holds no image that can be decoded"),
        ([None, png(2), png(3), png(4)], "test, row 0 holds no image that can be decoded"),
    ],
)
def test_an_image_that_is_none_of_cifar10_is_named(choose, tmp_path, images, words):
    choose(write(tmp_path / "data", test=table([1, 2, 3, 4], images=images)))
    with pytest.raises(BadFile, match=words):
        Cifar10().examples("test")


@pytest.mark.parametrize(("label", "words"), [(10, "is 10, not 0 to 9"), (-1, "is -1"), (None, "is None")])
def test_a_label_that_is_none_of_cifar10_is_named(choose, tmp_path, label, words):
    choose(write(tmp_path / "data", test=table([1, 2, 3, 4], labels=[0, 1, label, 3])))
    with pytest.raises(BadFile, match=f"a label {words}"):
        Cifar10().examples("test")


# --- two copies never mix --------------------------------------------------------------------------------


def test_a_copy_has_the_same_recipe_and_one_pixel_changes_it_and_the_id(choose, tmp_path):
    choose(write(tmp_path / "a"))
    first, examples = Cifar10().recipe(), Cifar10().examples("test")
    choose(shutil.copytree(tmp_path / "a", tmp_path / "b"))
    assert Cifar10().recipe() == first
    other = table([20, 21, 22, 23], images=[png(20), png(21), png(22), png(24)], labels=[0, 1, 2, 3])
    choose(write(tmp_path / "c", test=other))
    assert Cifar10().recipe() != first
    assert Cifar10().examples("test").data_id != examples.data_id
    assert Cifar10().examples("test", 3).data_id != examples.data_id
    choose(tmp_path / "a")
    assert Cifar10().examples("test").data_id == examples.data_id


def test_a_file_that_is_replaced_in_place_is_read_again(choose, tmp_path):
    folder = choose(write(tmp_path / "data"))
    first = Cifar10().recipe()
    assert reds("test") == [20, 21, 22, 23]
    write(folder, test=table([30, 31, 32, 33]))
    assert Cifar10().recipe() != first
    assert reds("test") == [30, 31, 32, 33]


def test_the_files_are_digested_once_a_process(choose, tmp_path):
    choose(write(tmp_path / "data"))
    found._digest.cache_clear()
    Cifar10().recipe()
    Cifar10().recipe()
    assert found._digest.cache_info().misses == 2


def test_asking_for_the_recipe_decodes_nothing(choose, tmp_path, monkeypatch):
    choose(write(tmp_path / "data"))
    monkeypatch.setattr(Cifar10, "render", None)
    monkeypatch.setattr(found, "_table", None)
    assert len(Cifar10().recipe()) == 16


def test_the_path_of_a_data_set_comes_from_its_own_variable(monkeypatch, tmp_path):
    assert data_variable("sst-2") == "QBENCH_DATA_SST_2"
    monkeypatch.setenv("QBENCH_DATA_SST_2", "~/somewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_path("sst-2") == tmp_path / "somewhere"
    monkeypatch.setenv("QBENCH_DATA_SST_2", "")
    assert data_path("sst-2") is None
    assert data_path("cifar10") is None


@pytest.mark.usefixtures("unreachable")
def test_the_data_set_is_listed_without_its_files():
    assert "cifar10" in DATASETS
    assert DATASETS["cifar10"].classes[CLASS] == "horse"
