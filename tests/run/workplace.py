"""Where tests run qbench: a folder with suites, hardware profiles and a cache of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

from qbench.cases import Case
from qbench.hardware import load_profiles
from qbench.profile import Profile
from qbench.run.plan import Selection, check_names, make_plan
from qbench.run.protocol import Limits
from qbench.run.session import execute
from qbench.run.targets import reach
from qbench.store import read_runs, results_files
from qbench.suite_file import load_suite

CHECKOUT = Path(__file__).parents[2]
FAULTY = CHECKOUT / "tests" / "plugins" / "faulty"
TESTBED = """
name = "testbed"
title = "a device of which every number is known"
device = "cpu"
backends = ["fake", "onnxruntime"]
"""
SPEEDY = Profile(
    "quick", 2, 1.0, 1.0, 1_000, all_seeds=False, one_thread=False, fresh_servers=False, priority=1
)  # `quick`, for the fake engine's clock


class Nobody:
    """A watcher that keeps what it is told."""

    def __init__(self):
        self.plan, self.ran, self.heard = [], [], []

    def planned(self, steps):
        self.plan = steps

    def started(self, step):
        self.ran.append(step)

    def ended(self, step, outcome):
        self.heard.append((step, outcome))


class Place:
    """The folder."""

    def __init__(self, root):
        self.root, self.cache = root, root / "cache"
        for name in ("suites", "hardware_profiles"):
            (root / name).mkdir()
        (root / "hardware_profiles" / "testbed.toml").write_text(TESTBED)

    def suite(self, name, techniques, *, model="fake_network", backend="fake", more="", scored=200):
        """Write a suite: techniques as {name: chain in TOML}; the float baseline is put in front."""
        text = f'name = "{name}"\nabout = "a test"\nbackends = ["{backend}"]\nscored = {scored}\n'
        text += f'[[model]]\nuse = "{model}"\n[[scenario]]\nbatch = 1\n'
        text += '[[technique]]\nname = "fp32"\nrole = "fp32"\nchain = []\n'
        for technique, chain in techniques.items():
            text += f'[[technique]]\nname = "{technique}"\nchain = {chain}\n'
        path = self.root / "suites" / f"{name}.toml"
        path.write_text(text + more)
        return path

    def environment(self, **more):
        paths = os.pathsep.join(filter(None, [str(FAULTY), str(CHECKOUT), more.pop("PYTHONPATH", "")]))
        return {**os.environ, "PYTHONPATH": paths, "QBENCH_CACHE": str(self.cache), "COLUMNS": "200", **more}

    def command(self, *words):
        return [sys.executable, "-m", "qbench", *words]

    def qbench(self, *words, **more):
        """Run the command line as a stranger would, in this folder."""
        return subprocess.run(
            self.command(*words), cwd=self.root, env=self.environment(**more), capture_output=True, text=True, check=False,  # noqa: E501
            timeout=120,
        )  # fmt: skip

    def files(self):
        return results_files(self.root / "results")

    def last(self):
        """Return the newest run, read as a report reads it."""
        return read_runs(self.files())[-1]

    def plan(self, name, profile=SPEEDY, selection=None, hardware="testbed"):
        suite = load_suite(name)
        check_names(suite)
        reached = reach(load_profiles(hardware), suite.backends)
        return make_plan(suite, profile, reached, selection or Selection())

    def execute(self, name, profile=SPEEDY, *, resume=False, limits=None, watcher=None):
        """Run a suite in this process."""
        return execute(
            self.plan(name, profile), self.root / "results", watcher or Nobody(), limits or Limits(), command="test", resume=resume  # noqa: E501
        )  # fmt: skip


def of(run, kind, technique=None, hop=None):
    """Return the records of this kind of step: of a cell by its technique, of an artifact by its last hop."""

    def fits(subject):
        if technique is not None:
            return isinstance(subject, Case) and subject.technique == technique
        return hop is None or subject.way[-1].use.name == hop

    return [record for record in run.records if record.step.kind == kind and fits(record.step.subject)]


def samples(record, metric):
    """Return the record's samples of a metric."""
    return next(m.samples for m in record.outcome.measurements if m.metric == metric)


def raw_lines(path):
    """Return a results file as plain JSON, whatever is torn left out."""
    return [json.loads(line) for line in path.read_text().split("\n")[:-1] if line]
