"""Results on disk: appended, flushed, never glued together, never half a line."""

import os
import subprocess

import pytest

from qbench.cases import Anchor, Step
from qbench.errors import BadFile, CannotWrite, OutOfRoom
from qbench.records import Failed, Measured, Measurement, Record, Session
from qbench.store import Store, read_lines, read_runs, results_files


def session(name, started="2026-01-01T00:00:00Z"):
    return Session(name, "s", "quick", "h", (), (), "none", False, started, "qbench run")


def record(name, number=0, outcome=None, log=""):
    outcome = outcome or Measured((Measurement("anchor", (0.001,)),))
    return Record(Step("anchor", Anchor("cpu"), number), outcome, name, "2026-01-01T00:00:01Z", 1.0, 0.5, log)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "host" / "2026-01-01-s.jsonl"


def test_what_was_appended_is_read_back_with_its_line_numbers(path):
    with Store(path) as store:
        for line in (session("a"), record("a"), record("a", 1)):
            store.append(line)
    (run,) = read_runs([path])
    assert run.session == session("a")
    assert run.records == (record("a"), record("a", 1))
    assert run.lines == (2, 3)
    assert run.path == path


def test_each_line_is_on_disk_when_append_returns(path):
    with Store(path) as store:
        for count in range(1, 4):
            store.append(session(str(count)))
            assert path.read_bytes().count(b"\n") == count
            assert path.read_bytes().endswith(b"\n")


def test_a_second_try_counts_and_a_failed_step_is_not_done(path):
    failed = record("a", 0, Failed("measure", "no"))
    with Store(path) as store:
        for line in (
            session("a"),
            failed,
            record("a", 1),
            record("a", 1, Failed("measure", "no")),
            record("a", 0),
        ):
            store.append(line)
    (run,) = read_runs([path])
    assert run.done() == {record("a", 0).step.key}
    assert run.latest()[failed.step.key] == (record("a", 0), 5)


@pytest.mark.parametrize("torn", [b"{", b'{"step":{"kind":"anchor"', b"\xff\xfe half a character \xc3"])
def test_a_torn_last_line_is_passed_over_and_set_aside_before_the_next(path, torn):
    with Store(path) as store:
        store.append(session("a"))
    with path.open("ab") as file:
        file.write(torn)
    if torn.startswith(b"{"):  # a reader that cannot write passes it over
        assert [line for _, line in read_lines(path)] == [session("a")]
    with Store(path) as store:
        store.append(record("a"))
    assert path.with_suffix(".torn").read_bytes() == torn + b"\n"
    assert [line for _, line in read_lines(path)] == [session("a"), record("a")]


def test_a_file_that_is_only_half_a_line_becomes_empty(path):
    path.parent.mkdir()
    path.write_bytes(b'{"id"')
    with Store(path):
        assert path.read_bytes() == b""


def test_runs_stand_in_the_order_in_which_they_were_begun_even_if_a_clock_was_set_back(path, tmp_path):
    with Store(path) as store:
        store.append(session("first", "2026-01-05T00:00:00Z"))
        store.append(session("second", "2026-01-01T00:00:00Z"))
    with Store(tmp_path / "host" / "other.jsonl") as store:
        store.append(session("earlier", "2026-01-04T00:00:00Z"))
    assert [run.session.id for run in read_runs(results_files(tmp_path))] == ["earlier", "first", "second"]


# --- what is in the way -----------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["a_file/host/r.jsonl", "/proc/qbench/r.jsonl", "a_folder"])
def test_a_place_that_cannot_be_written_is_told_with_a_fix(tmp_path, where):
    (tmp_path / "a_file").write_text("")
    (tmp_path / "a_folder").mkdir()
    with pytest.raises(
        CannotWrite, match=r"results cannot be written to .*\n  fix: choose another folder with --out DIR"
    ):
        Store(tmp_path / where)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of eight pages."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "none", disk], check=False).returncode
    ):
        pytest.skip("this system lets nobody mount")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_a_full_disk_leaves_every_earlier_line_and_no_half_one(small_disk):
    path = small_disk / "r.jsonl"
    store = Store(path)
    store.append(session("a"))
    with pytest.raises(  # noqa: PT012
        OutOfRoom, match=r"No space left on device; all earlier lines are intact\n  fix: make room"
    ):
        for number in range(100):
            store.append(record("a", number, log="x" * 3000))
    whole = path.read_bytes()
    assert whole.endswith(b"\n")
    kept = list(read_lines(path))
    assert 2 <= len(kept) < 12
    store.close()  # half a line must not come out of a buffer now that there is room
    assert path.read_bytes() == whole
    with Store(path) as again:
        again.append(record("a", 200))
    assert [line for _, line in read_lines(path)][-1] == record("a", 200)


class FullDisk:
    """A file that takes half of what it is given, and then nothing."""

    def __init__(self, file):
        self._file, self.asked = file, 0

    def fileno(self):
        return self._file.fileno()

    def close(self):
        self._file.close()

    def write(self, data):
        self.asked += 1
        if self.asked > 1:
            raise OSError(28, "No space left on device")
        return self._file.write(data[: len(data) // 2])


def test_a_line_that_was_written_in_part_is_taken_off_again(path):
    store = Store(path)
    store.append(session("a"))
    whole = path.read_bytes()
    store._file = FullDisk(store._file)
    with pytest.raises(OutOfRoom):
        store.append(record("a"))
    assert path.read_bytes() == whole
    store.close()


def test_a_line_that_the_system_takes_in_parts_is_whole(path):
    store = Store(path)

    class Slow(FullDisk):
        def write(self, data):
            return self._file.write(data[:7])

    store._file = Slow(store._file)
    store.append(session("a"))
    store.close()
    assert [line for _, line in read_lines(path)] == [session("a")]


@pytest.mark.parametrize(("content", "words"), [
    (b"\xff\xfe\n", "is no text"),
    (b"{}\n", ":1 has format None"),
    (b"\n\nnonsense\n", ":3 is no JSON"),
])  # fmt: skip
def test_a_file_that_is_no_results_file_is_told_with_the_line(tmp_path, content, words):
    path = tmp_path / "r.jsonl"
    path.write_bytes(content)
    with pytest.raises(BadFile, match=words):
        read_runs([path])


def test_a_missing_file_and_a_record_without_its_session_are_told(tmp_path, path):
    with pytest.raises(BadFile, match="No such file"):
        read_runs([tmp_path / "nowhere.jsonl"])
    with Store(path) as store:
        store.append(record("a"))
    with pytest.raises(BadFile, match="belongs to session a, which the file does not hold"):
        read_runs([path])
