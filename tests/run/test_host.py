import subprocess
from pathlib import Path

import pytest

from qbench.run.host import code_commit, host_facts, host_name, new_session, versions

CHECKOUT = Path(__file__).parents[2]


def git(*words):
    done = subprocess.run(["git", "-C", CHECKOUT, *words], capture_output=True, text=True, check=False)
    return done.stdout.strip()


@pytest.mark.skipif(not git("rev-parse", "HEAD"), reason="the tests do not run in a git checkout")
def test_a_session_names_the_commit_it_ran_at_and_whether_the_code_was_changed():
    assert code_commit() == (git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "qbench")))


def test_facts_that_the_system_does_not_tell_are_left_out():
    facts = dict(host_facts())
    assert facts["architecture"]
    assert all(facts.values())  # an empty fact would stand for "none", which nobody looked up
    assert int(facts["memory"].removesuffix(" B")) > 1 << 28


def test_a_session_holds_what_a_reviewer_asks_for():
    session = new_session("vision", "quick", "qbench run")
    assert {"qbench-suite", "numpy", "torch", "openvino"} <= set(dict(session.versions))
    assert session.host == host_name()
    assert session.id != new_session("vision", "quick", "qbench run").id
    assert versions() == session.versions
