"""The whole program on real engines, as a stranger would type it. Slow: CI runs it."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest

from qbench.records import Failed, Measured, Skipped, find
from qbench.store import read_runs, results_files

pytestmark = pytest.mark.slow


def qbench(folder, *words):
    done = subprocess.run(
        [sys.executable, "-m", "qbench", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smoke")
    said = qbench(folder, "run", "--suite", "smoke", "--hw", "all")
    (run,) = read_runs(results_files(folder / "results"))
    return folder, said, run


def outcomes(run, kind):
    """Measured outcomes of a kind of step by technique and engine; the last round for timed ones."""
    return {
        (r.step.subject.technique, r.step.subject.deployment.backend): r.outcome
        for r in run.records
        if r.step.kind == kind
    }


def test_every_cell_is_scored_proven_and_timed(smoke):
    _, said, run = smoke
    assert not any(isinstance(record.outcome, Failed) for record in run.records)
    scored, timed, deployed = (outcomes(run, kind) for kind in ("score", "time", "deploy"))
    assert len(scored) == 9
    # one layer of ten, for convolutions stay in float: its speed is that of float
    barely = {("dynamic int8", engine) for engine in ("torch_eager", "onnxruntime")}
    assert timed.keys() == deployed.keys() == scored.keys() - barely
    for cell in barely:
        assert any("barely covered" in absent.reason for absent in scored[cell].withheld)
    for (technique, _), outcome in scored.items():
        assert np.mean(find(outcome, "correct").samples) > 0.95
        assert (find(outcome, "low_bit_kernels").samples[0] > 0) == (technique != "fp32")
    assert "reports/smoke/index.html" in said
    assert "Ship " in said


def test_what_cannot_run_has_its_reason(smoke):
    reasons = [r.outcome.reason for r in smoke[2].records if isinstance(r.outcome, Skipped)]
    assert any("nvidiactl" in reason for reason in reasons)
    assert any("multiplies them in fp32" in reason for reason in reasons)


def test_energy_is_absent_with_a_reason_in_every_round(smoke):
    timed = [r.outcome for r in smoke[2].records if r.step.kind == "time"]
    assert timed
    for outcome in timed:
        (absent,) = [w for w in outcome.withheld if w.metric == "energy"]
        assert absent.reason.startswith("unavailable")


def test_the_eager_memory_of_an_engine_is_its_own(smoke):
    deployed = outcomes(smoke[2], "deploy")
    own = {engine: find(outcome, "engine_memory").samples[0] for (_, engine), outcome in deployed.items()}
    assert own["onnxruntime"] < 0.5 * own["torch_eager"]  # no torch in the process of another engine


def test_every_figure_of_the_table_leads_to_a_line_that_holds_it(smoke):
    folder, _, run = smoke
    table = (folder / "reports" / "smoke" / "cells.csv").read_text()
    rows = list(csv.DictReader(table.splitlines()))
    lines = run.path.read_text().splitlines()
    traced = [row for row in rows if row["value"]]
    assert len(traced) > 100
    for row in traced:
        for number in row["lines"].split():
            assert json.loads(lines[int(number) - 1])["kind"] == "record"


@pytest.mark.usefixtures("smoke")
def test_a_second_run_takes_its_files_from_the_cache(tmp_path):
    qbench(tmp_path, "run", "--suite", "smoke", "-b", "onnxruntime", "-t", "static int8")
    (run,) = read_runs(results_files(tmp_path / "results"))
    prepared = [r.outcome for r in run.records if r.step.kind == "prepare"]
    assert len(prepared) == 2
    for outcome in prepared:
        assert isinstance(outcome, Measured)
        assert ("prepared", "earlier, taken from the cache") in [(e.what, e.found) for e in outcome.evidence]


def test_a_model_of_ones_own_is_compared_with_itself(in_format, images, tmp_path):
    model = in_format("onnx").path
    samples = np.concatenate([images, images + 0.1])
    np.savez(tmp_path / "samples.npz", images=samples)
    said = qbench(tmp_path, "try", str(model), "--inputs", "samples.npz", "-b", "openvino", "--hw", "cpu")
    assert "agreement" in said
    (run,) = read_runs(results_files(tmp_path / "results"))
    scored = outcomes(run, "score")
    named = {technique for technique, _ in scored}
    assert named == {"fp32", "static int8", "nncf int8", "fp32 file, computed in bf16", "bf16"}
    for outcome in scored.values():
        assert find(outcome, "reference_error").samples[0] < 0.2
        assert "correct" in {absent.metric for absent in outcome.withheld}
