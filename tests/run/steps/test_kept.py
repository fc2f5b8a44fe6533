"""Answers on disk: whatever an engine says comes back as it was, and a torn file is told as such."""

import numpy as np
import pytest

from qbench.errors import BadFile
from qbench.run.steps.kept import keep, kept


def test_arrays_lists_words_and_scalars_come_back(tmp_path):
    outputs = [
        np.arange(12, dtype="f4").reshape(4, 3),
        np.arange(4),
        [np.ones((2, 3), "f4"), np.zeros((0, 3), "f4"), np.full((1, 3), 7, "f4")],
        np.array(["a", "bc"], object),
        [np.float32(1), np.float32(2)],
    ]
    keep(tmp_path / "deep" / "a.npz", outputs)
    back = kept(tmp_path / "deep" / "a.npz")
    assert len(back) == len(outputs)
    for one, other in zip(outputs, back, strict=True):
        assert type(one) is type(other)
        for mine, theirs in zip(one, other, strict=True):
            np.testing.assert_array_equal(mine, theirs)
            assert np.shape(mine) == np.shape(theirs)
    assert back[0].dtype == np.float32
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["a.npz"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04torn", None])
def test_a_torn_or_missing_file_is_told_with_a_fix(tmp_path, content):
    path = tmp_path / "a.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadFile, match="cannot be read(.|\n)*fix: run again without --resume"):
        kept(path)
