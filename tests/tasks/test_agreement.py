import numpy as np
import pytest

from qbench.errors import BadFile, DoesNotFit
from qbench.tasks.agreement import Agreement
from qbench.tasks.base import Examples
from qbench.tasks.image_classification import ImageClassification


def saved(tmp_path, **arrays):
    np.savez(tmp_path / "samples.npz", **arrays)
    return Agreement(str(tmp_path / "samples.npz"))


def test_every_fourth_sample_calibrates(tmp_path):
    assert saved(tmp_path, x=np.zeros((10, 2))).sizes() == {"calibration": 3, "test": 7}


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({}, "without any array"),
        ({"x": np.zeros((9, 2)), "y": np.zeros((10, 2))}, r"differ in length: x 9, y 10 samples"),
        ({"x": np.float32(1)}, "no array has an axis of samples"),
        ({"x": np.zeros((7, 2))}, "holds 7 samples"),
        ({"x": np.full((9, 2), np.nan)}, "x holds NaN"),
        ({"x": np.array([{}] * 9)}, "no .npz file"),
    ],
)
def test_what_is_wrong_with_the_samples_is_said(tmp_path, arrays, words):
    with pytest.raises(BadFile, match=words):
        saved(tmp_path, **arrays).arrays()


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 torn", "an array alone", None])
def test_what_is_no_npz_file_is_named(tmp_path, content):
    path = tmp_path / "samples.npz"
    if content == "an array alone":
        with path.open("wb") as file:
            np.save(file, np.zeros((9, 2)))
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(BadFile, match=r"samples\.npz is (no \.npz|a \.npy) file(.|\n)*fix: save samples"):
        Agreement(str(path)).arrays()


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (np.zeros((3, 1), np.float32), "float32 outputs of shape 3x1"),
        (np.zeros(3, np.float32), "of shape 3 are"),
        (np.zeros((3, 5, 7), np.float32), "of shape 3x5x7"),
        (np.zeros((3, 5), np.int64), "int64 outputs"),
    ],
)
def test_a_first_output_that_is_no_class_scores_has_no_prediction(outputs, words):
    measurements, withheld = Agreement().score(outputs, Examples("id", {"x": np.zeros((3, 1))}, None))
    assert measurements == ()
    assert words in next(w.reason for w in withheld if w.metric == "prediction")


def test_a_classification_refuses_what_is_no_class_scores():
    examples = Examples("id", {"x": np.zeros((3, 1))}, np.zeros(3, int))
    with pytest.raises(DoesNotFit, match="3x5x7"):
        ImageClassification("digits").score(np.zeros((3, 5, 7)), examples)
