from pathlib import Path

import pytest

from qbench import folders
from qbench.errors import CannotWrite
from qbench.folders import cache_folder, without_folders


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("QBENCH_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("QBENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "qbench"


def test_without_any_home_the_fix_is_named(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    for name in ("QBENCH_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(CannotWrite, match="set QBENCH_CACHE"):
        cache_folder()


def test_what_is_shown_to_others_names_no_folder_of_this_machine(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.path", ["", "/", "/home/me/lib", "/home/me/lib/site-packages"])
    monkeypatch.setenv("QBENCH_CACHE", str(tmp_path))
    monkeypatch.setenv("QBENCH_DATA_CIFAR10", "/home/me/sets/cifar10")
    command = "qbench run --data cifar10=/home/me/sets/cifar10"
    assert without_folders(command) == "qbench run --data cifar10=cifar10"
    own = Path(folders.__file__)
    assert without_folders(str(own)) == "qbench/folders.py"  # although an editable install is on no path
    told = (
        f'File "/home/me/lib/site-packages/torch/a.py", {tmp_path}/shown/b.py, /home/me/lib/c.py, /dev/null'
    )
    assert without_folders(told) == 'File "torch/a.py", shown/b.py, c.py, /dev/null'


def test_what_is_told_is_read_until_it_is_old(monkeypatch, tmp_path):
    monkeypatch.setenv("QBENCH_CACHE", str(tmp_path / "cache"))
    assert folders.told() == ""
    folders.tell("training: 10%")
    folders.tell("training: 20%")
    assert folders.told() == "training: 20%"
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [folders.TOLD]
    assert folders.told(within_s=-1) == ""
    folders.tell("")
    assert folders.told() == ""


def test_a_folder_that_cannot_be_written_costs_the_words_alone(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("QBENCH_CACHE", str(tmp_path / "file"))
    folders.tell("training: 10%")
    assert folders.told() == ""
