"""Starting workers behind a command: what reaches a device, and what becomes of one that does not answer."""

import json
import os
import select
import sys
import time
from pathlib import Path

import pytest

import qbench
from qbench.cases import Anchor, Step
from qbench.folders import cache_folder
from qbench.records import Failed, Measured
from qbench.run import launch, probe
from qbench.run.launch import Worker, WorkerDied, Workers, ask_counting, ask_fresh
from qbench.run.probe import probe_all, probe_on
from qbench.run.protocol import Limits, SelfRequest, StepRequest, Timing

ANCHOR = StepRequest(Step("anchor", Anchor("cpu")), timing=Timing(0.01, 0.01))
HERE = ("env", sys.executable)  # a device that happens to be this machine


@pytest.fixture
def command(tmp_path):
    """Return a function that writes a program and returns the command that runs it."""

    def write(text):
        path = tmp_path / "device.py"
        path.write_text(text)
        return (sys.executable, str(path))

    return write


# --- what a device is told --------------------------------------------------------------------------

TELL = """
import json, os, sys
open({note!r}, "w").write(json.dumps({{"environment": dict(os.environ), "words": sys.argv[1:]}}))
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.fixture
def told(command, tmp_path):
    """Return a function that asks a device for one step, and returns what its command was started with."""

    def ask():
        note = tmp_path / "note"
        assert isinstance(ask_fresh(ANCHOR, command(TELL.format(note=str(note)))).result, Measured)
        return json.loads(note.read_text())

    return ask


@pytest.mark.parametrize("name", [
    "LD_PRELOAD", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "OPENBLAS_CORETYPE", "OMP_NUM_THREADS", "MKL_CBWR",
    "NPY_DISABLE_CPU_FEATURES", "ONEDNN_MAX_CPU_ISA", "GLIBC_TUNABLES", "VIRTUAL_ENV", "CONDA_PREFIX",
])  # fmt: skip
def test_what_is_of_this_machine_stays_here(told, monkeypatch, name):
    monkeypatch.setenv(name, "")
    assert name not in told()["environment"]


@pytest.mark.parametrize("name", ["QBENCH_CACHE", "HOME", "TMPDIR", "SSH_AUTH_SOCK", "LANG"])
def test_what_leads_to_the_device_and_its_files_goes_with_it(told, monkeypatch, tmp_path, name):
    monkeypatch.setenv(name, str(tmp_path))
    assert told()["environment"][name] == str(tmp_path)


def test_a_device_is_shown_this_very_package_and_nothing_that_lies_beside_it(told, monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    shown = Path(told()["environment"]["PYTHONPATH"])
    assert [path.name for path in shown.iterdir()] == ["qbench"]
    assert (shown / "qbench").resolve() == Path(qbench.__file__).parent.resolve()
    assert told()["environment"]["PYTHONPATH"] == str(shown)


def test_a_package_in_the_working_folder_is_not_the_devices(monkeypatch, tmp_path):
    """A run may be started in a folder that holds another qbench, or an array.py."""
    (tmp_path / "qbench").mkdir()
    (tmp_path / "qbench" / "__init__.py").write_text("raise RuntimeError('the wrong one')")
    monkeypatch.chdir(tmp_path)
    assert isinstance(ask_fresh(ANCHOR, HERE).result, Measured)


# --- a device that does not answer ------------------------------------------------------------------


def test_a_command_that_is_not_there_fails_what_is_asked_with_its_name():
    reply = ask_fresh(ANCHOR, ("/no/such/emulator", "a-cpu"))
    assert isinstance(reply.result, Failed)
    assert reply.result.stage == "anchor"
    assert "/no/such/emulator cannot be started: No such file or directory" in reply.result.error


def test_a_command_that_is_not_there_is_not_alive_and_can_be_closed_twice():
    worker = Worker(prefix=("/no/such/emulator",))
    assert not worker.alive
    with pytest.raises(WorkerDied) as error:
        worker.wait_until_ready()
    assert error.value.fix == "run `/no/such/emulator -c 'import numpy'`: it must start Python on the device"
    worker.close()
    worker.close()


def test_a_wrong_command_fails_with_its_own_words(command):
    reply = ask_fresh(ANCHOR, command("import sys\nsys.exit('no CPU is called z80')"))
    assert isinstance(reply.result, Failed)
    assert "exit code 1: no CPU is called z80" in reply.result.error
    assert "no CPU is called z80" in reply.log


SILENT = "import sys, time\nprint('booting', file=sys.stderr, flush=True)\ntime.sleep(60)"
CHATTY = "while True: print('booting', flush=True)"


@pytest.mark.parametrize("text", [SILENT, CHATTY])
def test_a_command_that_never_becomes_ready_is_ended(command, text):
    start = time.monotonic()
    with Worker(prefix=command(text), start_s=1.0) as worker:
        reply = worker.ask(ANCHOR)
        assert isinstance(reply.result, Failed)
        assert "it was not ready within 1 s" in reply.result.error
        assert not worker.alive
    assert time.monotonic() - start < 10
    assert ("booting" in reply.result.error) == (text == SILENT)  # its words, where they are no replies


HANGS = "import json, sys, time\nprint(json.dumps({'ready': 1}), flush=True)\ntime.sleep(60)"


def test_a_server_that_takes_a_request_and_never_answers_is_ended(command, monkeypatch):
    """An emulator may hang in a fork; the server cannot tell that itself."""
    monkeypatch.setattr(launch, "GRACE_S", 0.5)
    with Worker(prefix=command(HANGS)) as worker:
        reply = worker.ask(StepRequest(ANCHOR.step, limits=Limits(time_s=0.5)))
        assert "it did not answer within 1 s" in reply.result.error
        assert not worker.alive


def test_a_server_that_was_ready_long_ago_may_be_asked_late():
    with Worker(prefix=HERE, start_s=20) as worker:
        assert select.select([worker._process.stdout], [], [], 20)[0]
        worker._end = 0.0  # the time to start is over, and nobody has read that it is ready
        assert isinstance(worker.ask(ANCHOR).result, Measured)


# --- several devices --------------------------------------------------------------------------------


def test_every_device_has_servers_of_its_own():
    servers = Workers()
    try:
        native, there = servers.get(("numpy",)), servers.get(("numpy",), HERE)
        assert native is not there
        assert servers.get(("numpy",), HERE) is there
        assert servers.get(("numpy",), ("env", "A=1", sys.executable)) is not there
        answers = {worker.ask(SelfRequest()).result.pid for worker in (native, there)}
        assert len(answers) == 2
        servers.restart([("numpy",)], HERE)
        assert servers.get(("numpy",), HERE) is not there
    finally:
        servers.close()


# --- probing ----------------------------------------------------------------------------------------


@pytest.fixture
def nobody_asks(monkeypatch):
    """Return a function after which whoever asks an engine fails the test."""
    return lambda: monkeypatch.setattr(probe, "ask_fresh", lambda *_: pytest.fail("asked again"))


@pytest.fixture
def own_answers(tmp_path, monkeypatch):
    monkeypatch.setenv("QBENCH_CACHE", str(tmp_path / "cache"))


@pytest.mark.usefixtures("own_answers")
@pytest.mark.parametrize("changed", ["nothing", "identity", "command", "this machine", "again"])
def test_a_device_is_asked_again_when_it_is_another(nobody_asks, changed):
    first = probe_on(HERE, ["fake"], "of today")
    assert first["fake"].on("cpu").absent is None
    nobody_asks()
    if changed == "nothing":
        assert probe_on(HERE, ["fake"], "of today") == first
        return
    with pytest.raises(pytest.fail.Exception):
        {
            "identity": lambda: probe_on(HERE, ["fake"], "of tomorrow"),
            "command": lambda: probe_on((*HERE[:1], "A=1", *HERE[1:]), ["fake"], "of today"),
            "this machine": lambda: probe_all(["fake"]),
            "again": lambda: probe_on(HERE, ["fake"], "of today", again=True),
        }[changed]()


@pytest.mark.usefixtures("own_answers")
def test_that_nobody_answered_is_told_and_not_kept(nobody_asks):
    absent = probe_on(("/no/such/emulator",), ["fake"], "")["fake"].on("cpu").absent
    assert "/no/such/emulator cannot be started" in absent
    nobody_asks()
    with pytest.raises(pytest.fail.Exception):
        probe_on(("/no/such/emulator",), ["fake"], "")


# --- counting ---------------------------------------------------------------------------------------


def test_where_nothing_counts_it_is_withheld_and_nothing_is_started():
    reply = ask_counting(ANCHOR, ())
    assert {withheld.reason for withheld in reply.result.withheld} == {
        "nothing counts instructions on this device"
    }
    assert {withheld.metric for withheld in reply.result.withheld} == set(launch.KINDS.values())


def test_a_device_that_cannot_count_says_why(command):
    reply = ask_counting(ANCHOR, command("import sys\nsys.exit('no C compiler was found')"))
    assert isinstance(reply.result, Measured)
    assert "no C compiler was found" in reply.result.withheld[0].reason


def test_who_is_counted_is_told_nothing_that_differs_between_two_terminals(command, tmp_path, monkeypatch):
    """The environment lies on the stack: its length moves what is below, and with it the counts."""
    note = tmp_path / "note"
    for name in ("COLUMNS", "SSH_CONNECTION", "MY_OWN", "OPENBLAS_CORETYPE", "HOMEBREW"):
        monkeypatch.setenv(name, "1")
    assert isinstance(ask_counting(ANCHOR, command(TELL.format(note=str(note)))).result, Measured)
    environment = json.loads(note.read_text())["environment"]
    ours = {"PYTHONPATH", "PYTHONSAFEPATH", "PYTHONHASHSEED", "PYTHONUNBUFFERED", "TOKENIZERS_PARALLELISM"}
    files = {
        "PATH",
        "HOME",
        "TMPDIR",
        "XDG_CACHE_HOME",
        "LC_CTYPE",
    }  # the last by Python itself, in no locale
    assert {name for name in environment if not name.startswith("QBENCH_")} - ours <= files
    assert {"QBENCH_CACHE", "PATH", "HOME"} <= set(environment)


def test_the_command_and_the_step_are_told_the_same_file(command, tmp_path, monkeypatch):
    note, asked = tmp_path / "note", []
    ask = Worker.ask
    monkeypatch.setattr(Worker, "ask", lambda self, request: (asked.append(request), ask(self, request))[1])
    tell = command(TELL.format(note=str(note)).replace("sys.argv[1:]]", "sys.argv[2:]]"))
    earlier = cache_folder() / "counting" / "counts.jsonl"
    earlier.parent.mkdir(parents=True, exist_ok=True)
    earlier.write_text("of another case")
    assert isinstance(ask_counting(ANCHOR, (*tell, "{out}")).result, Measured)
    out = json.loads(note.read_text())["words"][0]
    assert asked[0].counts == out
    assert os.path.isabs(out)
    assert not Path(out).exists()  # nothing counted, and what was counted before is gone
