"""What `try` and `run` end with: 1 only where the run could not answer, or failed as nobody expects."""

import sys
from pathlib import Path

import pytest
import typer

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))
from example_run import Builder, case, correct  # noqa: E402

from qbench.cases import Choice  # noqa: E402
from qbench.cli import planning  # noqa: E402
from qbench.cli.options import EXIT_CODES, app  # noqa: E402
from qbench.errors import NoAnswer  # noqa: E402
from qbench.records import Failed, Verdict  # noqa: E402
from qbench.run.executor import Tally  # noqa: E402
from qbench.run.session import Finished  # noqa: E402

OWN = Choice("a user's/net.onnx")
FP32 = case("fp32", role="fp32", model=OWN)
FAST, OTHER = case("static int8", model=OWN), case("other int8", model=OWN)


@pytest.fixture
def ended(tmp_path, monkeypatch):
    """Return a function that ends a command with this run, and returns the exit code."""
    monkeypatch.setenv("QBENCH_CACHE", str(tmp_path / "cache"))

    def end(command, build, failed=(), collapsed=()):
        finished = Finished(Tally(1, list(failed), list(collapsed)), build.run())
        monkeypatch.setattr(planning, "_executed", lambda *_, **__: finished)
        with pytest.raises(typer.Exit) as found:
            command(None, tmp_path, tmp_path / "reports", None, resume=False)
        return found.value.exit_code

    return end


def measured(build):
    build.whole(FP32, correct(10), (0.010, 0.010, 0.010))
    build.whole(FAST, correct(10), (0.005, 0.005, 0.005))


def test_one_technique_that_fails_or_collapses_is_a_finding_of_try_and_a_failure_of_run(tmp_path, ended):
    for command, code in ((planning.answer_with, 0), (planning.execute_plan, 1)):
        build = Builder(tmp_path / str(code))
        measured(build)
        build.prepare(OTHER)
        build.score(OTHER, correct(85), verdicts=(Verdict("collapsed", "all scores are 0"),))
        assert ended(command, build, collapsed=["one"]) == code


def test_try_that_can_recommend_nothing_ends_with_1(tmp_path, ended):
    build = Builder(tmp_path)
    build.prepare(FP32)
    build.score(FP32, correct(10))
    assert ended(planning.answer_with, build) == 1


def test_a_network_that_runs_nowhere_is_told_in_one_sentence_and_has_no_page(tmp_path, ended, capsys):
    build = Builder(tmp_path)
    for engine in ("onnxruntime", "openvino"):
        cell = case("fp32", role="fp32", model=OWN, backend=engine)
        build.prepare(cell)
        build.add(
            "score",
            cell,
            Failed("load", "it is torn\n  fix: export it again", "it is torn\n  fix: export it again"),
        )
    with pytest.raises(NoAnswer) as found:
        ended(planning.answer_with, build)
    assert found.value.problem.endswith(
        "itself runs on no engine here, so nothing can be compared with it: it is torn"
    )
    assert found.value.fix == "export it again"
    assert not (tmp_path / "reports").exists()
    assert "–" not in capsys.readouterr().out


def test_the_help_has_the_table_of_exit_codes():
    assert app.info.epilog == EXIT_CODES
    for code in ("0", "1", "2", "130"):
        assert f"\n{code}: " in EXIT_CODES
