"""The fork server: what it is, what it watches over, and that nothing outlives it."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from workplace import CHECKOUT

from qbench.cases import Anchor, Choice, DataSpec, Step
from qbench.records import Failed, Measured, Measurement
from qbench.run import perform
from qbench.run.launch import Worker, Workers, ask_fresh
from qbench.run.protocol import Limits, SelfRequest, StepRequest, Timing

HEAVY = ("torch", "transformers", "pandas", "pydantic", "matplotlib")
ANCHOR = StepRequest(Step("anchor", Anchor("cpu")), timing=Timing(0.01, 0.01))


@pytest.fixture
def task(tmp_path, monkeypatch):
    """Return a function that makes a task out of a body of Python, and the request that runs it in a child."""  # noqa: E501
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(CHECKOUT)]))
    info = tmp_path / "odd-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[qbench.tasks]\nodd = odd\n")

    def make(body):
        head = """
            import os, signal, subprocess, sys, time
            from dataclasses import dataclass
            from qbench.tasks.base import TASKS, Task

            @TASKS.register("odd")
            @dataclass(frozen=True)
            class Odd(Task):
                about = "odd"
                def sizes(self): return {}
                def recipe(self): return ""
                def prepare(self, raw): return raw
                def chance(self, examples): return None
                def score(self, outputs, examples): return (), ()
                def examples(self, spec):
        """
        (tmp_path / "odd.py").write_text(
            textwrap.dedent(head) + textwrap.indent(textwrap.dedent(body), " " * 8)
        )
        return Step("data", DataSpec(Choice("odd"), "test", 1))

    return make


def ask(step, **limits):
    with Worker(("numpy",)) as worker:
        return worker.ask(StepRequest(step, limits=Limits(**limits)))


# --- what a server is -------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "numpy"])
def test_a_server_has_one_thread_no_device_context_and_nothing_it_does_not_need(engine):
    with Worker((engine,)) as worker:
        about = worker.ask(SelfRequest(HEAVY)).result
    assert about.threads == 1
    assert not about.cuda_context
    assert about.loaded == ()


def test_every_request_has_a_process_of_its_own_and_the_server_goes_on():
    with Worker(("numpy",)) as worker:
        before = worker.ask(SelfRequest()).result
        assert isinstance(worker.ask(ANCHOR).result, Measured)
        assert worker.ask(SelfRequest()).result == before


# --- what goes wrong in a child ---------------------------------------------------------------------

ENDS = {
    "signal": (
        "print('last words')\nos.kill(os.getpid(), signal.SIGSEGV)",
        "the process was killed by SIGSEGV",
    ),
    "exit": ("print('last words')\nos._exit(3)", "the process ended with exit code 3 and no result"),
    "sys.exit": ("print('last words')\nsys.exit(4)", "the process ended with exit code 4 and no result"),
    "time": ("print('last words')\ntime.sleep(60)", "stopped: it took longer than its limit of 1 s"),
    "memory": (
        "print('last words')\nkept = []\nwhile True:\n    kept.append(b'x' * (1 << 24))\n    time.sleep(0.002)",  # noqa: E501
        "stopped: it took more memory than its limit of 0.25 GiB",
    ),
    "exception": ("print('last words')\nraise KeyError('nothing here')", "KeyError: 'nothing here'"),
    "bytes": ("os.write(1, b'last words \\xff\\xfe')\nos._exit(1)", "exit code 1"),
    "surrogates": ("print('last words')\nraise OSError('a name \\udcff that is no text')", "OSError: a name"),
}


@pytest.mark.parametrize("end", ENDS)
def test_however_a_child_ends_it_is_a_failure_with_its_words_and_its_log(task, end):
    body, words = ENDS[end]
    reply = ask(task(body), time_s=1 if end == "time" else 30, memory_bytes=1 << 28)
    assert isinstance(reply.result, Failed)
    assert reply.result.stage == "data"
    assert words in reply.result.error
    assert "last words" in reply.log


def test_only_the_end_of_a_long_log_is_kept(task):
    reply = ask(task("os.write(1, b'x' * 10_000_000 + b' the end')\nos._exit(1)"))
    assert len(reply.log) == 4000
    assert reply.log.endswith("the end")


def test_a_child_that_prints_garbage_garbles_nothing(task):
    body = "os.write(1, b'{\"result\": 1}\\n' * 100)\nprint('{}', flush=True)\nraise RuntimeError('as it is')"
    with Worker(("numpy",)) as worker:
        assert worker.ask(StepRequest(task(body))).result.error == "RuntimeError: as it is"
        assert isinstance(worker.ask(ANCHOR).result, Measured)


def test_a_process_that_a_child_leaves_behind_delays_nothing_and_is_ended(task, tmp_path):
    body = f"""
        left = os.fork()
        if left == 0:
            time.sleep(60)
        open({str(tmp_path / "pid")!r}, "w").write(str(left))
        raise RuntimeError("left")
    """
    start = time.monotonic()
    assert ask(task(body)).result.error == "RuntimeError: left"
    assert time.monotonic() - start < 10
    wait_until(lambda: gone(int((tmp_path / "pid").read_text())))


@pytest.mark.parametrize(("measured", "words"), [
    (Measurement("latency", (float("nan"),)), "latency: a sample is NaN or infinite"),
    (Measurement("speediness", (1.0,)), "speediness: no metric is called 'speediness'"),
])  # fmt: skip
def test_a_number_that_cannot_be_stored_fails_its_step_and_not_the_run(monkeypatch, measured, words):
    good = Measurement("accuracy_of_nothing", (1.0,)), Measurement("load_time", (1.0,))

    def step(request, trace):  # noqa: ARG001
        trace.measurements = [*good, measured]
        return Measured(tuple(trace.measurements[1:]))

    monkeypatch.setitem(perform.STEPS, "anchor", step)
    outcome = perform.perform(ANCHOR)
    assert isinstance(outcome, Failed)
    assert words in outcome.error
    assert [m.metric for m in outcome.measurements] == ["load_time"]


# --- when one of the two goes away ------------------------------------------------------------------


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def wait_until(condition, limit_s=10.0):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


@pytest.fixture
def sleeping(task, tmp_path):
    """A server whose child sleeps: the process, and the child's number."""
    note = tmp_path / "child"
    step = task(f"open({str(note)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)")
    server = subprocess.Popen(
        [sys.executable, "-m", "qbench.run.worker", "--preload", "numpy"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert "ready" in json.loads(server.stdout.readline())
    from qbench.wire import to_plain

    server.stdin.write(json.dumps(to_plain(StepRequest(step))) + "\n")
    server.stdin.flush()
    wait_until(lambda: note.exists() and note.read_text())
    yield server, int(note.read_text())
    server.kill()
    server.communicate()


def test_when_the_parent_closes_its_end_server_and_child_end(sleeping):
    server, child = sleeping
    server.stdin.close()
    server.stdin = None
    assert server.wait(10) == 0
    wait_until(lambda: gone(child))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_when_the_server_is_killed_its_child_does_not_go_on_unseen(sleeping):
    server, child = sleeping
    server.kill()
    assert server.stdout.read() == ""  # and nobody waits for a pipe that the child holds open
    wait_until(lambda: gone(child))


def test_a_server_leaves_interrupts_to_its_parent(sleeping):
    server, child = sleeping
    server.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert server.poll() is None
    assert not gone(child)


def test_a_server_that_cannot_start_is_a_failure_of_its_steps_with_its_last_words():
    with Worker(("no_such_engine",)) as worker:
        reply = worker.ask(ANCHOR)
    assert reply.result.stage == "anchor"
    assert "the worker itself ended" in reply.result.error
    assert "No module named 'no_such_engine'" in reply.result.error
    assert "Traceback" in reply.log


def test_a_dead_server_is_replaced_and_the_others_wait_for_nobody():
    servers = Workers()
    try:
        dead = servers.get(("no_such_engine",))
        good = servers.get(("numpy",))
        servers.wait_until_ready()
        assert servers.get(("no_such_engine",)) is not dead
        assert servers.get(("numpy",)) is good
        servers.restart([("numpy",)])
        assert servers.get(("numpy",)) is not good
    finally:
        servers.close()


def test_a_banner_on_stdout_is_passed_over(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(
        "print('Welcome to pi5!')\nprint('{\"motd\": 1}')\nprint('[1]')\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(CHECKOUT)]))
    assert isinstance(ask_fresh(ANCHOR).result, Measured)


def test_a_worker_starts_behind_a_prefix():
    with Worker(("numpy",), prefix=("env", "QBENCH_TEST=1", sys.executable)) as worker:
        assert isinstance(worker.ask(ANCHOR).result, Measured)


def test_a_server_of_an_engine_has_what_its_loads_would_import():
    """Reading a program imports more than torch is: a second and a half in every fork, unless it is there."""
    code = """
import sys
from qbench.run.worker import preload
preload(["torch_eager"])
print(len(__import__("os").listdir("/proc/self/task")), *sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    threads, *loaded = done.stdout.split()
    assert {"torch.export.pt2_archive._package", "sympy"} <= set(loaded)
    assert threads == "1"  # or it could not be forked
