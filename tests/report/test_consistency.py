"""No sentence of a recommendation contradicts a figure beside it: over many runs that nobody chose."""

import re
from pathlib import Path

from example_run import Builder, answers, case, correct
from hypothesis import given, settings
from hypothesis import strategies as st

from qbench.cases import Step
from qbench.records import Evidence, Failed, Measured, Measurement, Record, Session, Skipped, Verdict
from qbench.report.cell import pace_of
from qbench.report.figures import Figure
from qbench.report.recommend import recommend
from qbench.report.select import select
from qbench.store import Run

ENGINES = ("onnxruntime", "other")
ROLES = {"fp32": "fp32", "bf16": "float", "static int8": "technique", "dynamic int8": "technique"}
QUALITY = ("accuracy_difference", "agreement", "sqnr")
RATIO = re.compile(r"([\d.,]+)×")


class InMemory(Builder):
    """The example's builder without a disk, for hundreds of runs."""

    def __init__(self):
        self.records = []
        self.session = Session(
            "s", "vision", "quick", "h", (), (), "0", False, "2026-01-02T03:04:05Z", "qbench"
        )

    def add(self, kind, subject, outcome, round=0):
        self.records.append(Record(Step(kind, subject, round), outcome, "s", "2026-01-02T03:04:06Z", 1.0))

    def run(self):
        lines = tuple(range(2, 2 + len(self.records)))
        return Run(self.session, tuple(self.records), Path("results/h/run.jsonl"), lines)


@st.composite
def one_cell(draw):
    """Return how a cell goes: what becomes of it, how its answers are judged, its latency by round."""
    rounds = draw(st.sampled_from((1, 3, 3, 3, 7)))
    base = draw(st.sampled_from((0.004, 0.0095, 0.010, 0.0105, 0.013, 0.03)))
    shake = draw(st.sampled_from((0.0, 0.02, 0.5)))
    wobble = draw(st.lists(st.floats(-1, 1), min_size=rounds, max_size=rounds))
    return {
        "fate": draw(st.sampled_from(("timed",) * 6 + ("skipped", "failed", "collapsed", "scored"))),
        "judged": draw(st.sampled_from(("labels", "labels", "answers", "nothing"))),
        "wrong": draw(st.sampled_from((0, 1, 5, 40))),
        "seconds": [base * (1 + shake * one) for one in wobble],
        "interrupted": draw(st.booleans()) and draw(st.booleans()),
        "size": draw(st.sampled_from((260_000, 1_200_000))),
    }


def written(build, cell, how):
    if how["fate"] == "skipped":
        build.add("plan", cell, Skipped("it has no kernels here"))
        return
    if how["fate"] == "failed":
        build.add("prepare", cell.deployment.artifact, Failed("quantize", "ValueError: torn"))
        build.add("plan", cell, Measured(()))
        return
    build.prepare(cell, how["size"])
    collapsed = (Verdict("collapsed", "all of its scores are 0"),) if how["fate"] == "collapsed" else ()
    build.add("score", cell, Measured(_scores(cell, how), (), collapsed, (Evidence("data id", "aaaa"),)))
    if how["fate"] == "timed":
        for k, middle in enumerate(how["seconds"]):
            calls = (0.99 * middle, middle, 1.01 * middle)
            taken = 60.0 if how["interrupted"] and k == 2 else 0.0
            build.measured("time", cell, k, latency=calls, involuntary_switches=taken, steal=0.0)


def _scores(cell, how):
    bits = correct(10 + (0 if cell.role == "fp32" else how["wrong"]))
    found = [Measurement("reference_error", (0.001,))]
    if how["judged"] != "nothing":
        found.append(Measurement("prediction", answers(bits)))
    if how["judged"] == "labels":
        found.append(Measurement("correct", bits))
    return tuple(found)


@st.composite
def runs(draw):
    build, judged = InMemory(), draw(st.sampled_from(("labels", "answers", "nothing")))
    for engine in draw(st.sampled_from((ENGINES, ENGINES[:1]))):
        for name, role in ROLES.items():
            if role == "technique" or role == "fp32" or draw(st.booleans()):
                how = draw(one_cell())
                if role == "fp32":
                    how |= {"fate": "timed" if how["fate"] != "failed" else "failed", "judged": judged}
                elif draw(st.booleans()):
                    how["judged"] = judged
                written(build, case(name, role=role, backend=engine), how)
    return build.run()


def right(cell):
    return cell.status == "measured" and cell.judgement.outcome in ("pass", "inconclusive")


def timed(cell):
    return cell.status == "measured" and pace_of(cell) is not None


def surely_faster(cell):
    over = cell.figures["speedup_over_float"]
    bars = [cell.figures["speedup"], *([over] if isinstance(over, Figure) else [])]
    return all(isinstance(bar, Figure) and bar.low is not None and bar.low > 1 for bar in bars)


def surely_slower(cell):
    bars = [cell.figures[name] for name in ("speedup", "speedup_over_float")]
    return any(isinstance(bar, Figure) and bar.high is not None and bar.high < 1 for bar in bars)


def known_loss(cells):
    return any(isinstance(cell.figures[name], Figure) for cell in cells for name in QUALITY)


@settings(max_examples=60, deadline=None)
@given(runs())
def test_every_sentence_agrees_with_the_figures(run):
    cells = select(run)
    for found in recommend(cells):
        group = [cell for cell in cells if cell.group == found.group]
        _what_ships(found, group)
        _gains_and_losses(found, group)
        _why_not_the_others(found, group)
        shown = {str(value) for cell in group for value in cell.figures.values() if isinstance(value, Figure)}
        shown |= {
            value.between for cell in group for value in cell.figures.values() if isinstance(value, Figure)
        }
        shown = set(RATIO.findall(" ".join(shown)))
        for words in (found.gains, found.because, *(reason for _, reason in found.rejected)):
            assert set(RATIO.findall(words)) <= shown, words


def _what_ships(found, group):
    techniques = [cell for cell in group if cell.role == "technique"]
    winners = [cell for cell in techniques if right(cell) and surely_faster(cell) and not cell.unstable]
    if found.kind == "technique":
        assert right(found.ship)
        assert surely_faster(found.ship)
        for cell in winners:  # the fastest, or one that is as fast and whose answers are proven
            surer = found.ship.judgement.outcome == "pass" and cell.judgement.outcome == "inconclusive"
            assert pace_of(found.ship) <= pace_of(cell) * (1.031 if surer else 1)
        return
    assert not winners
    floats = [cell for cell in group if cell.role == "fp32" and right(cell) and timed(cell)]
    if found.kind == "float":
        assert found.ship.role != "technique"
        assert right(found.ship)
        assert all(pace_of(found.ship) <= pace_of(cell) for cell in floats)
        assert found.because
        return
    assert (found.kind, found.ship) == ("nothing", None)
    unjudged = [cell for cell in techniques if cell.judgement.outcome == "unjudged" and surely_faster(cell)]
    assert unjudged or not floats


def _gains_and_losses(found, group):
    if found.gains.startswith("Gains: ") and not found.gains.startswith("Gains: nothing"):
        assert float(RATIO.search(found.gains)[1].replace(",", "")) >= 1
    if found.gains.startswith("Gains no speed"):
        assert found.ship.figures["speedup"].value <= 1
    told = [found.ship] if found.ship else [cell for cell in group if cell.role == "technique"]
    if known_loss(told) and "judge the answers" not in found.headline:
        assert "unknown" not in found.loses
    if "no loss measured" in found.loses:
        assert found.ship.figures["accuracy_difference"].value >= 0
    if found.ship and ("varied by" in found.sure or "interrupted" in found.sure):
        assert found.ship.unstable


def _why_not_the_others(found, group):
    techniques = [cell for cell in group if cell.role == "technique"]
    assert {cell.number for cell, _ in found.rejected} == {
        cell.number for cell in techniques if cell is not found.ship
    }
    for cell, reason in found.rejected:
        if reason.startswith("slower than") and " its speed" in reason:
            assert surely_slower(cell)
        if "not faster than" in reason or "not surely faster" in reason:
            assert not surely_faster(cell)
            assert not surely_slower(cell)
        if "varied by" in reason:
            assert cell.unstable
        if reason.startswith("not timed"):
            assert not timed(cell)
    _why_float(found.because, techniques)
    assert "Nothing is known" not in found.sentence


def _why_float(because, techniques):
    ran = [cell for cell in techniques if cell.status not in ("skipped", "failed")]
    if because == "nothing quantized was tried":
        assert not techniques
    if because == "no quantized file could be made and run":
        assert not ran
    if because == "no quantized file was timed":
        assert not any(timed(cell) for cell in ran)
    if "every quantized file is slower" in because:
        assert all(surely_slower(cell) for cell in ran)
    if "no quantized file keeps" in because:
        assert not any(right(cell) for cell in ran)


def test_the_runs_reach_every_kind_of_verdict():
    """The law above would hold of runs that are all alike."""
    kinds, reasons = set(), set()

    @settings(max_examples=120, deadline=None, database=None, derandomize=True)
    @given(runs())
    def look(run):
        for found in recommend(select(run)):
            kinds.add(found.kind)
            reasons.update(re.sub(r"[\d.,–×()%]+", "#", reason)[:12] for _, reason in found.rejected)

    look()
    assert kinds == {"technique", "float", "nothing"}
    assert len(reasons) >= 6, reasons
