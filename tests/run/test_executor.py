"""The order of a run, and what it does when it is stopped, resumed, or not alone."""

import json
import os
import signal
import subprocess
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from workplace import SPEEDY, Nobody, of, raw_lines

from qbench.errors import CannotWrite, NotAvailable, UnknownName
from qbench.formats import cache
from qbench.records import Failed, Measured
from qbench.run.host import new_session
from qbench.run.plan import Selection
from qbench.run.protocol import Limits
from qbench.run.session import device_lock, execute, last_run
from qbench.store import Store

HONEST = {"int8": '[{ use = "fake_int8" }]'}
SLOW = {"slow": '[{ use = "fake_slow", sleep_s = 0.01 }]'}
LAWFUL = HONEST | {name: f'[{{ use = "fake_{name}" }}]' for name in ("simulated", "collapse", "raises")}


class Reader(Nobody):
    """Looks at the file whenever it hears that a step ended."""

    def __init__(self, place):
        super().__init__()
        self.place, self.lines = place, []

    def ended(self, step, outcome):
        super().ended(step, outcome)
        self.lines.append(raw_lines(self.place.files()[0])[-1])


@pytest.fixture(scope="module")
def told(shared_inside):
    """One run in this process, its float baseline last in the suite: everything that its watcher heard."""
    path = shared_inside.suite("laws", LAWFUL)
    head, baseline, rest = path.read_text().partition(
        '[[technique]]\nname = "fp32"\nrole = "fp32"\nchain = []\n'
    )
    path.write_text(head + rest + baseline)
    watcher = Reader(shared_inside)
    shared_inside.execute("laws", replace(SPEEDY, rounds=6), watcher=watcher)
    return watcher


def test_the_baseline_is_scored_before_what_is_compared_with_it(told):
    scored = [step.subject.technique for step in told.ran if step.kind == "score"]
    assert scored == ["fp32", "int8", "simulated", "collapse"]


def test_every_round_holds_every_timed_cell_and_the_anchor_once_in_changing_order(told):
    rounds = {}
    for step in told.ran:
        if step.kind in ("time", "anchor"):
            rounds.setdefault(step.round, []).append(getattr(step.subject, "technique", "the anchor"))
    assert list(rounds) == list(range(6))
    assert all(sorted(order) == ["fp32", "int8", "the anchor"] for order in rounds.values())
    assert len({tuple(order) for order in rounds.values()}) > 1


def test_the_steps_announced_are_the_steps_heard_of(told):
    assert Counter(step.key for step in told.plan) == Counter(step.key for step, _ in told.heard)


def test_a_line_is_on_disk_the_moment_its_step_ends(told):
    ran = {step.key for step in told.ran}
    for line, (step, outcome) in zip(told.lines, told.heard, strict=True):
        if step.key in ran:
            assert (line["step"]["kind"], line["step"]["round"]) == (step.kind, step.round)
            assert line["outcome"]["kind"] == outcome.kind


def test_a_group_with_fresh_servers_starts_new_ones_each_round(inside):
    inside.suite("fresh", HONEST)
    run = inside.execute("fresh", replace(SPEEDY, fresh_servers=True)).run
    assert len(of(run, "time", "int8")) == 2


# --- resume -----------------------------------------------------------------------------------------


def finished_keys(run):
    return [record.step.key for record in run.records if isinstance(record.outcome, Measured)]


def children_of(pid):
    """Return the processes below this one, from /proc."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        parents[int(status.parent.name)] = int(fields[1])
    found, todo = [], [pid]
    while todo:
        above = todo.pop()
        below = [child for child, parent in parents.items() if parent == above]
        found += below
        todo += below
    return found


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, limit_s=30.0):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


def started(place, suite):
    """Start a slow run and return it when the first window of it has been measured."""
    process = subprocess.Popen(
        place.command("run", "--suite", suite, "--hw", "testbed"),
        cwd=place.root, env=place.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip

    def measuring():
        assert process.poll() is None, process.stdout.read()
        return any(
            line.get("step", {}).get("kind") == "time" for path in place.files() for line in raw_lines(path)
        )

    wait_until(measuring)
    return process


def test_a_run_that_was_killed_goes_on_where_it_stopped(place):
    place.suite("killed", SLOW)
    process = started(place, "killed")
    below = children_of(process.pid)
    assert below
    process.kill()
    process.communicate()
    wait_until(lambda: not any(alive(pid) for pid in below), 5.0)  # no orphan goes on measuring
    (path,) = place.files()
    before = place.last()
    assert {record.step.kind for record in before.records} >= {"data", "prepare", "score", "deploy", "time"}
    with path.open("a") as file:
        file.write('{"step":{"kind":"time","subject"')  # as a kill in the middle of a line leaves it

    again = place.qbench("run", "--suite", "killed", "--hw", "testbed", "--resume")
    assert again.returncode == 0, again.stdout + again.stderr
    after = place.last()
    assert place.files() == [path]
    assert after.session == before.session
    assert path.with_suffix(".torn").read_text() == '{"step":{"kind":"time","subject"\n'
    assert after.records[: len(before.records)] == before.records
    assert max(Counter(finished_keys(after)).values()) == 1
    for technique in ("fp32", "slow"):
        assert [
            record.step.round for record in sorted(of(after, "time", technique), key=lambda r: r.step.round)
        ] == [0, 1, 2]


def test_an_interrupt_leaves_everything_that_ended_and_no_child(place):
    place.suite("interrupted", SLOW)
    process = started(place, "interrupted")
    below = children_of(process.pid)
    process.send_signal(signal.SIGINT)
    told, _ = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "go on with --resume" in told
    assert "Traceback" not in told
    assert not any(alive(pid) for pid in below)
    assert of(place.last(), "time")


def test_a_terminal_interrupts_the_whole_group_and_no_child_outlives_it(place):
    place.suite("terminal", {"hang": '[{ use = "fake_hang" }]'})
    process = subprocess.Popen(
        place.command("run", "--suite", "terminal", "--hw", "testbed"),
        cwd=place.root, env=place.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,  # noqa: E501
    )  # fmt: skip
    wait_until(
        lambda: any(
            line.get("step", {}).get("kind") == "score" for p in place.files() for line in raw_lines(p)
        )
    )
    time.sleep(0.3)  # the second score hangs by now
    below = children_of(process.pid)
    os.killpg(process.pid, signal.SIGINT)  # what Ctrl-C does
    process.communicate(timeout=10)
    assert process.returncode == 130
    assert below
    assert not any(alive(pid) for pid in below)


def test_resume_does_a_failed_step_again_and_nothing_else(inside):
    inside.suite("retry", HONEST | {"raises": '[{ use = "fake_raises" }]'})
    first = inside.execute("retry")
    assert len(first.tally.failed) == 1
    watcher = Nobody()
    again = inside.execute("retry", resume=True, watcher=watcher)
    assert [(step.kind, step.subject.way[-1].use.name) for step in watcher.ran] == [
        ("prepare", "fake_raises")
    ]
    assert again.run.session == first.run.session
    tries = [record for record in of(again.run, "prepare", hop="fake_raises")]
    assert [type(record.outcome) for record in tries] == [Failed, Failed]


def test_resume_makes_a_lost_file_again(inside):
    inside.suite("lost", HONEST)
    first = inside.execute("lost").run
    spec = of(first, "prepare", hop="fake_int8")[0].step.subject
    (cache.folder_of(spec) / "artifact.json").unlink()
    watcher = Nobody()
    inside.execute("lost", resume=True, watcher=watcher)
    assert [(step.kind, step.subject) for step in watcher.ran] == [("prepare", spec)]
    assert cache.holds(spec)


def test_resume_without_a_run_to_resume_says_so(inside):
    inside.suite("never", HONEST)
    with pytest.raises(UnknownName, match=r"nothing to resume: .* holds no quick run of never"):
        inside.execute("never", resume=True)


def test_a_run_of_other_cells_is_not_gone_on_with(inside):
    """Its rounds would lie minutes apart, and its ratios would pair them."""
    inside.suite("narrow", HONEST | {"half": '[{ use = "fake_int8", speedup = 0.5 }]'})
    whole = inside.plan("narrow")
    part = inside.plan("narrow", selection=Selection(techniques=("int8",)))
    out = inside.root / "results"
    execute(part, out, Nobody(), Limits(), command="test", resume=False)
    with pytest.raises(UnknownName, match=r"was one of other cells \(narrowed to techniques int8\)"):
        last_run(out, whole)
    assert last_run(out, part).session.narrowed == "techniques int8"


def test_a_clock_that_was_set_back_does_not_make_resume_take_the_older_run(inside):
    inside.suite("clock", HONEST)
    plan = inside.plan("clock")
    older = new_session("clock", "quick", "test")
    newer = replace(older, id="the newer one", started_utc="2001-01-01T00:00:00Z")
    with Store(inside.root / "results" / older.host / "r.jsonl") as store:
        store.append(older)
        store.append(newer)
    assert last_run(inside.root / "results", plan).session == newer


# --- what is in the way -----------------------------------------------------------------------------


def test_a_second_run_at_once_is_refused(inside):
    inside.suite("twice", HONEST)
    with device_lock():
        with pytest.raises(NotAvailable, match=rf"another qbench run \(process {os.getpid()}\)"):
            inside.execute("twice")
        refused = inside.qbench("run", "--suite", "twice", "--hw", "testbed")
    assert refused.returncode == 2
    assert "NotAvailable" in refused.stderr
    assert inside.files() == []  # it did not touch the file that the other may be writing
    with device_lock():  # and it is free again
        pass


@pytest.mark.parametrize("where", ["a_file/below", "/proc/qbench"])
def test_an_unwritable_results_folder_is_found_before_anything_is_loaded(inside, where):
    inside.suite("unwritable", HONEST)
    (inside.root / "a_file").write_text("")
    watcher = Nobody()
    with pytest.raises(
        CannotWrite, match=r"results cannot be written to .*\n  fix: choose another folder with --out"
    ):
        execute(inside.plan("unwritable"), Path(where), watcher, Limits(), command="test", resume=False)
    assert watcher.plan == []
    assert not (inside.cache / "artifacts").exists()


@pytest.mark.parametrize(
    "variables", [{"QBENCH_CACHE": "/proc/x"}, {"QBENCH_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "/proc"}]
)
def test_an_unwritable_cache_is_told_with_a_fix(place, variables):
    place.suite("uncached", HONEST)
    answer = place.qbench("run", "--suite", "uncached", "--hw", "testbed", **variables)
    assert answer.returncode == 2, answer.stdout + answer.stderr
    assert "cannot be written" in answer.stderr
    assert "fix: set QBENCH_CACHE" in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a small disk")
def test_a_full_cache_disk_fails_the_step_and_not_the_run(place):
    """A child that cannot write ends as Failed with the system's words; the results lie on another disk."""
    place.suite("full", HONEST)
    place.cache.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k,nr_inodes=60", "none", place.cache], check=False
    ).returncode:
        pytest.skip("this system lets nobody mount")
    try:
        (place.cache / "ballast").write_bytes(b"\0" * 60_000)
        answer = place.qbench("run", "--suite", "full", "--hw", "testbed")
        assert answer.returncode == 1, answer.stdout + answer.stderr
        failed = [
            line for line in raw_lines(place.files()[0]) if line.get("outcome", {}).get("kind") == "failed"
        ]
        assert "No space left on device" in json.dumps(failed)
    finally:
        subprocess.run(["umount", "-l", place.cache], check=True)


def test_batches_share_a_score_and_nothing_else(inside):
    inside.suite("batches", HONEST, more="[[scenario]]\nbatch = 8\n")
    watcher = Nobody()
    inside.execute("batches", watcher=watcher)
    done = Counter(
        (step.kind, step.subject.technique) for step in watcher.ran if hasattr(step.subject, "role")
    )
    for technique in ("fp32", "int8"):
        # memory grows with the batch, and accuracy does not
        expected = {"score": 1, "deploy": 2, "time": 2 * SPEEDY.rounds}
        assert {kind: done[kind, technique] for kind in expected} == expected


def test_where_the_baseline_breaks_the_others_say_that_they_were_compared_with_nothing(inside):
    path = inside.suite("unfounded", HONEST)
    path.write_text(path.read_text().replace("chain = []", 'chain = [{ use = "fake_empty" }]'))
    run = inside.execute("unfounded").run
    (broken,), (scored,) = of(run, "score", "fp32"), of(run, "score", "int8")
    assert isinstance(broken.outcome, Failed)
    absent = {withheld.metric: withheld.reason for withheld in scored.outcome.withheld}
    assert absent["kl_divergence"] == absent["sqnr"] == "its float baseline was not scored"
