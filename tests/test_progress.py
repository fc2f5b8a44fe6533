"""The bar of a run: a long step may say how far it is."""

import io
from types import SimpleNamespace

import pytest

from qbench.cases import ArtifactSpec, Choice, DataSpec, Explained, Float, Hop, Step
from qbench.folders import tell
from qbench.profile import PROFILES
from qbench.progress import Progress, _what, nowhere
from qbench.records import DROPPED, Failed

SPEC = ArtifactSpec(
    Choice("net"),
    (
        Hop("source", Choice("net"), "torch", Float(), ""),
        Hop("technique", Choice("qat"), "onnx", Float(), ""),
    ),
)
DATA = DataSpec(Choice("digits"), "selection", 10)


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """Return a bar on a terminal, and a function that says how its first column reads."""
    from rich.console import Console

    monkeypatch.setenv("QBENCH_CACHE", str(tmp_path))
    plan = SimpleNamespace(profile=PROFILES["quick"])
    progress = Progress(Console(force_terminal=True, width=80), plan)
    return progress, lambda: progress.bar.columns[0].render(progress.bar.tasks[0]).plain


def test_a_long_step_says_how_far_it_is(shown):
    progress, column = shown
    progress.started(Step("prepare", SPEC))
    assert column().split() == ["preparing", "qat"]
    tell("training: 40%, loss 0.12")
    assert column().split() == ["preparing", "training:", "40%,", "loss", "0.12"]


def test_what_an_earlier_step_said_is_not_shown_for_the_next(shown):
    progress, column = shown
    tell("training: 100%, loss 0.1")
    progress.started(Step("prepare", SPEC))
    assert "training" not in column()
    tell("training: 1%, loss 0.9")
    progress.started(Step("data", DATA))
    assert column().split() == ["examples", "selection"]


def test_every_column_keeps_its_width(shown):
    progress, column = shown
    progress.started(Step("prepare", SPEC))
    before = len(column())
    tell("sensitivity: layer 100 of 1,000 and more words than there is room for")
    assert len(column()) == before


def test_what_failed_is_told_whole_and_on_one_line_however_narrow_the_terminal_is(tmp_path, monkeypatch):
    from rich.console import Console

    monkeypatch.setenv("QBENCH_CACHE", str(tmp_path))
    told = Console(width=30, record=True, file=io.StringIO())
    error = f"{'/a-folder' * 20}/model.onnx: [cpu] and [/bold] are words of an engine"
    outcome = Failed("prepare", error)
    Progress(told, SimpleNamespace(profile=PROFILES["quick"])).ended(Step("prepare", SPEC), outcome)
    assert told.export_text() == f"failed prepare qat: {error}\n"


def test_an_explanation_is_named_by_its_technique():
    assert _what(Step("explain", Explained("static int8", SPEC, DATA))) == "static int8"


def test_a_technique_without_a_cell_is_told_when_a_run_begins():
    """A chain that leads nowhere would otherwise look like a run that measured it."""

    def case(technique, variant_of=None):
        return SimpleNamespace(technique=technique, variant_of=variant_of)

    skips = [
        SimpleNamespace(case=case("half"), reason="no way leads there"),
        SimpleNamespace(case=case("half"), reason="nor there"),
        SimpleNamespace(case=case("int8"), reason="not on this engine"),  # on another it runs
        SimpleNamespace(case=case("int8, seed 1", "int8"), reason="no way"),
        SimpleNamespace(case=case("slow"), reason=f"{DROPPED} 5m"),
    ]
    plan = SimpleNamespace(cells=(case("fp32"), case("int8")), skips=skips)
    assert nowhere(plan) == [("half", "no way leads there")]


def test_what_failed_is_told_by_its_reason_and_its_advice():
    """Whole, with brackets: neither a stack's first line nor markup of the terminal's."""
    import io

    from rich.console import Console

    from qbench.records import Failed

    out = io.StringIO()
    plan = SimpleNamespace(profile=PROFILES["quick"])
    progress = Progress(Console(file=out, width=200), plan)
    stack = "Exception from src/core.cpp:117:\nCheck 'a' failed at src/b.cpp:1:\n[CPU] no such kernel"
    progress.ended(Step("prepare", SPEC), Failed("load", stack))
    progress.ended(Step("prepare", SPEC), Failed("load", "the file is torn\n  fix: delete it"))
    assert out.getvalue().splitlines() == [
        "failed prepare qat: [CPU] no such kernel",
        "failed prepare qat: the file is torn",
        "  fix: delete it",
    ]
