import json
import subprocess
import sys

import pytest

from qbench.cases import ArtifactSpec, Choice, Float, Hop
from qbench.errors import BadFile
from qbench.formats import cache
from qbench.formats.artifact import (
    MANIFEST,
    Artifact,
    compressed_size_bytes,
    file_size_bytes,
    files,
    load,
    save,
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("QBENCH_CACHE", str(tmp_path / "cache"))


def spec(name="a"):
    return ArtifactSpec(Choice(name), (Hop("source", Choice(name), "fake", Float(), ""),))


def made(name="a", content="{}"):
    making = cache.workspace(spec(name))
    (making / "model.fake").write_text(content)
    save(Artifact("fake", Float(), (), (), making / "model.fake"), making, spec(name))
    return making


def test_what_is_published_is_held_whole_and_loads():
    assert not cache.holds(spec())
    folder = cache.publish(made(), spec())
    assert cache.holds(spec())
    assert load(folder).path == folder / "model.fake"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_the_first_of_two_stays_and_the_second_leaves_nothing():
    first, second = made(content="first"), made(content="second")
    folder = cache.publish(first, spec())
    assert cache.publish(second, spec()) == folder
    assert (folder / "model.fake").read_text() == "first"
    assert list(folder.parent.iterdir()) == [folder]


def test_a_folder_without_a_manifest_gives_way():
    folder = cache.folder_of(spec())
    folder.mkdir(parents=True)
    (folder / "leftover").write_text("")
    cache.publish(made(), spec())
    assert cache.holds(spec())
    assert not (folder / "leftover").exists()


def test_two_processes_that_make_the_same_leave_one_whole_artifact():
    code = (
        "import sys; from qbench.formats import cache; from qbench.formats.artifact import *;"
        "from qbench.cases import *; from pathlib import Path;"
        "spec = ArtifactSpec(Choice('a'), (Hop('source', Choice('a'), 'fake', Float(), ''),));"
        "makings = [cache.workspace(spec) for _ in range(50)];"
        "[(m / 'model.fake').write_text(sys.argv[1] * 100) for m in makings];"
        "[save(Artifact('fake', Float(), (), (), m / 'model.fake'), m, spec) for m in makings];"
        "print('ready', flush=True); input();"
        "[cache.publish(m, spec) for m in makings]; load(cache.folder_of(spec))"
    )
    command = [sys.executable, "-c", code]
    both = [
        subprocess.Popen([*command, word], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for word in "ab"
    ]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in both:
        process.communicate()
        assert process.returncode == 0
    folder = cache.folder_of(spec())
    assert (folder / "model.fake").read_text() in ("a" * 100, "b" * 100)
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("left", ["", "{", "null", "[]", '"text"', '{"file": null, "spec": {}}', "{}"])
def test_a_torn_manifest_is_named_with_a_way_out(left):
    folder = cache.publish(made(), spec())
    (folder / MANIFEST).write_text(left)
    with pytest.raises(BadFile, match="delete that folder"):
        load(folder)


def test_a_manifest_of_a_later_version_is_refused():
    folder = cache.publish(made(), spec())
    raw = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(raw | {"new": 1}))
    with pytest.raises(BadFile):
        load(folder)


def test_a_manifest_without_its_file_is_torn():
    folder = cache.publish(made(), spec())
    (folder / "model.fake").unlink()
    with pytest.raises(BadFile, match=r"model\.fake"):
        load(folder)


def test_everything_needed_to_run_counts_and_our_own_notes_do_not():
    folder = cache.publish(made(content="x" * 1000), spec())
    (folder / "artifact.reference.npz").write_bytes(b"0" * 500)
    (folder / "weights").mkdir()
    (folder / "weights" / "artifact.bin").write_bytes(b"0" * 30)  # a user may call a file anything
    assert [path.name for path in files(folder)] == ["model.fake", "artifact.bin"]
    assert file_size_bytes(folder) == 1030
    packed = compressed_size_bytes(folder)
    assert 0 < packed < 60
    assert compressed_size_bytes(folder) == packed  # and what keeps it is no part of the deployment


def test_the_way_is_cached_hop_by_hop():
    way = (*spec().way, Hop("technique", Choice("t"), "fake", Float(), ""))
    whole = ArtifactSpec(Choice("a"), way)
    assert cache.prefixes(whole) == [spec(), whole]
    assert cache.folder_of(whole) != cache.folder_of(spec())
