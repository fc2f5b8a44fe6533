"""The generated networks on disk, each built once a session, and one run over those that are quick."""

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the importlib mode of pytest adds no folder by itself

from generators import NETWORKS

from qbench.cases import Step
from qbench.errors import QbenchError


@dataclass(frozen=True)
class Built:
    """A network, and where its files lie."""

    network: object
    model: Path
    samples: Path


@dataclass(frozen=True)
class Came:
    """The run, this network's cells, and what is recommended of them."""

    run: object
    cells: list
    verdicts: tuple

    def outputs(self, cell):
        """Return what the run found out about every output of this cell."""
        key = Step("score", cell.case).key
        return next(one.outcome.outputs for one in self.run.records if one.step.key == key)


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Return a function from a network's name to the network and its files."""
    folder, made = tmp_path_factory.mktemp("foreign"), {}

    def give(name):
        if name not in made:
            network = NETWORKS[name]()
            made[name] = Built(network, *network.write(folder, name))
        return made[name]

    return give


@pytest.fixture(scope="session")
def run_of(tmp_path_factory):
    """Return a function: measure files, by name (model, samples), in one run of this process.

    It gives what came of each, or its refusal.
    """
    from dataclasses import replace

    from qbench.hardware import load_profiles
    from qbench.profile import PROFILES
    from qbench.report.recommend import recommend
    from qbench.report.select import select
    from qbench.run.own_model import own_suite
    from qbench.run.plan import Selection, make_plan
    from qbench.run.protocol import Limits
    from qbench.run.session import execute
    from qbench.run.targets import reach

    short = replace(PROFILES["quick"], rounds=2, window_s=0.02, warmup_cap_s=0.02)

    class Nobody:
        def planned(self, steps): ...
        def started(self, step): ...
        def ended(self, step, outcome): ...

    def give(files, techniques, backends):
        found, suites = {}, []
        for name, (model, samples) in files.items():
            try:
                suites.append(own_suite(str(model), samples).suite)
            except QbenchError as error:
                found[name] = error
        if not suites:
            return found
        suite = replace(suites[0], model=[model for suite in suites for model in suite.model])
        selection = Selection((), tuple(techniques), tuple(backends))
        plan = make_plan(suite, short, reach(load_profiles("all"), list(backends)), selection)
        run = execute(
            plan, tmp_path_factory.mktemp("results"), Nobody(), Limits(), command="test", resume=False
        ).run
        for name, (model, _) in files.items():
            if name not in found:
                cells = [cell for cell in select(run) if str(model) in cell.model]
                found[name] = Came(run, cells, recommend(cells))
        return found

    return give


@pytest.fixture(scope="session")
def measured(built, run_of):
    """Return a function: measure networks in one run; what came of each, or its refusal."""

    def give(names, techniques=("fp32", "static int8"), backends=("onnxruntime", "openvino")):
        files = {name: (built(name).model, built(name).samples) for name in names}
        return run_of(files, techniques, backends)

    return give
